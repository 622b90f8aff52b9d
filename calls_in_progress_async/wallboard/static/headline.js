// Everything above the list: the count, the connection, the alarm; and the notice in place of an empty list.

import { element, write } from "./row_view.js";
import { ago, names as byName, reasonOf } from "./organizations.js";

const SHOWN_IN_ALARM = 3;
const time = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const id = (name) => document.getElementById(name);

export class Headline {
  #store;
  #clock;
  #alarmed = "";

  constructor(store, clock) {
    this.#store = store;
    this.#clock = clock;
  }

  draw(view) {
    const { title, loaded } = this.#store;
    write(id("title"), title);
    const tab = loaded ? `${view.total} · ${title}` : title;
    if (document.title !== tab) document.title = tab;
    write(id("total"), loaded ? view.total.toLocaleString("en") : "–");
    write(id("total-note"), this.#note(view));
    this.#drawRate();
    this.#drawAlarm(view);
    this.#drawNotice(view);
  }

  tick(link, silence) {
    if (this.#clock.known) write(id("time"), time.format(this.#clock.now()));
    const texts = { connecting: "Connecting", live: "Live", lost: `No connection for ${ago(silence / 1000)}` };
    write(id("link-text"), link === "live" && this.#store.stopped !== null ? "No feed" : texts[link]);
  }

  #note({ matches, filtered }) {
    const { loaded, organizations } = this.#store;
    if (!loaded) return "";
    if (filtered) return `${matches.toLocaleString("en")} shown`;
    return organizations.length === 1 ? "" : `in ${organizations.length.toLocaleString("en")} organizations`;
  }

  #drawRate() {
    const { status } = this.#store;
    if (!status) return;
    const limit = status.rate === null ? "" : ` of ${status.rate.toLocaleString("en")}`;
    write(id("rate"), `${status.requests.toLocaleString("en")}${limit} requests/s`);
  }

  #drawAlarm({ counts }) {
    const { failing, late } = this.#store.outdated();
    const names = [...failing.sort(byName.compare), ...late.sort(byName.compare)];
    const calls = names.reduce((sum, name) => sum + (counts.get(name) ?? 0), 0);
    const key = JSON.stringify([this.#store.failures, late, calls]);
    if (key === this.#alarmed) return;
    this.#alarmed = key;
    const alarm = id("alarm");
    alarm.hidden = !names.length;
    alarm.replaceChildren();
    if (!names.length) return;
    alarm.append(text("strong", "", [told(failing, "failing"), told(late, "late")].filter(Boolean).join(", ")));
    const list = alarm.appendChild(element("ul"));
    for (const name of names.slice(0, SHOWN_IN_ALARM)) list.append(alarmItem(name, this.#reason(name)));
    if (names.length > SHOWN_IN_ALARM) list.append(text("li", "", `and ${names.length - SHOWN_IN_ALARM} more`));
    if (calls) alarm.append(text("span", "", `${count(calls, "call")} below may be out of date`));
  }

  /** No running age, because a screen reader reads the alarm anew with every change. */
  #reason(name) {
    const { failures, patience } = this.#store;
    return name in failures ? reasonOf(failures[name]) : `no response for more than ${ago(patience)}`;
  }

  #drawNotice(view) {
    const [headline, detail] = this.#notice(view);
    const notice = id("notice");
    notice.hidden = !headline;
    if (notice.dataset.said === `${headline}\n${detail}`) return;
    notice.dataset.said = `${headline}\n${detail}`;
    notice.replaceChildren(text("p", "big", headline), text("p", "note", detail));
  }

  #watching(outdated) {
    const { organizations } = this.#store;
    const watched = `Watching ${count(organizations.length, "organization")}`;
    if (!organizations.length) return watched;
    if (outdated) return `${watched}, ${outdated} of them failing or late`;
    const oldest = Math.max(...organizations.map((_, index) => this.#store.age(index)));
    return `${watched}, all checked within ${ago(Math.max(1, oldest))}`;
  }

  #notice({ link, listed, filtered, total, heard }) {
    const { loaded, stopped, organizations } = this.#store;
    if (link === "lost") return ["No connection", loaded ? `Everything here is as of ${time.format(heard)}. Trying to reconnect.` : "Trying to reach the server."];
    if (!loaded) return ["Connecting", ""];
    if (stopped !== null) return ["No feed", `The server no longer gets calls. ${stopped}`];
    if (listed) return ["", ""];
    if (filtered && total) return ["No call matches", "Esc clears the filter."];
    const { failing, late } = this.#store.outdated();
    const outdated = failing.length + late.length;
    if (outdated && outdated === organizations.length) return ["Calls are not known", late.length ? "No organization has responded lately." : "Every organization is failing."];
    return ["No calls right now", this.#watching(outdated)];
  }
}

function alarmItem(name, reason) {
  const item = element("li");
  item.append(text("bdi", "name", name), text("bdi", "reason", reason));
  return item;
}

function count(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}

/** Such as "2 organizations are late"; nothing for none. */
function told(names, state) {
  return names.length && `${count(names.length, "organization")} ${names.length === 1 ? "is" : "are"} ${state}`;
}

function text(tag, className, content) {
  return Object.assign(element(tag, className), { textContent: content });
}

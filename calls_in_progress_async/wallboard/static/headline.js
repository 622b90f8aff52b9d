// Everything above the list: the count, the connection, the alarm; and the notice in place of an empty list.

import { element, write } from "./row_view.js";
import { ago, reasonOf } from "./organizations.js";

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
    const names = Object.keys(this.#store.failures);
    const outdated = names.reduce((sum, name) => sum + (counts.get(name) ?? 0), 0);
    const key = JSON.stringify([this.#store.failures, outdated]);
    if (key === this.#alarmed) return;
    this.#alarmed = key;
    const alarm = id("alarm");
    alarm.hidden = !names.length;
    alarm.replaceChildren();
    if (!names.length) return;
    alarm.append(text("strong", "", `${names.length} ${names.length === 1 ? "organization is" : "organizations are"} failing`));
    const list = alarm.appendChild(element("ul"));
    for (const name of names.slice(0, SHOWN_IN_ALARM)) list.append(failureItem(name, this.#store.failures[name]));
    if (names.length > SHOWN_IN_ALARM) list.append(text("li", "", `and ${names.length - SHOWN_IN_ALARM} more`));
    if (outdated) alarm.append(text("span", "outdated", `${outdated} ${outdated === 1 ? "call" : "calls"} below may be out of date`));
  }

  #drawNotice(view) {
    const [headline, detail] = this.#notice(view);
    const notice = id("notice");
    notice.hidden = !headline;
    if (notice.dataset.said === `${headline}\n${detail}`) return;
    notice.dataset.said = `${headline}\n${detail}`;
    notice.replaceChildren(text("p", "big", headline), text("p", "note", detail));
  }

  #watching() {
    const { organizations } = this.#store;
    const watched = `Watching ${organizations.length} ${organizations.length === 1 ? "organization" : "organizations"}`;
    const oldest = Math.max(...organizations.map((_, index) => this.#store.age(index)));
    return organizations.length ? `${watched}, all checked within ${ago(Math.max(1, oldest))}` : watched;
  }

  #notice({ link, listed, filtered, total, heard }) {
    const { loaded, stopped, organizations, failures } = this.#store;
    if (link === "lost") return ["No connection", loaded ? `Everything here is as of ${time.format(heard)}. Trying to reconnect.` : "Trying to reach the server."];
    if (!loaded) return ["Connecting", ""];
    if (stopped !== null) return ["No feed", `The server no longer gets calls: ${stopped}`];
    if (listed) return ["", ""];
    if (filtered && total) return ["No call matches", "Esc clears the filter."];
    const failing = Object.keys(failures).length;
    if (failing && failing === organizations.length) return ["Calls are not known", "Every organization is failing."];
    return ["No calls right now", this.#watching()];
  }
}

function failureItem(name, failure) {
  const item = element("li");
  item.append(text("bdi", "name", name), text("bdi", "reason", reasonOf(failure)));
  return item;
}

function text(tag, className, content) {
  return Object.assign(element(tag, className), { textContent: content });
}

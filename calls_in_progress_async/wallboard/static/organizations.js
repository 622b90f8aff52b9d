// The organizations: live calls, age of the last good response, and failures, which come first.

import { element, write } from "./row_view.js";

export const names = new Intl.Collator("en", { numeric: true });

export class Organizations {
  #panel = document.getElementById("organizations");
  #list = document.getElementById("cards");
  #views = new Map();
  #order = "";
  #store;
  #choose;

  constructor(store, choose) {
    this.#store = store;
    this.#choose = choose;
  }

  draw(counts, chosen) {
    const { organizations, failures } = this.#store;
    const index = new Map(organizations.map((name, at) => [name, at]));
    const sorted = [...organizations].sort((a, b) => (b in failures) - (a in failures) || names.compare(a, b));
    const order = sorted.join("\n");
    if (order !== this.#order) this.#reorder(sorted, index);
    this.#order = order;
    for (const name of sorted) this.#update(name, counts.get(name) ?? 0, index.get(name), chosen === name);
    this.#panel.hidden = organizations.length < 2;
  }

  #reorder(sorted, index) {
    for (const [name, view] of this.#views) {
      if (index.has(name)) continue;
      view.button.remove();
      this.#views.delete(name);
    }
    this.#list.replaceChildren(...sorted.map((name) => this.#view(name).button));
  }

  #view(name) {
    if (!this.#views.has(name)) this.#views.set(name, this.#make(name));
    return this.#views.get(name);
  }

  #make(name) {
    const button = element("button", "card");
    button.type = "button";
    const label = button.appendChild(element("bdi", "name"));
    label.textContent = name;
    const count = button.appendChild(element("span", "count"));
    const age = button.appendChild(element("span", "age"));
    const reason = button.appendChild(element("bdi", "reason"));
    button.addEventListener("click", () => this.#choose(name));
    return { button, count, age, reason };
  }

  #update(name, count, index, chosen) {
    const { failures } = this.#store;
    const view = this.#views.get(name);
    const failure = failures[name];
    const age = this.#store.age(index);
    const late = age !== null && age > this.#store.patience;
    const checked = age === null ? "" : late ? `${ago(age)} old` : ago(age);
    const reason = failure ? reasonOf(failure) : "";
    const key = `${count}\n${checked}\n${reason}\n${chosen}`;
    if (view.key === key) return;
    view.key = key;
    write(view.count, count.toLocaleString("en"));
    write(view.age, checked);
    write(view.reason, reason);
    view.button.classList.toggle("failing", Boolean(failure));
    view.button.classList.toggle("late", late);
    view.button.classList.toggle("idle", count === 0 && !failure);
    view.button.setAttribute("aria-pressed", chosen);
  }
}

export function reasonOf(failure) {
  return failure.reason || failure.error;
}

export function ago(seconds) {
  if (seconds < 90) return `${Math.max(0, Math.round(seconds))} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

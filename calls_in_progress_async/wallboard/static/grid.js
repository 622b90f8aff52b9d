// The list of calls. Only rows in view exist; each keeps its element while its call stays in view, and moves by transform.

import { CallRow, HeadingRow, element } from "./row_view.js";
import { ORDERS } from "./arrangement.js";

const MARGIN = 6; // rows beyond the view, so that scrolling finds them made

export class Grid {
  #grid = document.getElementById("grid");
  #head = document.getElementById("head");
  #body = document.getElementById("body");
  #views = new Map();
  #items = [];
  #offsets = [0];
  #columns = [];
  #selected = null;
  #heights = { call: 40, heading: 40 };
  #everything = false;
  // Reading these from the page would make the browser lay it out in the middle of a frame.
  #top = 0;
  #height = 0;
  #store;

  constructor(store, { order, redraw }) {
    this.#store = store;
    this.order = order;
    this.#grid.addEventListener("scroll", () => { this.#top = this.#grid.scrollTop; redraw(); }, { passive: true });
    this.#grid.addEventListener("keydown", (event) => this.#key(event));
    this.#body.addEventListener("click", (event) => this.#click(event));
    new ResizeObserver(() => { this.measure(); redraw(); }).observe(this.#grid);
    addEventListener("beforeprint", () => this.#print(true));
    addEventListener("afterprint", () => this.#print(false));
  }

  /** Make the columns anew, for the fields that the server names. */
  setColumns(fields) {
    this.#columns = [
      { name: "timer", kind: "duration", label: "Time", order: "newest" },
      { name: "caller", kind: "text", label: "Caller", order: "caller", read: (row) => row.caller },
      { name: "campaign", kind: "text", label: "Campaign", order: "campaign", read: (row) => row.campaign },
      ...fields.map((label, index) => ({ name: `field-${index}`, kind: "field", label, read: (row) => row.fields[index] })),
      { name: "organization", kind: "text", label: "Organization", order: "organization", read: (row) => row.organization },
    ];
    this.#grid.style.setProperty("--fields", fields.length ? `repeat(${fields.length}, minmax(0, 1fr))` : "");
    this.#grid.classList.toggle("with-fields", fields.length > 0);
    this.#grid.setAttribute("aria-colcount", this.#columns.length);
    this.#head.replaceChildren(this.#headRow());
    for (const view of this.#views.values()) view.element.remove();
    this.#views.clear();
    this.measure();
  }

  #headRow() {
    const row = element("div", "row", "row");
    row.setAttribute("aria-rowindex", 1);
    for (const column of this.#columns) {
      const cell = element("div", `cell ${column.kind} ${column.name}`, "columnheader");
      const label = cell.appendChild(element(column.order ? "button" : "bdi", "value"));
      label.textContent = column.label;
      if (column.order) {
        label.type = "button";
        label.addEventListener("click", () => this.order(column.order));
      }
      column.head = cell;
      row.append(cell);
    }
    return row;
  }

  showOrder(order) {
    for (const column of this.#columns) {
      const sorted = ORDERS[order].column === column.name;
      if (sorted) column.head.setAttribute("aria-sort", ORDERS[order].direction);
      else column.head.removeAttribute("aria-sort");
    }
  }

  measure() {
    this.#height = this.#grid.clientHeight;
    if (!this.#columns.length) return;
    const views = { call: new CallRow(this.#columns), heading: new HeadingRow(this.#columns) };
    for (const [kind, view] of Object.entries(views)) {
      this.#body.append(view.element);
      this.#heights[kind] = view.element.getBoundingClientRect().height || this.#heights[kind];
      view.element.remove();
    }
    this.#place();
  }

  /** List these items. A reader who has scrolled keeps the same calls before the eyes. */
  show(items) {
    const anchor = this.#anchor();
    this.#items = items;
    this.#place();
    if (anchor) this.#restore(anchor);
    if (this.#selected !== null && !items.some((item) => keyOf(item) === this.#selected)) this.#deselect();
    this.#grid.setAttribute("aria-rowcount", items.length + 1);
  }

  #place() {
    let top = 0;
    this.#offsets = this.#items.map((item) => {
      const at = top;
      top += this.#heights[item.call ? "call" : "heading"];
      return at;
    });
    this.#offsets.push(top);
    this.#body.style.height = `${top}px`;
  }

  #anchor() {
    if (this.#top <= 0) return null;
    const index = this.#indexAt(this.#top);
    return this.#items[index] && { key: keyOf(this.#items[index]), into: this.#top - this.#offsets[index] };
  }

  #restore({ key, into }) {
    const index = this.#items.findIndex((item) => keyOf(item) === key);
    const top = this.#offsets[index] + into;
    if (index >= 0 && Math.abs(top - this.#top) > 1) {
      this.#scroll(top);
      for (const view of this.#views.values()) view.element.classList.add("fresh");
    }
  }

  #scroll(top) {
    this.#grid.scrollTop = top;
    this.#top = this.#grid.scrollTop;
  }

  #indexAt(y) {
    let low = 0;
    let high = this.#items.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#offsets[middle + 1] <= y) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Draw the rows in view. */
  draw(now) {
    const height = this.#height;
    const count = this.#items.length;
    const first = this.#everything ? 0 : Math.max(0, this.#indexAt(this.#top) - MARGIN);
    const last = this.#everything ? count : Math.min(count, this.#indexAt(this.#top + height) + MARGIN);
    const shown = new Set();
    for (let index = first; index < last; index += 1) shown.add(this.#drawItem(index, height, now));
    for (const [key, view] of this.#views) {
      if (shown.has(key)) continue;
      view.element.remove();
      this.#views.delete(key);
    }
  }

  #drawItem(index, height, now) {
    const item = this.#items[index];
    const key = keyOf(item);
    let view = this.#views.get(key);
    if (!view) this.#views.set(key, (view = this.#make(item, key)));
    view.bind(item.call ?? item, item.call ? this.#store.isOutdated(item.call.row.organization) : false);
    view.tick(now);
    this.#move(view, this.#offsets[index], height);
    if (view.index !== index) view.element.setAttribute("aria-rowindex", (view.index = index) + 2);
    return key;
  }

  #make(item, key) {
    const view = item.call ? new CallRow(this.#columns) : new HeadingRow(this.#columns);
    view.element.id = `row-${key}`;
    view.element.classList.add("fresh");
    this.#body.append(view.element);
    this.#markSelected(view, key === this.#selected);
    return view;
  }

  #move(view, top, height) {
    if (view.top === top) {
      view.element.classList.remove("fresh");
      return;
    }
    if (view.top === undefined || Math.abs(view.top - top) > height) view.element.classList.add("fresh");
    view.top = top;
    view.element.style.transform = `translateY(${top}px)`;
  }

  /** Write the timers of the rows in view. */
  tick(now) {
    for (const view of this.#views.values()) if (view.call) view.tick(now);
  }

  // Selection.

  focus() {
    this.#grid.focus();
    if (this.#selected === null) this.#select(0);
  }

  #click(event) {
    const row = event.target.closest("[role=row]");
    if (row) this.#select(this.#items.findIndex((item) => `row-${keyOf(item)}` === row.id));
  }

  #key(event) {
    if (event.target !== this.#grid || event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(this.#height / this.#heights.call) - 2);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (!(event.key in steps)) return;
    event.preventDefault();
    const current = this.#items.findIndex((item) => keyOf(item) === this.#selected);
    const target = current < 0 ? 0 : current + steps[event.key];
    this.#select(Math.min(Math.max(target, 0), this.#items.length - 1));
  }

  #select(index) {
    if (!this.#items[index]) return;
    this.#selected = keyOf(this.#items[index]);
    const head = this.#head.offsetHeight;
    const [top, bottom] = [this.#offsets[index], this.#offsets[index + 1]];
    const view = this.#height - head;
    if (top < this.#top) this.#scroll(index ? top : 0);
    else if (bottom > this.#top + view) this.#scroll(bottom - view);
    this.draw(this.clock.now());
    for (const [key, each] of this.#views) this.#markSelected(each, key === this.#selected);
    this.#grid.setAttribute("aria-activedescendant", `row-${this.#selected}`);
  }

  #deselect() {
    this.#selected = null;
    this.#grid.removeAttribute("aria-activedescendant");
  }

  #markSelected(view, selected) {
    view.element.classList.toggle("selected", selected);
    view.element.setAttribute("aria-selected", selected);
  }

  #print(everything) {
    this.#everything = everything;
    this.measure();
    this.draw(this.clock.now());
  }
}

function keyOf(item) {
  return item.call ? item.call.row.key : `heading ${item.name}`;
}

// One row of the grid. A row is kept as long as its call is in view, and only text that differs is written.

export function element(tag, className, role) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (role) made.setAttribute("role", role);
  return made;
}

/** Write text, isolated in its direction, only if it differs. */
export function write(node, value) {
  if (node.textContent !== value) node.textContent = value;
}

export function duration(milliseconds) {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  const pad = (number) => String(number).padStart(2, "0");
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor(seconds / 60) % 60;
  return hours ? `${hours}:${pad(minutes)}:${pad(seconds % 60)}` : `${minutes}:${pad(seconds % 60)}`;
}

export class CallRow {
  constructor(columns) {
    this.element = element("div", "row", "row");
    this.cells = columns.map((column) => {
      const cell = element("div", `cell ${column.kind} ${column.name}`, "gridcell");
      const value = element("bdi", "value");
      cell.append(value);
      this.element.append(cell);
      return { column, cell, value, extra: column.name === "caller" ? cell.appendChild(element("bdi", "place")) : null };
    });
  }

  bind(call, outdated) {
    this.call = call;
    const moment = call.happened ? `${call.row.key} ${call.happened} ${call.at}` : "";
    for (const { column, cell, value, extra } of this.cells) {
      if (column.name !== "timer") write(value, column.read(call.row) || "–");
      if (extra) write(extra, call.row.place);
      cell.classList.toggle("changed", call.happened === "changed" && changes(call, column.name));
    }
    if (this.moment !== moment) this.#mark(call, moment);
    this.element.classList.toggle("ended", Boolean(call.endedAt));
    this.element.classList.toggle("stale", outdated);
  }

  #mark(call, moment) {
    this.moment = moment;
    this.element.style.setProperty("--elapsed", `${Math.round(call.at - performance.now())}ms`);
    this.element.dataset.happened = call.happened ?? "";
    // The same animation starts anew only if its name changes, so two names take turns.
    this.element.dataset.turn = this.element.dataset.turn === "a" ? "b" : "a";
  }

  tick(now) {
    const { call } = this;
    const [{ cell, value }] = this.cells;
    const text = call.row.since === null ? "–" : duration((call.endedAt || now) - call.row.since * 1000);
    cell.classList.toggle("long", text.length > 5);
    write(value, text);
  }
}

function changes(call, name) {
  return call.changed.includes(name) || (name === "caller" && call.changed.includes("place"));
}

export class HeadingRow {
  constructor(columns) {
    this.element = element("div", "row heading", "row");
    const cell = element("div", "cell", "gridcell");
    cell.setAttribute("aria-colspan", columns.length);
    this.name = element("bdi", "name");
    this.count = element("span", "count");
    this.flag = element("span", "flag");
    cell.append(this.name, this.count, this.flag);
    this.element.append(cell);
  }

  bind(item) {
    write(this.name, item.name || "No campaign");
    write(this.count, String(item.count));
    write(this.flag, item.failing ? "failing" : "");
    this.element.classList.toggle("failing", item.failing);
  }

  tick() {}
}

// Live calls over the last hour, as an area in SVG.

import { element, write } from "./row_view.js";

const NAMESPACE = "http://www.w3.org/2000/svg";
const SPAN = 3600; // seconds
const [WIDTH, HEIGHT] = [600, 100];

export class Chart {
  #figure = document.getElementById("chart");
  #area = shape("path", "area");
  #line = shape("path", "line");
  #peak = element("span", "peak");
  #drawn = "";

  constructor() {
    const svg = shape("svg");
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    svg.append(this.#area, this.#line);
    const axis = element("div", "axis");
    axis.append(label("60 min ago"), this.#peak, label("now"));
    this.#figure.replaceChildren(svg, axis);
  }

  draw(points, live, now) {
    const drawn = [...points, [now, live]].filter(([at]) => at >= now - SPAN);
    const peak = Math.max(...drawn.map(([, count]) => count));
    const top = scale(peak);
    const line = drawn
      .map(([at, count]) => `${round(WIDTH * (1 - (now - at) / SPAN))} ${round(HEIGHT - (HEIGHT * count) / top)}`)
      .join("L");
    if (line === this.#drawn) return;
    this.#drawn = line;
    const start = round(WIDTH * (1 - (now - drawn[0][0]) / SPAN));
    this.#line.setAttribute("d", `M${line}`);
    this.#area.setAttribute("d", `M${start} ${HEIGHT}L${line}L${WIDTH} ${HEIGHT}Z`);
    write(this.#peak, drawn.length > 1 ? `peak ${peak.toLocaleString("en")}` : "");
    this.#figure.setAttribute("aria-label", `Live calls over the last hour: now ${live}, peak ${peak}`);
  }
}

function shape(tag, className) {
  const made = document.createElementNS(NAMESPACE, tag);
  if (className) made.setAttribute("class", className);
  return made;
}

function label(content) {
  return Object.assign(element("span"), { textContent: content });
}

function round(number) {
  return Math.round(number * 10) / 10;
}

/** The top of the scale: some room above the peak, in steps that do not change with every call. */
function scale(peak) {
  const step = 10 ** Math.floor(Math.log10(Math.max(1, peak * 1.1)));
  return Math.max(4, Math.ceil((peak * 1.1) / step) * step);
}

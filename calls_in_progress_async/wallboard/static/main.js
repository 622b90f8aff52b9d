// Puts the parts together: messages change the store, a change asks for one frame, a frame draws.

import { GROUPS, ORDERS, arrange } from "./arrangement.js";
import { Chart } from "./chart.js";
import { Grid } from "./grid.js";
import { Headline } from "./headline.js";
import { bindKeys } from "./keyboard.js";
import { Organizations } from "./organizations.js";
import { Preferences } from "./preferences.js";
import { rest } from "./rest.js";
import { write } from "./row_view.js";
import { ServerClock } from "./server_clock.js";
import { Store } from "./store.js";
import { Stream } from "./stream.js";

const root = document.documentElement;
const id = (name) => document.getElementById(name);
const clock = new ServerClock();
const store = new Store(clock);
const preferences = new Preferences(applyPreferences);
const chart = new Chart();
const headline = new Headline(store, clock);
const organizations = new Organizations(store, (name) => choose(name));
const grid = new Grid(store, { order: pickOrder, redraw: () => schedule(false) });
const stream = new Stream(receive, setLink);
grid.clock = clock;

const view = { link: "connecting", chosen: null, columns: null };
const frame = { scheduled: false, arrange: false };

function receive(event, data) {
  store.receive(event, data);
  if (view.columns !== store.fields.join("\n") && store.loaded) {
    view.columns = store.fields.join("\n");
    grid.setColumns(store.fields);
    grid.showOrder(preferences.order);
  }
  if (view.chosen && !store.organizations.includes(view.chosen)) view.chosen = null;
  schedule(true);
}

function setLink(link) {
  if (view.link === link) return;
  view.link = link;
  if (link === "lost") clock.freeze();
  root.dataset.link = link;
  schedule(true);
}

function schedule(arranging) {
  frame.arrange ||= arranging;
  if (frame.scheduled) return;
  frame.scheduled = true;
  requestAnimationFrame(draw);
}

function draw() {
  frame.scheduled = false;
  if (frame.arrange) {
    frame.arrange = false;
    drawAll();
  }
  if (store.loaded) grid.draw(clock.now());
}

function drawAll() {
  const filter = id("filter").value;
  const filtered = Boolean(filter.trim() || view.chosen);
  const { items, matches } = arrange(store, {
    filter, order: preferences.order, group: preferences.group, organization: view.chosen,
  });
  const { total, counts } = store.counts();
  root.dataset.failing = Object.keys(store.failures).length > 0;
  root.dataset.stopped = store.stopped !== null;
  if (store.loaded) grid.show(items);
  headline.tick(view.link, stream.silence);
  headline.draw({ link: view.link, listed: items.length, matches, filtered, total, counts, heard: store.statusAt });
  organizations.draw(counts, view.chosen);
  if (store.loaded) chart.draw(store.points, total, clock.now() / 1000);
}

function tick() {
  if (store.sweep()) schedule(true);
  const now = clock.now();
  headline.tick(view.link, stream.silence);
  if (store.loaded) {
    grid.tick(now);
    const { total, counts } = store.counts();
    organizations.draw(counts, view.chosen);
    if (view.link === "live") chart.draw(store.points, total, now / 1000);
  }
  setTimeout(tick, 1000 - (now % 1000) + 5); // just after the second changes, so that no timer skips one
}

function choose(name) {
  view.chosen = view.chosen === name ? null : name;
  schedule(true);
}

function pickOrder(order) {
  preferences.set("order", order === "newest" && preferences.order === "newest" ? "longest" : order);
}

function applyPreferences() {
  root.dataset.density = preferences.density;
  root.dataset.theme = preferences.theme;
  write(id("group"), `Group: ${GROUPS[preferences.group]}`);
  write(id("sort"), `Sort: ${ORDERS[preferences.order].label}`);
  write(id("density"), `Density: ${preferences.density}`);
  write(id("theme"), `Theme: ${preferences.theme}`);
  if (view.columns !== null) {
    grid.showOrder(preferences.order);
    grid.measure();
  }
  schedule(true);
}

function clearFilter() {
  id("filter").value = "";
  view.chosen = null;
  schedule(true);
}

id("filter").addEventListener("input", () => schedule(true));
for (const [button, name] of [["group", "group"], ["sort", "order"], ["density", "density"], ["theme", "theme"]]) {
  id(button).addEventListener("click", () => preferences.next(name));
}
id("help-button").addEventListener("click", () => id("help").showModal());
bindKeys({ preferences, grid, filter: id("filter"), help: id("help"), clearFilter });
rest(root);
applyPreferences();
stream.open();
tick();

// The state that the server tells: calls, organizations, points of the chart. Knows nothing of the page.

const ENDED_STAYS = 5_000; // milliseconds that an ended call stays visible
const JUST_STARTED = 20; // seconds of age up to which a new call has just started

export class Store {
  calls = new Map();
  organizations = [];
  failures = {};
  ages = [];
  late = new Set(); // organizations without a good response for longer than `patience`
  patience = 20; // seconds
  statusAt = 0;
  status = null;
  points = [];
  title = "Live calls";
  fields = [];
  stopped = null;
  version = null;
  loaded = false;
  #clock;

  constructor(clock) {
    this.#clock = clock;
  }

  /** Take in a message of the stream. */
  receive(event, data) {
    this[`_${event}`](data);
  }

  _snapshot(data) {
    if (this.version !== null && this.version !== data.version) location.reload(); // the server was upgraded
    Object.assign(this, {
      title: data.title, fields: data.fields, organizations: data.organizations, failures: data.failures,
      points: data.points, stopped: data.stopped, version: data.version, loaded: true,
    });
    const known = new Set(data.calls.map((call) => call.key));
    for (const key of this.calls.keys()) if (!known.has(key)) this.calls.delete(key);
    for (const row of data.calls) this.#upsert(row, false);
    this.#findLate();
  }

  _update(data) {
    for (const key of data.ended) this.#end(key);
    for (const row of data.calls) this.#upsert(row, true);
    for (const [name, failure] of Object.entries(data.health)) {
      if (failure) this.failures[name] = failure;
      else delete this.failures[name];
    }
  }

  _point(point) {
    this.points.push(point);
    const oldest = point[0] - 3600;
    while (this.points[0][0] < oldest) this.points.shift();
  }

  _status(data) {
    if (this.stopped === null) this.#clock.sync(data.at);
    else this.#clock.freeze(); // without news of calls no timer runs on
    this.status = data;
    this.ages = data.ages;
    this.statusAt = this.#clock.now();
    this.patience = 3 * data.interval + 5;
    this.#findLate();
  }

  _stopped(data) {
    this.stopped = data.reason;
  }

  #findLate() {
    this.late = new Set(this.organizations.filter((_, index) => this.ages[index] > this.patience));
  }

  /** The organizations with calls that may have changed unseen: the failing ones, and the others that are late. */
  outdated() {
    const failing = Object.keys(this.failures);
    return { failing, late: [...this.late].filter((name) => !(name in this.failures)) };
  }

  isOutdated(name) {
    return name in this.failures || this.late.has(name);
  }

  #upsert(row, tell) {
    const call = this.calls.get(row.key);
    const now = performance.now();
    if (!call) {
      const age = row.since === null ? 0 : this.#clock.now() / 1000 - row.since;
      const happened = tell && age < Math.max(JUST_STARTED, 3 * (this.status?.interval ?? 0)) ? "started" : null;
      this.calls.set(row.key, describe({ happened, at: now, changed: [], seen: this.#clock.now() / 1000 }, row));
      return;
    }
    const changed = tell && !call.endedAt ? differences(call.row, row) : [];
    if (changed.length) Object.assign(call, { happened: "changed", at: now, changed });
    if (call.endedAt) Object.assign(call, { endedAt: 0, happened: null });
    describe(call, row);
  }

  #end(key) {
    const call = this.calls.get(key);
    if (call && !call.endedAt) Object.assign(call, { happened: "ended", at: performance.now(), endedAt: this.#clock.now() });
  }

  /** Forget calls that ended a while ago. Returns true if there were any. */
  sweep() {
    const before = this.calls.size;
    const oldest = performance.now() - ENDED_STAYS;
    for (const [key, call] of this.calls) if (call.endedAt && call.at < oldest) this.calls.delete(key);
    return this.calls.size !== before;
  }

  /** The number of live calls, of each organization and in all. */
  counts() {
    const counts = new Map();
    let total = 0;
    for (const call of this.calls.values()) {
      if (call.endedAt) continue;
      total += 1;
      counts.set(call.row.organization, (counts.get(call.row.organization) ?? 0) + 1);
    }
    return { total, counts };
  }

  /** Seconds since the last good response of the organization at an index; null if not known yet. */
  age(index) {
    const age = this.ages[index];
    return age === undefined ? null : age + (this.#clock.now() - this.statusAt) / 1000;
  }
}

function describe(call, row) {
  call.row = row;
  call.start = row.since ?? call.seen;
  call.search = [row.organization, row.caller, row.place, row.campaign, row.status, ...row.fields].join("\n").toLowerCase();
  return call;
}

function differences(before, after) {
  const names = ["caller", "place", "campaign", "status"].filter((name) => before[name] !== after[name]);
  after.fields.forEach((value, index) => value !== before.fields[index] && names.push(`field-${index}`));
  return names;
}

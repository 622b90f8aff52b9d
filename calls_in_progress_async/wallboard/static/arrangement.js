// Which calls are listed, in which order, under which headings. Pure.

const text = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

export const ORDERS = {
  newest: { label: "newest", column: "timer", direction: "descending", compare: (a, b) => b.start - a.start },
  longest: { label: "longest", column: "timer", direction: "ascending", compare: (a, b) => a.start - b.start },
  caller: { label: "caller", column: "caller", direction: "ascending", compare: by("caller") },
  campaign: { label: "campaign", column: "campaign", direction: "ascending", compare: by("campaign") },
  organization: { label: "organization", column: "organization", direction: "ascending", compare: by("organization") },
};

export const GROUPS = { flat: "none", organization: "organization", campaign: "campaign" };

function by(name) {
  return (a, b) => text.compare(a.row[name], b.row[name]) || b.start - a.start;
}

/** Returns the items to list: `{call}` for a call, `{name, count, failing}` for a heading; and how many calls match. */
export function arrange(store, { filter, order, group, organization }) {
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
  const calls = [];
  for (const call of store.calls.values()) {
    if (organization && call.row.organization !== organization) continue;
    if (words.every((word) => call.search.includes(word))) calls.push(call);
  }
  calls.sort((a, b) => ORDERS[order].compare(a, b) || (a.row.key < b.row.key ? -1 : 1));
  const matches = calls.reduce((count, call) => count + (call.endedAt ? 0 : 1), 0);
  const items = group === "flat" ? calls.map((call) => ({ call })) : grouped(calls, group, store.failures);
  return { items, matches };
}

function grouped(calls, group, failures) {
  const groups = new Map();
  for (const call of calls) {
    const name = call.row[group];
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(call);
  }
  const failing = (name) => group === "organization" && name in failures;
  const names = [...groups.keys()].sort((a, b) => failing(b) - failing(a) || text.compare(a, b));
  return names.flatMap((name) => {
    const found = groups.get(name);
    const live = found.filter((call) => !call.endedAt).length;
    return [{ name, count: live, failing: failing(name) }, ...found.map((call) => ({ call }))];
  });
}

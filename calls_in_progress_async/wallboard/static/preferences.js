// The reader's choices: from the address (for a kiosk), else from the last visit, else the defaults.

const CHOICES = {
  group: ["flat", "organization", "campaign"],
  order: ["newest", "longest", "caller", "campaign", "organization"],
  density: ["wall", "desk"],
  theme: ["auto", "light", "dark"],
};
const KEY = "calls-in-progress-wallboard";

export class Preferences {
  constructor(changed) {
    const address = new URLSearchParams(location.search);
    const stored = read();
    for (const [name, values] of Object.entries(CHOICES)) {
      this[name] = [address.get(name), stored[name]].find((value) => values.includes(value)) ?? values[0];
    }
    this.changed = changed;
  }

  set(name, value) {
    this[name] = value;
    write(Object.fromEntries(Object.keys(CHOICES).map((each) => [each, this[each]])));
    this.changed();
  }

  next(name) {
    const values = CHOICES[name];
    this.set(name, values[(values.indexOf(this[name]) + 1) % values.length]);
  }
}

function read() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) ?? {};
  } catch {
    return {}; // storage is forbidden or broken
  }
}

function write(value) {
  try {
    localStorage.setItem(KEY, JSON.stringify(value));
  } catch {
    // the choice lasts for this visit only
  }
}

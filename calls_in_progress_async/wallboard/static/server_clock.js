// The server's time, whatever the browser's clock says. performance.now() is steady, so only the distance is learnt.

const SAMPLES = 30;
const JUMP = 5_000; // milliseconds: the server's clock was set, or this machine slept

export class ServerClock {
  #offsets = [];
  #offset = 0;
  #frozenAt = null;

  /** Learn from a message that the server wrote at `at` (seconds since 1970). The least delayed message is the best. */
  sync(at) {
    const offset = at * 1000 - performance.now();
    if (Math.abs(offset - this.#offset) > JUMP) this.#offsets.length = 0;
    this.#offsets.push(offset);
    if (this.#offsets.length > SAMPLES) this.#offsets.shift();
    this.#offset = Math.max(...this.#offsets);
    this.#frozenAt = null;
  }

  /** Stop the time, so that no timer runs on without news from the server. */
  freeze() {
    this.#frozenAt ??= this.now();
  }

  get known() {
    return this.#offsets.length > 0;
  }

  /** Milliseconds since 1970, by the server's clock. */
  now() {
    return this.#frozenAt ?? performance.now() + this.#offset;
  }
}

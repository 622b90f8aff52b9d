// The stream of events: comes back after any failure, from after the last event, and knows when nothing is heard.

const SILENCE = 8_000; // milliseconds; the server speaks every two seconds, unless it says otherwise
const MISSED = 4; // messages that the server said would come, and that did not
const PING_TIMEOUT = 3_000;
const FIRST_DELAY = 300;
const LONGEST_DELAY = 15_000;
const EVENTS = ["snapshot", "update", "point", "status", "stopped"];

export class Stream {
  #source = null;
  #last = "";
  #heard = 0;
  #failures = 0;
  #timer = 0;
  #patience = SILENCE;
  #receive;
  #change;

  /**
   * @param {(event: string, data: any) => void} receive Takes a message.
   * @param {(state: "connecting"|"live"|"lost") => void} change Takes a change of the connection.
   */
  constructor(receive, change) {
    this.#receive = receive;
    this.#change = change;
  }

  /** Milliseconds since the last message. */
  get silence() {
    return performance.now() - this.#heard;
  }

  open() {
    const after = this.#last ? `?after=${encodeURIComponent(this.#last)}` : "";
    const source = new EventSource(`events${after}`);
    this.#source = source;
    this.#watch(this.#patience);
    for (const name of EVENTS) source.addEventListener(name, (event) => this.#hear(source, name, event));
    source.addEventListener("error", () => this.#fail(source));
  }

  #hear(source, name, event) {
    if (source !== this.#source) return;
    this.#heard = performance.now();
    this.#failures = 0;
    if (event.lastEventId) this.#last = event.lastEventId;
    const data = JSON.parse(event.data);
    if (name === "status") this.#patience = Math.max(SILENCE, MISSED * 1000 * data.next);
    this.#watch(this.#patience);
    this.#receive(name, data);
    this.#change("live");
  }

  #watch(delay) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#fail(this.#source, true), delay);
  }

  /** Try again. One broken stream is no lost connection yet: the server drops a slow browser, which soon comes back. */
  #fail(source, silent = false) {
    if (source !== this.#source) return;
    source.close();
    this.#source = null;
    if (silent || this.#failures) this.#change("lost");
    const delay = Math.min(FIRST_DELAY * 2 ** this.#failures++, LONGEST_DELAY);
    clearTimeout(this.#timer);
    // Many browsers lose their server in the same moment, so each comes back at a time of its own.
    this.#timer = setTimeout(() => this.#reopen(), delay * (0.5 + Math.random()));
  }

  async #reopen() {
    try {
      const response = await fetch("ping", { cache: "no-store", signal: AbortSignal.timeout(PING_TIMEOUT) });
      if (response.status === 401) location.reload(); // signed out: the page becomes the sign-in page
    } catch {
      this.#change("lost");
    }
    this.open();
  }
}

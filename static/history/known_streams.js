// Names of streams to choose from: those that run, and those that the history has of the last 30 days.

import * as requests from "./requests.js";

const DAYS = 30;
const ASK_EVERY_MS = 5 * 60_000;

export class KnownStreams {
  #station;
  #kept = [];
  #askedAt = -Infinity;

  constructor(station) {
    this.#station = station;
  }

  get names() {
    return [...new Set([...this.#station.streams.map(({ name }) => name), ...this.#kept])].sort();
  }

  /** Ask the history anew, now and then; while it is away there are those that run. */
  async look() {
    if (performance.now() - this.#askedAt < ASK_EVERY_MS) return;
    this.#askedAt = performance.now();
    const asked = { since: new Date(Date.now() - DAYS * 86_400_000).toISOString(), by: "all", each: "stream" };
    try {
      const bodies = await Promise.all([requests.numbers(asked), requests.numbers({ ...asked, of: "frame" })]);
      this.#kept = bodies.flatMap(({ rows }) => rows.map(({ stream }) => stream)).filter(Boolean);
    } catch {
      this.#askedAt = -Infinity;
    }
  }
}

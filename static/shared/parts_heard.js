// The verdicts on a stream's whole parts as they are heard, and whether one passed unheard: a part's is said once, and may be lost on the way.

const LATE_MS = 1_000; // a verdict is said right behind the first result of what comes after its part

export class PartsHeard {
  #last = null; // { part, at }
  #shown = 0; // number of the part that the last result was of; 0: of none
  #given = 0; // of the last part that has its verdict, as results tell
  #givenAt = 0;

  /** `{ part, at, unheard }`: the last verdict that was heard, when, and the number of a later part whose verdict was not, or 0; null before the first. */
  get last() {
    if (this.#last === null) return null;
    const isLost = this.#given > this.#last.part.number && performance.now() - this.#givenAt > LATE_MS;
    return { ...this.#last, unheard: isLost ? this.#given : 0 };
  }

  /** Take a message `part`. */
  hear(part) {
    this.#last = { part, at: performance.now() };
  }

  /** Take the `part_number` of a result: a part has its verdict once frames are of another, or of none. */
  see(number) {
    if (number === undefined || number === this.#shown) return;
    const given = Math.max(this.#shown, number - 1);
    if (given > this.#given) [this.#given, this.#givenAt] = [given, performance.now()];
    this.#shown = number;
  }

  /** What was heard says nothing of now: parts may pass unheard, or are something else. */
  forget() {
    this.#last = null;
    this.#shown = this.#given = 0;
  }
}

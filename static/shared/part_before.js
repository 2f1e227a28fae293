// The last part of a stream before this page listened, as the history has it.

import { demand } from "./server.js";

export class PartBefore {
  part = null; // null: there was none, or nobody knows
  #of = "";

  /** Ask for that of `stream`, once until `forget()`. */
  async look(stream) {
    if (this.#of === stream) return;
    this.forget();
    this.#of = stream;
    const found = await demand(`api/history?${new URLSearchParams({ stream, kind: "part", limit: 1 })}`).catch(() => null);
    if (found && this.#of === stream) this.part = found.entries[0] ?? null;
  }

  /** Parts may pass unheard from now on. */
  forget() {
    this.part = null;
    this.#of = "";
  }
}

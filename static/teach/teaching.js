// One open teaching: asked after two to three times a second, and told what the person decides.

import { Refused, Unreachable } from "../shared/server.js";
import * as requests from "./requests.js";

const ASK_EVERY_MS = 400;
const ASK_AWAY_EVERY_MS = 2_000;

/**
 * `body` is the newest answer, `problem` why the last request got none, `isAway` that the server does not answer. `onchange()` is
 * called after every answer, `onended(words)` when the teaching is gone.
 */
export class Teaching {
  body;
  problem = "";
  isAway = false;
  #onchange;
  #onended;
  #timer = 0;
  #isOver = false;
  #turn = 0; // an answer that was asked for before a later one came is old

  constructor(body, { onchange, onended }) {
    this.body = body;
    this.#onchange = onchange;
    this.#onended = onended;
    this.#askLater();
  }

  get id() {
    return this.body.id;
  }

  /** Say nothing any more; the server goes on. */
  close() {
    this.#isOver = true;
    clearTimeout(this.#timer);
  }

  take() {
    return this.#tell(() => requests.take(this.id));
  }

  setAuto(auto) {
    return this.#tell(() => requests.change(this.id, { auto }));
  }

  use(number, keep) {
    return this.#tell(() => requests.use(this.id, number, keep));
  }

  bring(files) {
    return this.#tell(() => requests.bring(this.id, files));
  }

  finish() {
    return this.#tell(() => requests.done(this.id));
  }

  /** Leave nothing of it. */
  async cancel() {
    this.close();
    await requests.cancel(this.id);
  }

  /** Whether the server did it; if not, `problem` says why. */
  async #tell(step) {
    this.#turn += 1;
    try {
      this.#hear(await step());
      return true;
    } catch (error) {
      this.#fail(error);
      return false;
    }
  }

  async #ask() {
    const turn = this.#turn;
    try {
      const body = await requests.teaching(this.id);
      if (turn === this.#turn && !this.#isOver) this.#hear(body, { keepProblem: !this.isAway });
    } catch (error) {
      if (turn === this.#turn && !this.#isOver) this.#fail(error);
    }
    this.#askLater();
  }

  #hear(body, { keepProblem = false } = {}) {
    this.body = body;
    if (!keepProblem) this.problem = "";
    this.isAway = false;
    if (!this.#isOver) this.#onchange();
  }

  #fail(error) {
    this.isAway = error instanceof Unreachable;
    if (error instanceof Refused && error.status === 404) {
      this.close();
      this.#onended("This teaching was ended: from another page, or because the server was started again.");
      return;
    }
    this.problem = error.message;
    if (!this.#isOver) this.#onchange();
  }

  #askLater() {
    clearTimeout(this.#timer);
    if (this.#isOver || this.body.state === "done") return;
    this.#timer = setTimeout(() => this.#ask(), this.isAway ? ASK_AWAY_EVERY_MS : ASK_EVERY_MS);
  }
}

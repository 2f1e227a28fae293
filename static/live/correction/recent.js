// The latest frames of a stream, to find a bad part among them that passed.

import { FrameTile, keptFrames } from "../kept_frames.js";

export class RecentFrames {
  #dialog;
  #onchoose;
  #turn = 0; // of what is asked for; older answers are thrown away

  /** `onchoose(frame)` is called with the one that was bad. */
  constructor(dialog, onchoose) {
    this.#dialog = dialog;
    this.#onchoose = onchoose;
    this.#find("recent-close").addEventListener("click", () => dialog.close());
  }

  async open(stream) {
    const turn = ++this.#turn;
    this.#find("recent-list").replaceChildren();
    this.#say("Asking the server");
    this.#dialog.showModal();
    this.#find("recent-title").focus();
    try {
      const frames = await keptFrames(stream, "recent");
      if (turn !== this.#turn) return;
      this.#find("recent-list").replaceChildren(...frames.map((frame) => new FrameTile(frame, (chosen) => this.#choose(chosen)).element));
      this.#say(frames.length === 0 ? "No frame is kept yet: let the part pass once more." : `The latest frames of ${stream}, newest first. Press the one that was bad.`);
    } catch (error) {
      if (turn === this.#turn) this.#say(error.message);
    }
  }

  #choose(frame) {
    this.#dialog.close();
    this.#onchoose(frame);
  }

  #say(words) {
    this.#find("recent-status").textContent = words;
  }

  #find(id) {
    return this.#dialog.querySelector(`#${id}`);
  }
}

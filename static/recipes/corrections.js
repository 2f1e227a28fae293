// What a recipe's model was told about single parts, each undone by one press.

import { address } from "../shared/address.js";
import { count } from "../shared/count.js";
import { element, keep, write } from "../shared/elements.js";
import { timeElement } from "../shared/moments.js";

const KINDS = { good: "was good", bad: "was bad" };

/** `undo(correction)` takes one back. */
export class Corrections {
  #root;
  #undo;

  constructor(root, undo) {
    this.#root = root;
    this.#undo = undo;
  }

  show({ corrections, entries, most_entries: most }) {
    keep(this.#root.querySelector("#corrections"), corrections, ({ id }) => id, (correction) => this.#item(correction));
    this.#root.querySelector("#corrections-none").hidden = corrections.length > 0;
    write(this.#root.querySelector("#corrections-room"), corrections.length ? `${entries} of at most ${count(most, "patch", "patches")}${entries >= most ? ": teach again before more are made" : ""}` : "");
  }

  /** Nothing is known of the next recipe yet. */
  forget() {
    this.#root.querySelector("#corrections").replaceChildren();
    this.#root.querySelector("#corrections-none").hidden = true;
    write(this.#root.querySelector("#corrections-room"), "");
  }

  #item(correction) {
    const { kind, learned, at, who, why, stream, place, picture } = correction;
    return element(
      "li",
      { className: "correction", data: { kind, testid: "recipe-correction" } },
      element("img", { src: address(picture), alt: `The part that ${KINDS[kind]}`, loading: "lazy" }),
      element(
        "div",
        {},
        element("p", { className: "correction-kind" }, kind === "good" ? "✓ Was good" : "✕ Was bad", place ? ", the marked place" : ""),
        element("p", {}, timeElement(at), ` · ${stream} · by ${who}`),
        why && element("p", {}, why),
        !learned && element("p", {}, "Kept as a known defect; it changes no score."),
      ),
      element("button", { type: "button", data: { testid: "recipe-correction-undo", needs: "engineer" }, on: { click: (event) => this.#press(event.currentTarget, correction) } }, "Undo"),
    );
  }

  async #press(button, correction) {
    button.disabled = true;
    try {
      await this.#undo(correction);
    } finally {
      button.disabled = false;
    }
  }
}

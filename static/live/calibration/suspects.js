// Frames of a capture that look like defects, as pictures: one press leaves one out, or all of them.

import { count, distance, sentence } from "./words.js";

export class Suspects {
  #root;
  #list;
  #title;
  #all;
  #onchange;
  #found = new Map(); // by number: { suspect, leftOut, tile }

  /** `onchange()` is called when the operator left one out or put it back. */
  constructor(root, onchange) {
    this.#root = root;
    this.#list = root.querySelector("#suspects-list");
    this.#title = root.querySelector("#suspects-title");
    this.#all = root.querySelector("#suspects-all");
    this.#onchange = onchange;
    this.#all.addEventListener("click", () => this.setAll(this.kept > 0));
  }

  clear() {
    this.#found.clear();
    this.#list.replaceChildren();
    this.#show();
  }

  /** Those of a judgement are added: one that is left out is no longer judged, and still has to be put back. */
  add(suspects) {
    for (const [index, { leftOut, tile }] of this.#found) {
      if (leftOut || suspects.some((suspect) => suspect.index === index)) continue;
      tile.remove(); // among other frames it is nothing odd
      this.#found.delete(index);
    }
    for (const suspect of suspects) {
      const known = this.#found.get(suspect.index);
      if (known) continue;
      const tile = this.#tile(suspect);
      this.#found.set(suspect.index, { suspect, leftOut: false, tile });
      this.#list.append(tile);
    }
    this.#show();
  }

  /** Whether they can be left out at all. */
  allow(allowed) {
    this.#all.hidden = !allowed;
    for (const { tile } of this.#found.values()) tile.firstChild.disabled = !allowed;
  }

  /** How many are still in the capture. */
  get kept() {
    return this.marks.filter(({ leftOut }) => !leftOut).length;
  }

  get leftOut() {
    return [...this.#found].filter(([, { leftOut }]) => leftOut).map(([index]) => index);
  }

  /** `{ raw_score, leftOut }` of each, for the histogram. */
  get marks() {
    return [...this.#found.values()].map(({ suspect, leftOut }) => ({ raw_score: suspect.raw_score, leftOut }));
  }

  setAll(leftOut) {
    for (const found of this.#found.values()) found.leftOut = leftOut;
    this.#show();
    this.#onchange();
  }

  #tile({ index, raw_score: raw, why, picture }) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "suspect";
    button.append(picture ? image(picture) : text("span", "suspect-none", "No picture"));
    button.append(text("span", "suspect-why", `${sentence(why)} Score ${distance(raw)}`), text("span", "suspect-state", ""));
    button.addEventListener("click", () => {
      const found = this.#found.get(index);
      found.leftOut = !found.leftOut;
      this.#show();
      this.#onchange();
    });
    item.append(button);
    return item;
  }

  #show() {
    const total = this.#found.size;
    this.#root.hidden = total === 0;
    if (total === 0) return;
    for (const [index, { leftOut, tile }] of this.#found) {
      const button = tile.firstChild;
      button.setAttribute("aria-pressed", String(leftOut));
      button.setAttribute("aria-label", `Frame ${index + 1}. ${button.querySelector(".suspect-why").textContent}. Leave out`);
      button.lastChild.textContent = leftOut ? "Left out" : "Leave out";
    }
    const out = total - this.kept;
    this.#title.textContent = out === 0 ? count(total, "suspect") : `${out} of ${count(total, "suspect")} left out`;
    this.#all.textContent = this.kept === 0 ? (total === 1 ? "Put it back" : "Put all back") : total === 1 ? "Leave it out" : `Leave out all ${total}`;
  }
}

function image(base64) {
  const picture = document.createElement("img");
  picture.src = `data:image/jpeg;base64,${base64}`;
  picture.alt = "";
  return picture;
}

function text(name, className, words) {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = words;
  return made;
}

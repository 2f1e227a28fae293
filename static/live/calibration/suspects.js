// Frames of a capture as pictures, to be left out by one press: those that look like defects, and the highest of the others.

import { count } from "../../shared/count.js";
import { distance, sentence } from "./words.js";

export class Suspects {
  #root;
  #lists; // by kind
  #highest;
  #title;
  #all;
  #onchange;
  #allowed = true;
  #found = new Map(); // by number: { kind, raw, leftOut, tile }

  /** `root`, for those that look like defects, and `highest`, for the others; `onchange()` is called when one was left out or put back. */
  constructor(root, highest, onchange) {
    this.#root = root;
    this.#highest = highest;
    this.#lists = { suspect: root.querySelector("#suspects-list"), highest: highest.querySelector("#highest-list") };
    this.#title = root.querySelector("#suspects-title");
    this.#all = root.querySelector("#suspects-all");
    this.#onchange = onchange;
    this.#all.addEventListener("click", () => this.setAll(this.kept > 0));
  }

  clear() {
    this.#found.clear();
    for (const list of Object.values(this.#lists)) list.replaceChildren();
    this.#show();
  }

  /** Those of a judgement are added: one that is left out is no longer judged, and still has to be put back. */
  add(suspects, highest) {
    const frames = new Map([...highest.map((frame) => [frame.index, ["highest", frame]]), ...suspects.map((frame) => [frame.index, ["suspect", frame]])]);
    for (const [index, { leftOut, tile }] of this.#found) {
      if (leftOut || frames.has(index)) continue;
      tile.remove(); // among other frames it is nothing odd
      this.#found.delete(index);
    }
    for (const [index, [kind, frame]] of frames) {
      const known = this.#found.get(index);
      if (known?.kind === kind) continue;
      const tile = known?.tile ?? this.#tile(frame);
      tile.querySelector(".suspect-why").textContent = `${frame.why ? `${sentence(frame.why)} ` : ""}Raw score ${distance(frame.raw_score)}`;
      this.#found.set(index, { kind, raw: frame.raw_score, leftOut: false, tile });
      this.#lists[kind].append(tile);
    }
    this.#show();
  }

  /** Whether they can be left out at all. */
  allow(allowed) {
    this.#allowed = allowed;
    this.#show();
  }

  /** How many are still in the capture. */
  get kept() {
    return this.#suspects.filter(({ leftOut }) => !leftOut).length;
  }

  get leftOut() {
    return [...this.#found].filter(([, { leftOut }]) => leftOut).map(([index]) => index);
  }

  /** `{ raw_score, leftOut }` of each, for the histogram. */
  get marks() {
    return [...this.#found.values()].filter(({ kind, leftOut }) => kind === "suspect" || leftOut).map(({ raw, leftOut }) => ({ raw_score: raw, leftOut }));
  }

  get #suspects() {
    return [...this.#found.values()].filter(({ kind }) => kind === "suspect");
  }

  setAll(leftOut) {
    for (const found of this.#suspects) found.leftOut = leftOut;
    this.#show();
    this.#onchange();
  }

  #tile({ index, picture }) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "suspect";
    button.append(picture ? image(picture) : text("span", "suspect-none", "No picture"));
    button.append(text("span", "suspect-why", ""), text("span", "suspect-state", ""));
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
    const total = this.#suspects.length;
    this.#root.hidden = total === 0;
    this.#all.hidden = !this.#allowed;
    this.#highest.hidden = !this.#allowed || total === this.#found.size;
    for (const [index, { leftOut, tile }] of this.#found) {
      const button = tile.firstChild;
      button.disabled = !this.#allowed;
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

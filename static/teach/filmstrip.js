// The pictures that were taken, newest first. What looks unlike the others is struck out until somebody decides; any can be
// left out, and taken back in.

import { address } from "../shared/address.js";
import { element, icon, keep, write } from "../shared/elements.js";
import { sentence } from "../shared/sentence.js";

/** `use(number, keep)` decides about a picture. */
export class Filmstrip {
  #root;
  #use;
  #decided = new Set(); // here: the server does not say whether somebody or nobody left one out

  constructor(root, use) {
    this.#root = root;
    this.#use = (number, isUsed) => {
      this.#decided.add(number);
      use(number, isUsed);
    };
    this.#list("teach-look-at-asked").addEventListener("click", () => {
      this.#list("teach-asked-part").scrollIntoView({ block: "start" }); // its heading first: on a phone the part is higher than the screen
      this.#list("teach-asked").querySelector("button")?.focus({ preventScroll: true });
    });
    this.#list("teach-pictures").addEventListener("click", (event) => {
      const button = event.target.closest("button[data-number]");
      if (button) this.#use(Number(button.dataset.number), button.dataset.used !== "true");
    });
  }

  /** Another teaching begins. */
  forget() {
    this.#decided.clear();
    for (const id of ["teach-asked", "teach-pictures"]) this.#list(id).replaceChildren();
  }

  /** `isOver`: nothing can be decided any more. */
  show({ pictures }, isOver = false) {
    this.#list("teach-pictures").dataset.over = String(isOver);
    const isAsked = ({ number, outlier, used }) => outlier && !used && !this.#decided.has(number);
    const asked = isOver ? [] : pictures.filter(isAsked).toReversed();
    const others = pictures.filter((picture) => isOver || !isAsked(picture)).toReversed();
    keep(this.#list("teach-asked"), asked, byNumber, (picture) => this.#asked(picture));
    keep(this.#list("teach-pictures"), others, byNumber, (picture) => this.#picture(picture), show);
    this.#list("teach-asked-part").hidden = asked.length === 0;
    this.#list("teach-strip-part").hidden = others.length === 0;
    const used = pictures.filter(({ used: isUsed }) => isUsed).length;
    write(this.#list("teach-strip-title"), `Pictures (${used}${used < pictures.length ? ` of ${pictures.length} used` : ""})`);
    this.#list("teach-look-at-asked").hidden = asked.length === 0;
    write(this.#list("teach-look-at-asked"), asked.length === 1 ? "⚠ Is it a good part? Look" : `⚠ Are ${asked.length} of them good parts? Look`);
    write(this.#list("teach-asked-title"), asked.length === 1 ? "Is this a good part?" : `Are these ${asked.length} good parts?`);
  }

  #asked({ number, picture, why }) {
    return element(
      "li",
      { className: "asked", data: { testid: "outlier" } },
      element("div", { className: "struck" }, photo(number, picture)),
      element("p", {}, sentence(why) || "It looks unlike the others."),
      element(
        "p",
        { className: "buttons" },
        element("button", { type: "button", data: { testid: "outlier-good" }, on: { click: () => this.#use(number, true) } }, "It is good"),
        element("button", { type: "button", data: { testid: "outlier-out" }, on: { click: () => this.#use(number, false) } }, "Leave out"),
      ),
    );
  }

  #picture({ number, picture }) {
    return element(
      "li",
      { className: "shown-picture", data: { testid: "shown-picture" } },
      photo(number, picture),
      element("span", { className: "badge" }),
      element("button", { type: "button", className: "shown-picture-do", data: { number } }, icon("close"), element("span", {})),
    );
  }

  #list(id) {
    return this.#root.querySelector(`#${id}`);
  }
}

function show(made, { number, new: isNew, copy, used }) {
  made.dataset.used = String(used);
  write(made.querySelector(".badge"), !used ? "left out" : copy ? "same part" : isNew ? "new" : "");
  const button = made.querySelector("button");
  button.dataset.used = String(used);
  button.setAttribute("aria-label", used ? `Leave out picture ${number}` : `Use picture ${number} again`);
  write(button.querySelector("span"), used ? "" : "Undo");
}

function byNumber({ number }) {
  return number;
}

function photo(number, picture) {
  return element("img", { src: address(picture), alt: `Picture ${number}`, loading: "lazy", draggable: false });
}

// The pictures that were taken, newest first. What looks unlike the others is struck out until somebody decides; any can be
// looked at large, left out, and taken back in.

import { address } from "../shared/address.js";
import { element, icon, keep, write } from "../shared/elements.js";
import { Enlarged } from "./enlarged.js";
import { sentence } from "../shared/sentence.js";

/** `use(number, keep)` decides about a picture, and resolves to whether the server took it. */
export class Filmstrip {
  #root;
  #tell;
  #enlarged;
  #pictures = []; // as shown last
  #isOver = false;
  #decided = new Set(); // here: the server does not say whether somebody or nobody left one out
  #turn = 0; // of a teaching: its numbers are nothing to the next one

  constructor(root, use) {
    this.#root = root;
    this.#tell = use;
    this.#enlarged = new Enlarged(root, { use: (number, isUsed) => this.#use(number, isUsed), closed: () => this.#focusWhatIsThere() });
    this.#list("teach-look-at-asked").addEventListener("click", () => {
      this.#list("teach-asked-part").scrollIntoView({ block: "start" }); // its heading first: on a phone the part is higher than the screen
      this.#list("teach-asked").querySelector("button")?.focus({ preventScroll: true });
    });
    this.#list("teach-asked-all").addEventListener("click", () => this.#allAreGood());
    for (const id of ["teach-asked", "teach-pictures"]) {
      this.#list(id).addEventListener("click", ({ target }) => {
        const open = target.closest(".shown-open");
        if (open) this.#enlarge(Number(open.dataset.number), open.firstElementChild);
      });
    }
    this.#list("teach-pictures").addEventListener("click", (event) => {
      const button = event.target.closest(".shown-picture-do");
      if (button) this.#use(Number(button.dataset.number), button.dataset.used !== "true");
    });
  }

  /** Another teaching begins. */
  forget() {
    this.#turn += 1;
    this.#decided.clear();
    this.#pictures = [];
    this.#enlarged.close();
    for (const id of ["teach-asked", "teach-pictures"]) this.#list(id).replaceChildren();
  }

  /** `isOver`: nothing can be decided any more. */
  show({ pictures }, isOver = false) {
    this.#pictures = pictures;
    this.#isOver = isOver;
    this.#list("teach-pictures").dataset.over = String(isOver);
    const asked = pictures.filter((picture) => this.#isAsked(picture)).toReversed();
    const others = pictures.filter((picture) => !this.#isAsked(picture)).toReversed();
    keep(this.#list("teach-asked"), asked, byNumber, (picture) => this.#asked(picture));
    keep(this.#list("teach-pictures"), others, byNumber, shownPicture, showUse);
    this.#list("teach-asked-part").hidden = asked.length === 0;
    this.#list("teach-strip-part").hidden = others.length === 0;
    const used = pictures.filter(({ used: isUsed }) => isUsed).length;
    write(this.#list("teach-strip-title"), `Pictures (${used}${used < pictures.length ? ` of ${pictures.length} used` : ""})`);
    this.#list("teach-look-at-asked").hidden = asked.length === 0;
    write(this.#list("teach-look-at-asked"), asked.length === 1 ? "⚠ Is it a good part? Look" : `⚠ Are ${asked.length} of them good parts? Look`);
    write(this.#list("teach-asked-title"), asked.length === 1 ? "Is this a good part?" : `Are these ${asked.length} good parts?`);
    this.#list("teach-asked-all").hidden = asked.length < 2;
    write(this.#list("teach-asked-all"), `All of these are good (${asked.length})`);
  }

  #isAsked({ number, outlier, used }) {
    return !this.#isOver && outlier && !used && !this.#decided.has(number);
  }

  async #use(number, isUsed) {
    this.#decided.add(number);
    const turn = this.#turn;
    const isTaken = await this.#tell(number, isUsed);
    if (!isTaken && turn === this.#turn) this.#decided.delete(number);
    this.#focusWhatIsThere();
    return isTaken;
  }

  // One after the other: where the server does not take one, it says why, and the rest is still asked.
  async #allAreGood() {
    const turn = this.#turn;
    for (const { number } of this.#pictures.filter((picture) => this.#isAsked(picture))) {
      if (!(await this.#use(number, true)) || turn !== this.#turn) return;
    }
  }

  #enlarge(number, { naturalWidth: width, naturalHeight: height }) {
    const picture = this.#pictures.find((one) => one.number === number);
    if (picture) this.#enlarged.open(picture, { shape: width / height || 4 / 3, isAsked: this.#isAsked(picture), isOver: this.#isOver });
  }

  // What was decided is not where it was: whoever goes on with the keyboard goes on with the next one.
  #focusWhatIsThere() {
    if (document.activeElement !== document.body || this.#enlarged.number !== null) return;
    const next = this.#list("teach-asked").querySelector("button") ?? this.#list("teach-pictures");
    next.focus({ preventScroll: true });
  }

  #asked({ number, picture, why }) {
    return element(
      "li",
      { className: "asked", data: { testid: "outlier" } },
      element("div", { className: "struck" }, opener(number, picture)),
      element("p", {}, sentence(why) || "It looks unlike the others."),
      element(
        "p",
        { className: "buttons" },
        element("button", { type: "button", data: { testid: "outlier-good" }, on: { click: () => this.#use(number, true) } }, "It is good"),
        element("button", { type: "button", data: { testid: "outlier-out" }, on: { click: () => this.#use(number, false) } }, "Leave out"),
      ),
    );
  }

  #list(id) {
    return this.#root.querySelector(`#${id}`);
  }
}

function shownPicture({ number, picture }) {
  return element(
    "li",
    { className: "shown-picture", data: { testid: "shown-picture" } },
    opener(number, picture),
    element("span", { className: "badge" }),
    element("button", { type: "button", className: "shown-picture-do", data: { number } }, icon("close"), element("span", {})),
  );
}

function showUse(made, { number, new: isNew, copy, used }) {
  made.dataset.used = String(used);
  write(made.querySelector(".badge"), !used ? "left out" : copy ? "same part" : isNew ? "new" : "");
  const button = made.querySelector(".shown-picture-do");
  button.dataset.used = String(used);
  button.setAttribute("aria-label", used ? `Leave out picture ${number}` : `Use picture ${number} again`);
  write(button.querySelector("span"), used ? "" : "Undo");
}

function byNumber({ number }) {
  return number;
}

function opener(number, picture) {
  const image = element("img", { src: address(picture), alt: "", loading: "lazy", draggable: false });
  return element("button", { type: "button", className: "shown-open", "aria-label": `Look at picture ${number}`, data: { number, testid: "picture-open" } }, image);
}

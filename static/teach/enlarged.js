// One picture that was taken, large, with the place marked where it is least like the others.

import { address } from "../shared/address.js";
import { element, write } from "../shared/elements.js";
import { sentence } from "../shared/sentence.js";

/** `use(number, keep)` decides about a picture; `closed()` is called once it is closed. */
export class Enlarged {
  #dialog;
  #use;
  #number = null;

  constructor(root, { use, closed }) {
    this.#use = use;
    this.#dialog = element(
      "dialog",
      { className: "sheet enlarged", "aria-labelledby": "enlarged-title", "aria-describedby": "enlarged-why", data: { testid: "enlarged" }, on: { close: closed } },
      element(
        "header",
        { className: "sheet-head" },
        element("h2", { id: "enlarged-title" }),
        element("button", { type: "button", className: "sheet-close", "aria-label": "Close", on: { click: () => this.close() } }, "✕"),
      ),
      element("div", { className: "sheet-body" }, element("div", { className: "enlarged-shot" }), element("p", { id: "enlarged-why" })),
      element(
        "footer",
        { className: "sheet-foot" },
        element("button", { type: "button", data: { testid: "enlarged-out" }, on: { click: () => this.#decide(false) } }, "Leave out"),
        element("button", { type: "button", data: { testid: "enlarged-good" }, on: { click: () => this.#decide(true) } }),
        element("button", { type: "button", className: "primary", autofocus: true, data: { testid: "enlarged-close" }, on: { click: () => this.close() } }, "Close"),
      ),
    );
    root.append(this.#dialog);
  }

  /** The number of the picture that is shown, or null. */
  get number() {
    return this.#dialog.open ? this.#number : null;
  }

  /** `picture` is a ShownPicture of docs/protocol.md, `shape` its width to its height; `isOver`: nothing can be decided any more. */
  open(picture, { shape, isAsked, isOver }) {
    const { number, used, why, place, picture: path } = picture;
    this.#number = number;
    write(this.#find("#enlarged-title"), isAsked ? `Is picture ${number} a good part?` : `Picture ${number}`);
    const image = element("img", { src: address(`${path}/large`), alt: `Picture ${number}`, draggable: false });
    image.addEventListener("error", () => (image.src = address(path)), { once: true }); // its file is not here any more
    const shot = this.#find(".enlarged-shot");
    shot.style.setProperty("--shape", shape);
    image.addEventListener("load", () => shot.style.setProperty("--shape", image.naturalWidth / image.naturalHeight));
    shot.replaceChildren(image, ...(place ? [mark(place)] : []));
    write(this.#find("#enlarged-why"), [sentence(why), place && "Marked: where it is least like the others."].filter(Boolean).join(" "));
    const [out, good] = [this.#find("[data-testid=enlarged-out]"), this.#find("[data-testid=enlarged-good]")];
    out.hidden = isOver || !(used || isAsked);
    good.hidden = isOver || used;
    write(good, isAsked ? "It is good" : "Use it again");
    this.#dialog.showModal();
  }

  close() {
    this.#dialog.close();
  }

  #decide(keep) {
    this.#use(this.#number, keep);
    this.close();
  }

  #find(selector) {
    return this.#dialog.querySelector(selector);
  }
}

/** A frame to lie over a picture that fills its box; `place` is [left, top, right, bottom], 0 to 1. */
function mark([left, top, right, bottom]) {
  const made = element("span", { className: "asked-mark", "aria-hidden": "true", data: { testid: "mark" } });
  const percent = (share) => `${share * 100}%`;
  Object.assign(made.style, { left: percent(left), top: percent(top), width: percent(right - left), height: percent(bottom - top) });
  return made;
}

// What is taken hold of: a button for each corner of the chosen region, and one in the middle of each edge that adds a corner.

import { element } from "../../shared/elements.js";
import { middle } from "./polygon.js";

const STEP = 0.01;
const SMALL_STEP = 0.002;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** `told` hears `grab(corner, event)`, `split(corner, event)`, `nudge(corner, [dx, dy])`, `drop(corner)` and `add(corner)`. */
export class Handles {
  #root;
  #told;

  constructor(root, told) {
    this.#root = root;
    this.#told = told;
  }

  show(corners, regionName) {
    const focused = this.#root.contains(document.activeElement) ? Number(document.activeElement.dataset.corner) : null;
    this.#root.replaceChildren(
      ...corners.map((corner, i) => this.#edge(i, middle(corner, corners[(i + 1) % corners.length]))),
      ...corners.map((corner, i) => this.#corner(i, corner, `Corner ${i + 1} of ${corners.length}, ${regionName}`)),
    );
    if (focused !== null) this.focus(Math.min(focused, corners.length - 1));
  }

  clear() {
    this.#root.replaceChildren();
  }

  focus(corner) {
    this.#root.querySelector(`.corner[data-corner="${corner}"]`)?.focus({ preventScroll: true });
  }

  #corner(i, [x, y], name) {
    const made = element("button", {
      type: "button",
      className: "corner",
      "aria-label": `${name}, ${percent(x)} from the left, ${percent(y)} from the top`,
      "aria-describedby": "regions-keys",
      data: { corner: i },
      on: {
        pointerdown: (event) => this.#told.grab(i, event),
        keydown: (event) => this.#key(i, event),
      },
    });
    return place(made, [x, y]);
  }

  #edge(i, at) {
    const made = element("button", {
      type: "button",
      className: "edge",
      tabIndex: -1,
      "aria-label": `Add a corner after corner ${i + 1}`,
      data: { edge: i },
      on: { pointerdown: (event) => this.#told.split(i, event) },
    });
    return place(made, at);
  }

  #key(i, event) {
    const { key } = event;
    if (ARROWS[key]) {
      const step = event.shiftKey ? SMALL_STEP : STEP;
      this.#told.nudge(i, ARROWS[key].map((direction) => direction * step));
    } else if (key === "Delete" || key === "Backspace") this.#told.drop(i);
    else if (key === "+" || key === "Insert" || key === "Enter" || key === " ") this.#told.add(i);
    else return;
    event.preventDefault();
  }
}

function place(made, [x, y]) {
  made.style.left = `${x * 100}%`;
  made.style.top = `${y * 100}%`;
  return made;
}

function percent(share) {
  return `${Math.round(share * 100)} %`;
}

// What is taken hold of: a button for each corner of the chosen region, and one in the middle of each edge that adds a corner.

import { element } from "../../shared/elements.js";
import { middle } from "../../shared/polygon.js";

const STEP = 0.01;
const SMALL_STEP = 0.002;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** `told` hears `grab(corner, event)`, `split(edge, event)`, `nudge(corner, [dx, dy])`, `drop(corner)` and `add(corner)`. */
export class Handles {
  #root;
  #told;
  #corners = [];
  #edges = [];

  constructor(root, told) {
    this.#root = root;
    this.#told = told;
  }

  /** Those that are there move: one under a finger must not be taken away from it. */
  show(corners, regionName) {
    const hadFocus = this.#corners.includes(document.activeElement);
    const focused = this.#corners.indexOf(document.activeElement);
    this.#have(this.#edges, corners.length, (i) => this.#edge(i));
    this.#have(this.#corners, corners.length, (i) => this.#corner(i));
    corners.forEach(([x, y], i) => {
      place(this.#corners[i], [x, y]);
      this.#corners[i].setAttribute("aria-label", `Corner ${i + 1} of ${corners.length}, ${regionName}, ${percent(x)} from the left, ${percent(y)} from the top`);
      place(this.#edges[i], middle([x, y], corners[(i + 1) % corners.length]));
    });
    if (hadFocus && focused >= corners.length) this.focus(corners.length - 1);
  }

  clear() {
    for (const all of [this.#edges, this.#corners]) this.#have(all, 0);
  }

  focus(corner) {
    this.#corners[corner]?.focus({ preventScroll: true });
  }

  #have(all, count, make) {
    while (all.length > count) all.pop().remove();
    while (all.length < count) {
      const made = make(all.length);
      all.push(made);
      this.#root.append(made);
    }
  }

  #corner(i) {
    return element("button", {
      type: "button",
      className: "corner",
      "aria-describedby": "regions-keys",
      on: {
        pointerdown: (event) => this.#told.grab(i, event),
        keydown: (event) => this.#key(i, event),
      },
    });
  }

  #edge(i) {
    return element("button", {
      type: "button",
      className: "edge",
      tabIndex: -1,
      "aria-label": `Add a corner after corner ${i + 1}`,
      on: { pointerdown: (event) => this.#told.split(i, event) },
    });
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

function place(handle, [x, y]) {
  handle.style.left = `${x * 100}%`;
  handle.style.top = `${y * 100}%`;
}

function percent(share) {
  return `${Math.round(share * 100)} %`;
}

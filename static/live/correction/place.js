// Marks a place on a picture: drawn around with a finger or the mouse, or a rectangle that the keys move.

import { area } from "../../shared/polygon.js";
import { shape } from "../../shared/svg.js";
import { polygonOf } from "./drawn_line.js";

const STEP = 0.02;
const SMALLEST_SIDE = 0.04;

export class PlaceMark {
  #svg;
  #onchange;
  #shape = shape("polygon");
  #line = null; // while it is drawn
  #rectangle = null; // { left, top, right, bottom }
  #on = false;

  /** `svg` lies over the picture with the viewBox 0 0 1 1; `onchange(place)` gets a polygon, or null. */
  constructor(svg, onchange) {
    this.#svg = svg;
    this.#onchange = onchange;
    svg.append(this.#shape);
    svg.addEventListener("pointerdown", (event) => this.#begin(event));
    svg.addEventListener("pointermove", (event) => this.#draw(event));
    for (const end of ["pointerup", "pointercancel"]) svg.addEventListener(end, () => this.#end());
    svg.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Whether a place can be marked now. */
  allow(on) {
    this.#on = on;
    this.#svg.dataset.on = String(on);
    if (on) this.#svg.setAttribute("aria-label", "Place: draw around it");
    this.clear();
  }

  clear() {
    this.#line = this.#rectangle = null;
    this.#svg.removeAttribute("tabindex");
    this.#svg.removeAttribute("role");
    this.#show([]);
  }

  /** A rectangle in the middle that the arrow keys move, and size while Shift is held. */
  useRectangle() {
    this.#rectangle = { left: 0.35, top: 0.35, right: 0.65, bottom: 0.65 };
    this.#svg.setAttribute("tabindex", "0");
    this.#svg.setAttribute("role", "application");
    this.#svg.setAttribute("aria-roledescription", "movable rectangle");
    this.#showRectangle();
    this.#svg.focus();
  }

  #begin(event) {
    if (!this.#on || event.button !== 0) return;
    event.preventDefault();
    this.#svg.setPointerCapture(event.pointerId);
    this.clear();
    this.#line = [this.#at(event)];
  }

  #draw(event) {
    if (!this.#line) return;
    for (const each of event.getCoalescedEvents?.() ?? [event]) this.#line.push(this.#at(each));
    this.#show(this.#line);
  }

  #end() {
    if (!this.#line) return;
    const place = polygonOf(this.#line);
    this.#line = null;
    this.#show(place ?? []);
    this.#onchange(place);
  }

  #key(event) {
    const move = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] }[event.key];
    if (!this.#rectangle || !move) return;
    event.preventDefault();
    const [dx, dy] = move;
    const { left, top, right, bottom } = this.#rectangle;
    if (event.shiftKey) {
      this.#rectangle = { left, top, right: clamp(right + dx, left + SMALLEST_SIDE, 1), bottom: clamp(bottom + dy, top + SMALLEST_SIDE, 1) };
    } else {
      const x = clamp(dx, -left, 1 - right);
      const y = clamp(dy, -top, 1 - bottom);
      this.#rectangle = { left: left + x, top: top + y, right: right + x, bottom: bottom + y };
    }
    this.#showRectangle();
  }

  #showRectangle() {
    const { left, top, right, bottom } = this.#rectangle;
    const corners = [[left, top], [right, top], [right, bottom], [left, bottom]];
    const percent = (share) => Math.round(share * 100);
    this.#svg.setAttribute(
      "aria-label",
      `Marked place, ${percent(left)} to ${percent(right)} % from the left, ${percent(top)} to ${percent(bottom)} % from the top, ${percent(Math.abs(area(corners)))} % of the picture. Arrow keys move it, with Shift they size it.`,
    );
    this.#show(corners);
    this.#onchange(corners);
  }

  #show(corners) {
    this.#shape.setAttribute("points", corners.map(([x, y]) => `${x},${y}`).join(" "));
  }

  #at({ clientX, clientY }) {
    const { left, top, width, height } = this.#svg.getBoundingClientRect();
    return [clamp((clientX - left) / width, 0, 1), clamp((clientY - top) / height, 0, 1)];
  }
}

function clamp(value, low, high) {
  return Math.min(high, Math.max(low, value));
}

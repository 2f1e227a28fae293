// Draws on a picture what of it is inspected: the rest is dimmed, what is ignored is hatched too.

import { cornersOf, inspectedMask, pathOf } from "./inspected_mask.js";
import { shape } from "./svg.js";

let made = 0;

/** An SVG that covers the picture's box; `show` says what is inspected. */
export class InspectedArea {
  root = shape("svg", { class: "inspected-area", preserveAspectRatio: "none", "aria-hidden": "true" });
  #id = `inspected-${++made}`;
  #size = { width: 4, height: 3 };
  #told = null;

  constructor() {
    this.shapeTo(4, 3);
  }

  /** Take the picture's shape, so that hatching and corners are not distorted. */
  shapeTo(width, height) {
    this.#size = { width, height };
    this.root.setAttribute("viewBox", `0 0 ${width} ${height}`);
    if (this.#told) this.show(this.#told);
  }

  /** `region` is [left, top, right, bottom] or null, `include` and `ignore` are polygons; everything 0 to 1. */
  show({ region = null, include = [], ignore = [], dim = true }) {
    this.#told = { region, include, ignore, dim };
    const path = (polygons) => pathOf(polygons, this.#size);
    const step = Math.max(this.#size.width, this.#size.height) / 60;
    const hatch = shape("pattern", { id: `${this.#id}-hatch`, width: step, height: step, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" });
    hatch.append(shape("rect", { width: step / 3, height: step, class: "hatch" }));
    const definitions = shape("defs");
    definitions.append(hatch, inspectedMask(`${this.#id}-mask`, this.#size, { region, include, ignore }));
    const drawn = [definitions];
    if (dim) drawn.push(shape("rect", { ...this.#size, class: "dimmed", mask: `url(#${this.#id}-mask)` }));
    drawn.push(shape("path", { d: path(ignore), fill: `url(#${this.#id}-hatch)` }));
    if (region) drawn.push(shape("path", { d: path([cornersOf(region)]), class: "outline outline-region" }));
    drawn.push(shape("path", { d: path(include), class: "outline outline-include" }));
    drawn.push(shape("path", { d: path(ignore), class: "outline outline-ignore" }));
    this.root.replaceChildren(...drawn);
  }
}

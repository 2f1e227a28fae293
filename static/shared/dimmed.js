// Dims what of a picture is not inspected: what the model does not look at, what a recipe leaves out.

import { inspectedMask } from "./inspected_mask.js";
import { shape } from "./svg.js";

const WHOLE = [0, 0, 1, 1];

let made = 0; // for masks of their own on one page

export class Dimmed {
  #svg;
  #id = `not-inspected-${(made += 1)}`;
  #size = { width: 4, height: 3 };
  #inspected = {};

  /** `svg` lies over the picture, in the same box, as large as `object-fit: contain` makes it. */
  constructor(svg) {
    this.#svg = svg;
  }

  /** The picture's shape, pixels. */
  shape(width, height) {
    this.#size = { width, height };
    this.#draw();
  }

  /**
   * `region` is the rectangle that the model looks at, `[left, top, right, bottom]`, `regions` a recipe's `{ include, ignore }`
   * polygons; all from 0 to 1 of the frame, either may be absent.
   */
  show({ region, regions } = {}) {
    const inspected = { region: region ?? WHOLE, include: regions?.include ?? [], ignore: regions?.ignore ?? [] };
    if (JSON.stringify(inspected) === JSON.stringify(this.#inspected)) return;
    this.#inspected = inspected;
    this.#draw();
  }

  #draw() {
    const { width, height } = this.#size;
    const { region = WHOLE, include = [], ignore = [] } = this.#inspected;
    this.#svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const nothing = region.every((side, i) => Math.abs(side - WHOLE[i]) < 0.004) && include.length + ignore.length === 0;
    this.#svg.dataset.dims = String(!nothing);
    if (nothing) {
      this.#svg.replaceChildren();
      return;
    }
    const [left, top, right, bottom] = [region[0] * width, region[1] * height, region[2] * width, region[3] * height];
    const edge = (polygon) => shape("polygon", { points: polygon.map(([x, y]) => `${x * width},${y * height}`).join(" "), class: "dimmed-edge" });
    this.#svg.replaceChildren(
      inspectedMask(this.#id, this.#size, { region, include, ignore }),
      shape("rect", { x: 0, y: 0, width, height, class: "dimmed-shade", mask: `url(#${this.#id})` }),
      shape("rect", { x: left, y: top, width: right - left, height: bottom - top, class: "dimmed-edge" }),
      ...include.map(edge),
      ...ignore.map(edge),
    );
  }
}

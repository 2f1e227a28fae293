// Dims what of a picture is not inspected: what the model does not look at, what a recipe leaves out.

const SVG = "http://www.w3.org/2000/svg";
const WHOLE = [0, 0, 1, 1];

let made = 0; // for masks of their own on one page

export class Dimmed {
  #svg;
  #mask = element("mask", { id: `inspected-${(made += 1)}`, maskUnits: "userSpaceOnUse" });
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
    const frame = { x: 0, y: 0, width, height };
    const [left, top, right, bottom] = [region[0] * width, region[1] * height, region[2] * width, region[3] * height];
    const looked = { x: left, y: top, width: right - left, height: bottom - top };
    const points = (polygon) => polygon.map(([x, y]) => `${x * width},${y * height}`).join(" ");
    // White is dimmed: all, but for what is included, again for what is ignored and what lies outside of the model's rectangle.
    this.#mask.replaceChildren(
      element("rect", { ...frame, fill: "white" }),
      ...(include.length === 0 ? [element("rect", { ...frame, fill: "black" })] : include.map((polygon) => element("polygon", { points: points(polygon), fill: "black" }))),
      ...ignore.map((polygon) => element("polygon", { points: points(polygon), fill: "white" })),
      element("path", { d: `M0 0H${width}V${height}H0ZM${left} ${top}V${bottom}H${right}V${top}Z`, fill: "white" }),
    );
    this.#svg.replaceChildren(
      this.#mask,
      element("rect", { ...frame, class: "dimmed-shade", mask: `url(#${this.#mask.id})` }),
      element("rect", { ...looked, class: "dimmed-edge" }),
      ...include.map((polygon) => element("polygon", { points: points(polygon), class: "dimmed-edge" })),
      ...ignore.map((polygon) => element("polygon", { points: points(polygon), class: "dimmed-edge" })),
    );
  }
}

function element(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

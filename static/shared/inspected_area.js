// Draws on a picture what of it is inspected: the rest is dimmed, what is ignored is hatched too.

const SVG = "http://www.w3.org/2000/svg";
let made = 0;

/** An SVG that covers the picture's box; `show` says what is inspected. */
export class InspectedArea {
  root = shape("svg", { class: "inspected-area", preserveAspectRatio: "none", "aria-hidden": "true" });
  #id = `inspected-${++made}`;
  #size = [4, 3];
  #told = null;

  constructor() {
    this.shapeTo(4, 3);
  }

  /** Take the picture's shape, so that hatching and corners are not distorted. */
  shapeTo(width, height) {
    this.#size = [width, height];
    this.root.setAttribute("viewBox", `0 0 ${width} ${height}`);
    if (this.#told) this.show(this.#told);
  }

  /** `region` is [left, top, right, bottom] or null, `include` and `ignore` are polygons; everything 0 to 1. */
  show({ region = null, include = [], ignore = [], dim = true }) {
    this.#told = { region, include, ignore, dim };
    const box = region && [[region[0], region[1]], [region[2], region[1]], [region[2], region[3]], [region[0], region[3]]];
    const step = Math.max(...this.#size) / 60;
    const hatch = shape("pattern", { id: `${this.#id}-hatch`, width: step, height: step, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" });
    hatch.append(shape("rect", { width: step / 3, height: step, class: "hatch" }));
    const mask = shape("mask", { id: `${this.#id}-mask`, maskUnits: "userSpaceOnUse", x: 0, y: 0, width: this.#size[0], height: this.#size[1] });
    const all = this.#path([[[0, 0], [1, 0], [1, 1], [0, 1]]]);
    mask.append(shape("path", { d: all, fill: "#fff" }));
    mask.append(shape("path", { d: this.#path(include.length ? include : [[[0, 0], [1, 0], [1, 1], [0, 1]]]), fill: "#000" }));
    if (box) mask.append(shape("path", { d: `${all} ${this.#path([box])}`, fill: "#fff", "fill-rule": "evenodd" }));
    mask.append(shape("path", { d: this.#path(ignore), fill: "#fff" }));
    const definitions = shape("defs", {});
    definitions.append(hatch, mask);
    const drawn = [definitions];
    if (dim) drawn.push(shape("path", { d: all, class: "dimmed", mask: `url(#${this.#id}-mask)` }));
    drawn.push(shape("path", { d: this.#path(ignore), fill: `url(#${this.#id}-hatch)` }));
    if (box) drawn.push(shape("path", { d: this.#path([box]), class: "outline outline-region" }));
    drawn.push(shape("path", { d: this.#path(include), class: "outline outline-include" }));
    drawn.push(shape("path", { d: this.#path(ignore), class: "outline outline-ignore" }));
    this.root.replaceChildren(...drawn);
  }

  #path(polygons) {
    const [width, height] = this.#size;
    return polygons.map((corners) => `M${corners.map(([x, y]) => `${x * width} ${y * height}`).join("L")}Z`).join(" ");
  }
}

function shape(tag, attributes) {
  const drawn = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) drawn.setAttribute(name, value);
  return drawn;
}

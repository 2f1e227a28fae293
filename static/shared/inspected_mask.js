// Where a picture is not inspected: outside of what the model looks at, outside of what a recipe includes, and what it ignores.

import { shape } from "./svg.js";

const WHOLE = [[0, 0], [1, 0], [1, 1], [0, 1]];

/** Corners of a rectangle `[left, top, right, bottom]`. */
export function cornersOf([left, top, right, bottom]) {
  return [[left, top], [right, top], [right, bottom], [left, bottom]];
}

/** Path of polygons, whose corners are from 0 to 1 of a picture of that size. */
export function pathOf(polygons, { width, height }) {
  return polygons.map((corners) => `M${corners.map(([x, y]) => `${x * width} ${y * height}`).join("L")}Z`).join(" ");
}

/** A mask that lets through what is not inspected; `region` is a rectangle or null. */
export function inspectedMask(id, size, { region, include, ignore }) {
  const mask = shape("mask", { id, maskUnits: "userSpaceOnUse", x: 0, y: 0, width: size.width, height: size.height });
  const all = pathOf([WHOLE], size);
  mask.append(shape("path", { d: all, fill: "#fff" }), shape("path", { d: include.length ? pathOf(include, size) : all, fill: "#000" }));
  if (region) mask.append(shape("path", { d: `${all} ${pathOf([cornersOf(region)], size)}`, fill: "#fff", "fill-rule": "evenodd" }));
  mask.append(shape("path", { d: pathOf(ignore, size), fill: "#fff" }));
  return mask;
}

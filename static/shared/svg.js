// SVG elements, made without markup.

const SVG = "http://www.w3.org/2000/svg";

export function shape(tag, attributes = {}) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

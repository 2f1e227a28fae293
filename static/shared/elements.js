// Elements of the page, made without markup: text stays text.

import { shape } from "./svg.js";

/**
 * An element with `children` (elements or texts; null and false are left out). In `about`: `on` listeners, `data` attributes,
 * names with a dash and `role` as attributes, everything else as properties.
 */
export function element(tag, about = {}, ...children) {
  const made = document.createElement(tag);
  const { on = {}, data = {}, ...rest } = about;
  for (const [name, value] of Object.entries(rest)) {
    if (value === undefined || value === null) continue;
    if (name.includes("-") || name === "role") made.setAttribute(name, value);
    else made[name] = value;
  }
  for (const [name, value] of Object.entries(data)) if (value !== undefined && value !== null) made.dataset[name] = value;
  for (const [name, listener] of Object.entries(on)) made.addEventListener(name, listener);
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** One of the page's icons (templates/icons.html). */
export function icon(name) {
  const made = shape("svg", { "aria-hidden": "true" });
  made.append(shape("use", { href: `#icon-${name}` }));
  return made;
}

/** Write `text` into an element, only when it changed: screen readers and selections stay undisturbed. */
export function write(into, text) {
  if (into.textContent !== text) into.textContent = text;
}

/**
 * Keep the children of `list` in step with `things`: one element for each key, made once by `make(thing)`, told of news by
 * `update(made, thing)`. What has the focus keeps it.
 */
export function keep(list, things, key, make, update = () => {}) {
  const kept = new Map([...list.children].map((child) => [child.dataset.key, child]));
  let before = null;
  for (const thing of things) {
    const name = String(key(thing));
    let child = kept.get(name);
    if (child) kept.delete(name);
    else {
      child = make(thing);
      child.dataset.key = name;
    }
    update(child, thing);
    const place = before ? before.nextElementSibling : list.firstElementChild;
    if (place !== child) list.insertBefore(child, place);
    before = child;
  }
  for (const gone of kept.values()) gone.remove();
}

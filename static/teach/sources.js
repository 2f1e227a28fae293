// Where the parts are seen: this device's camera, a running stream, or pictures.

import { count } from "../shared/count.js";
import { element, keep, write } from "../shared/elements.js";
import { cameraWord } from "../shared/pulled_camera.js";

export const CAMERA = "camera";
export const PICTURES = "pictures";

/** Offer what there is; what was chosen stays chosen, and nothing else is in its place once it is gone. */
export function offerSources(list, { streams, ownName }) {
  const others = streams.filter(({ name }) => name !== ownName);
  const choices = [
    { value: CAMERA, name: "This device’s camera", about: "started when you press Start" },
    ...others.map((stream) => ({ value: `stream:${stream.name}`, name: stream.simulated ? "Simulated line" : stream.name, about: about(stream), isTaken: Boolean(stream.is_taught) })),
    { value: PICTURES, name: "Pictures or a ZIP", about: "taken before, of good parts only" },
  ];
  keep(list, choices, ({ value }) => value, choice, (made, { about: words, isTaken }) => {
    made.querySelector("input").disabled = Boolean(isTaken);
    write(made.querySelector("small"), words);
  });
}

/** The value of the chosen one. */
export function chosenSource(list) {
  return list.querySelector("input:checked:not(:disabled)")?.value ?? null;
}

/** Choose the first one, where none is. */
export function presetSource(list) {
  if (!chosenSource(list)) list.querySelector("input").checked = true;
}

export function chooseSource(list, value) {
  const field = [...list.querySelectorAll("input")].find((input) => input.value === value);
  if (field) field.checked = true;
}

function choice({ value, name }) {
  return element(
    "li",
    {},
    element("label", { className: "source", data: { testid: "teach-source" } }, element("input", { type: "radio", name: "source", value }), element("span", {}, element("strong", {}, name), element("small", {}))),
  );
}

function about({ is_taught: isTaught, simulated, state, camera, received_per_s: perSecond }) {
  if (isTaught) return "is being taught already";
  if (simulated) return "rendered parts, to try it out";
  return cameraWord(camera) || (state === "silent" ? "silent" : `${count(Math.round(perSecond), "picture")} a second`);
}

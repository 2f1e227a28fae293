// The choice between this device's camera and the running streams.

import { CAMERA, streamIn } from "../shell/sources.js";
import { may } from "../shared/me.js";
import { cameraWord } from "../shared/pulled_camera.js";

export class SourceSelect {
  #select;
  #offered = "";

  constructor(select, onchoose) {
    this.#select = select;
    select.addEventListener("change", () => onchoose(select.value));
  }

  choose(source) {
    this.#select.value = source;
  }

  /**
   * Offer the running `streams`, the simulated one first. `chosen` stays in the list even while it does not run;
   * `ownName` is left out: it is the camera of this very page.
   */
  offer(streams, simulatedStream, chosen, ownName) {
    const running = new Map(streams.map((stream) => [stream.name, stream]));
    const names = new Set([simulatedStream, ...running.keys(), streamIn(chosen)].filter((name) => name && name !== ownName));
    const choices = [...names].map((name) => ({ value: `stream:${name}`, text: describe(name, running.get(name), simulatedStream) }));
    choices.sort((a, b) => Number(b.value === `stream:${simulatedStream}`) - Number(a.value === `stream:${simulatedStream}`));
    if (may("operator")) choices.push({ value: CAMERA, text: "This device’s camera" });
    if (choices.length === 0) choices.push({ value: "", text: "No stream runs" });
    const key = JSON.stringify(choices);
    if (key !== this.#offered) {
      this.#offered = key; // an open list must not be rebuilt under the finger
      this.#select.replaceChildren(...choices.map(({ value, text }) => new Option(text, value)));
    }
    this.choose(chosen ?? "");
  }
}

function describe(name, stream, simulatedStream) {
  if (name === simulatedStream || stream?.simulated) return "Simulated line";
  const word = stream ? cameraWord(stream.camera) || (stream.state === "silent" ? "silent" : "") : "not running";
  return word ? `${name} (${word})` : name;
}

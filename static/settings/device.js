// The name under which this device's camera is a stream.

import { write } from "../shared/elements.js";

const IS_NAME = /^[A-Za-z0-9._-]{1,64}$/;

export class Device {
  #field;
  #told;
  #button;
  #station;

  constructor(root, station) {
    this.#station = station;
    this.#field = root.querySelector("#device-name");
    this.#told = root.querySelector("#device-told");
    this.#button = root.querySelector("#device-save");
    root.querySelector("#device-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#save();
    });
  }

  show() {
    this.#field.value = this.#station.ownName;
    this.#button.disabled = false; // before this, nobody would hear it
    this.#say("", "none");
  }

  #save() {
    const name = this.#field.value.trim();
    if (!IS_NAME.test(name)) return this.#say("1 to 64 letters, digits, dots, dashes and underlines.", "problem");
    this.#station.rename(name);
    this.#say(`✓ This device’s camera is sent as ${name}.`, "done");
  }

  #say(words, kind) {
    this.#told.dataset.kind = kind;
    write(this.#told, words);
  }
}

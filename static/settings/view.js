// The view Settings: cameras, the machines around, phones, this device, and how the server is set.

import { write } from "../shared/elements.js";
import { Cameras } from "./cameras.js";
import { Device } from "./device.js";
import { Sinks } from "./sinks.js";
import { showAbout, showPhones, showSettings } from "./server_facts.js";
import * as requests from "./requests.js";

const LOOK_EVERY_MS = 2_000;

let view = null;

/** `station` is static/shell/station.js, `root` this view's place in the document. */
export function enter({ station, root }) {
  view ??= new Settings(root, station);
  view.enter();
}

export function leave() {
  view?.leave();
}

class Settings {
  #root;
  #cameras;
  #sinks;
  #device;
  #timer = 0;
  #isShown = false;
  #hasFacts = false;

  constructor(root, station) {
    this.#root = root;
    this.#cameras = new Cameras(root);
    this.#sinks = new Sinks(root);
    this.#device = new Device(root, station);
  }

  enter() {
    this.#isShown = true;
    this.#hasFacts = false; // the server may have been started again
    this.#device.show();
    this.#repeat();
  }

  leave() {
    this.#isShown = false;
    clearTimeout(this.#timer);
  }

  async #repeat() {
    clearTimeout(this.#timer);
    if (!document.hidden) await this.#look();
    if (this.#isShown) this.#timer = setTimeout(() => this.#repeat(), LOOK_EVERY_MS);
  }

  async #look() {
    const told = this.#root.querySelector("#settings-told");
    try {
      if (!this.#hasFacts) {
        const answer = await requests.settings();
        for (const show of [showSettings, showAbout, showPhones]) show(this.#root, answer);
        this.#hasFacts = true;
      }
      await Promise.all([this.#cameras.look(), this.#sinks.look()]);
      told.dataset.kind = "none";
      write(told, "");
    } catch (error) {
      told.dataset.kind = "problem";
      write(told, error.message);
    }
  }
}

// The view Settings: cameras, the machines around, phones, this device, and how the server is set.

import { write } from "../shared/elements.js";
import { Cameras } from "./cameras.js";
import { Device } from "./device.js";
import { People } from "./people/people.js";
import { may } from "../shared/me.js";
import { Sinks } from "./sinks.js";
import { showAbout, showPhones, showSettings } from "./server_facts.js";
import * as requests from "./requests.js";

const LOOK_EVERY_MS = 2_000;
const PEOPLE_EVERY_MS = 6_000;

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
  #people;
  #showsPeople = false;
  #timer = 0;
  #isShown = false;
  #hasFacts = false;

  constructor(root, station) {
    this.#root = root;
    this.#cameras = new Cameras(root);
    this.#sinks = new Sinks(root);
    this.#device = new Device(root, station);
    this.#people = new People(root);
    root.querySelector("#settings-tabs").addEventListener("click", (event) => this.#tab(event));
    window.addEventListener("popstate", () => this.#isShown && this.#read());
  }

  enter() {
    this.#isShown = true;
    this.#hasFacts = false; // the server may have been started again
    this.#device.show();
    this.#read();
  }

  leave() {
    this.#isShown = false;
    clearTimeout(this.#timer);
  }

  // Which half is shown stands in the address.
  #read() {
    this.#showsPeople = new URLSearchParams(location.search).get("show") === "people" && may("admin");
    const shown = this.#showsPeople ? "people" : "server";
    for (const panel of this.#root.querySelectorAll("[data-panel]")) panel.hidden = panel.dataset.panel !== shown;
    for (const link of this.#root.querySelectorAll("#settings-tabs a")) {
      if (link.dataset.show === shown) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    this.#repeat();
  }

  #tab(event) {
    const link = event.target.closest("a[data-show]");
    if (!link || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    if (link.href !== location.href) history.pushState(null, "", link.href);
    this.#read();
  }

  async #repeat() {
    clearTimeout(this.#timer);
    if (!document.hidden) await this.#look();
    if (this.#isShown) this.#timer = setTimeout(() => this.#repeat(), this.#showsPeople ? PEOPLE_EVERY_MS : LOOK_EVERY_MS);
  }

  async #look() {
    const told = this.#root.querySelector("#settings-told");
    try {
      if (this.#showsPeople) await this.#people.look();
      else await this.#lookAtServer();
      told.dataset.kind = "none";
      write(told, "");
    } catch (error) {
      told.dataset.kind = "problem";
      write(told, error.message);
    }
  }

  async #lookAtServer() {
    if (may("engineer") && !this.#hasFacts) {
      const answer = await requests.settings();
      for (const show of [showSettings, showAbout, showPhones]) show(this.#root, answer);
      this.#hasFacts = true;
    }
    await Promise.all([this.#cameras.look(), may("engineer") && this.#sinks.look()]);
  }
}

// How a teaching begins: what is taught, and where the parts are seen.

import { count } from "../shared/count.js";
import { element, keep, write } from "../shared/elements.js";
import { CAMERA, PICTURES, chooseSource, chosenSource, offerSources, presetSource } from "./sources.js";
import { recipes } from "../recipes/requests.js";
import { Refused } from "../shared/server.js";
import { sentence } from "../shared/sentence.js";
import * as requests from "./requests.js";

const CONNECTS_WITHIN_MS = 20_000;
const TRIES = 8;
const TRY_AGAIN_MS = 500;

export class Begin {
  #root;
  #station;
  #begun;
  #isStarting = false;
  #turn = 0; // of what the form is shown for; older answers are thrown away

  /** `begun(body)` is called with a teaching that began, or that is gone on with. */
  constructor(root, station, begun) {
    this.#root = root;
    this.#station = station;
    this.#begun = begun;
    this.#find("teach-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#start();
    });
    this.#find("teach-name").addEventListener("focus", () => (this.#find("teach-new").checked = true));
    this.#find("teach-more-of").addEventListener("change", () => (this.#find("teach-more").checked = true));
    this.#find("teach-form").addEventListener("change", () => this.#render());
  }

  /** Show the form; `moreOf`: the recipe that is to be taught more. */
  async show(moreOf = null) {
    const turn = ++this.#turn;
    this.#say("");
    this.offer();
    presetSource(this.#find("teach-sources"));
    this.#find("teach-more-choice").hidden = true;
    this.#render();
    const { recipes: all } = await recipes().catch(() => ({ recipes: [] }));
    if (turn !== this.#turn) return;
    const fit = all.filter(({ model }) => model?.can_be_taught_more);
    const select = this.#find("teach-more-of");
    select.replaceChildren(...fit.map(({ id, name }) => element("option", { value: id }, name)));
    this.#find("teach-more-choice").hidden = fit.length === 0;
    const wanted = fit.find(({ id }) => id === moreOf);
    this.#find(wanted ? "teach-more" : "teach-new").checked = true;
    if (wanted) {
      select.value = moreOf;
      if (wanted.streams[0]) chooseSource(this.#find("teach-sources"), wanted.streams[0] === this.#station.ownName ? CAMERA : `stream:${wanted.streams[0]}`);
    } else if (moreOf) this.#say("That recipe cannot be taught more: its teaching pictures are not kept here.");
    this.#render();
  }

  /** Which streams run, and what is being taught, changed. */
  offer(teachings = []) {
    offerSources(this.#find("teach-sources"), this.#station);
    this.#find("teach-open").hidden = teachings.length === 0;
    keep(
      this.#find("teach-open-list"),
      teachings,
      ({ id }) => id,
      (teaching) => element("li", {}, element("p", {}, element("strong", {}, teaching.name), " ", element("span", { className: "assign-now" })), element("button", { type: "button", className: "primary", data: { testid: "teach-go-on" }, on: { click: () => this.#begun(teaching) } }, "Go on")),
      (made, { stream, coverage, state }) => write(made.querySelector(".assign-now"), `${stream ? `on ${stream}` : "from pictures"}, ${count(coverage.parts, "part")}${state === "learning" ? ", learning" : ""}`),
    );
  }

  async #start() {
    if (this.#isStarting) return;
    const isMore = this.#find("teach-more").checked && !this.#find("teach-more-choice").hidden;
    const name = this.#find("teach-name").value.trim();
    if (!isMore && !name) {
      this.#say("Give the part a name first: it is what the recipe is called.");
      this.#find("teach-name").focus();
      return;
    }
    const source = chosenSource(this.#find("teach-sources"));
    if (source === null) {
      this.#say("Choose where the parts are seen: what was chosen is not there any more.");
      this.#find("teach-sources").querySelector("input:not(:disabled)").focus();
      return;
    }
    this.#isStarting = true;
    this.#say("");
    this.#render();
    try {
      if (source === CAMERA) await this.#startCamera();
      const stream = source === PICTURES ? null : source === CAMERA ? this.#station.ownName : source.slice("stream:".length);
      const moreOf = isMore ? this.#find("teach-more-of").value : null;
      this.#begun(await this.#ask({ name: isMore ? null : name, stream, more_of: moreOf, auto: true, preset: this.#find("teach-preset").value }));
      this.#find("teach-name").value = "";
    } catch (error) {
      this.#say(sentence(error.message), error.steps);
    }
    this.#isStarting = false;
    this.#render();
  }

  // A stream that has just connected may not be known for a moment.
  async #ask(wanted) {
    for (let left = wanted.stream === this.#station.ownName ? TRIES : 1; ; left -= 1) {
      try {
        return await requests.begin(wanted);
      } catch (error) {
        if (!(error instanceof Refused) || error.status !== 404 || left <= 1) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, TRY_AGAIN_MS));
    }
  }

  // Resolves once the server gets this device's frames: a stream that does not run cannot be taught.
  #startCamera() {
    const station = this.#station;
    if (!station.watchesCamera || station.camera.state !== "live") station.choose(CAMERA);
    return new Promise((resolve, reject) => {
      const look = () => {
        if (station.camera.state === "failed") end(() => reject(withSteps(station.camera.problem)));
        else if (station.camera.state === "live" && station.link?.phase === "open") end(resolve);
        else if (["replaced", "refused"].includes(station.link?.phase)) end(() => reject(new Error(station.link.words)));
      };
      const end = (step) => {
        clearTimeout(timer);
        stopListening();
        step();
      };
      const timer = setTimeout(() => end(() => reject(new Error("The camera runs, but the server does not get its pictures yet. Press Start again in a moment."))), CONNECTS_WITHIN_MS);
      const stopListening = station.on("state", look);
      look();
    });
  }

  #render() {
    const isMore = this.#find("teach-more").checked && !this.#find("teach-more-choice").hidden;
    write(this.#find("teach-form-title"), isMore ? "Teach more" : "Teach a new part");
    const isCamera = chosenSource(this.#find("teach-sources")) === CAMERA;
    const button = this.#find("teach-start");
    button.disabled = this.#isStarting;
    write(button, this.#isStarting ? (isCamera ? "Starting the camera…" : "Starting…") : "Start");
  }

  #say(words, steps = []) {
    write(this.#find("teach-form-problem"), words);
    this.#find("teach-form-steps").replaceChildren(...steps.map((step) => element("li", {}, step)));
  }

  #find(id) {
    return this.#root.querySelector(`#${id}`);
  }
}

function withSteps({ title, steps }) {
  return Object.assign(new Error(title), { steps });
}

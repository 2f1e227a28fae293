// Cameras that the server fetches: listed with how they are doing, tried, added and removed.

import { bytesOf } from "../shared/base64.js";
import { count } from "../shared/count.js";
import { element, keep, write } from "../shared/elements.js";
import { question } from "../shared/question.js";
import { sentence } from "../shared/sentence.js";
import * as requests from "./requests.js";

const STATES = {
  connecting: "◌ connecting",
  live: "● live",
  waiting: "● waits for its trigger",
  stalled: "⚠ sends no picture",
  retrying: "⚠ not reachable",
  stopped: "○ stopped",
};

const NUMBERS = ["width", "height", "fps"];
const GENICAM = ["trigger", "edge", "exposure", "gain", "pixels"]; // what may stand behind genicam://ID

export class Cameras {
  #root;
  #added = null; // the name of the camera that was added last: how it does is said where that was said
  #preview = "";
  #asked = 0; // the newest question about what is written; older answers are thrown away

  constructor(root) {
    this.#root = root;
    this.#find("camera-form").addEventListener("input", ({ target }) => this.#written(target));
    this.#find("camera-test").addEventListener("click", () => this.#test());
    this.#find("camera-look").addEventListener("click", () => this.#lookAround());
    this.#find("camera-source").addEventListener("input", () => this.#showGenicam());
    this.#find("camera-form").addEventListener("reset", () => queueMicrotask(() => this.#showGenicam()));
    this.#find("camera-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#add();
    });
  }

  async look() {
    const { cameras, room } = await requests.cameras();
    keep(this.#find("cameras"), cameras, ({ name, from }) => JSON.stringify([name, from]), (camera) => this.#row(camera), fill);
    this.#sayAdded(cameras.find(({ name }) => name === this.#added));
    this.#find("cameras-none").hidden = cameras.length > 0;
    this.#find("camera-add").disabled = room === 0;
    write(this.#find("cameras-room"), room === 0 ? "No more can be added here" : "");
  }

  #row({ name, from }) {
    const remove = element("button", { type: "button", data: { testid: "camera-remove", needs: "admin" }, on: { click: () => this.#remove(name) } }, "Remove");
    return element(
      "li",
      { className: "camera", data: { testid: "camera" } },
      element("div", {}, element("p", { className: "camera-name" }, name, " ", element("span", { className: "chip" })), element("p", { className: "camera-source" }), element("p", { className: "camera-why" })),
      from === "page" ? remove : element("p", { className: "card-lead" }, "from CAMERAS"),
    );
  }

  async #remove(name) {
    if (!(await question({ title: `Remove ${name}?`, text: "Its stream ends. It can be added again.", yes: "Remove it", no: "Keep it" }))) return;
    try {
      await requests.remove(name);
      if (name === this.#added) this.#forgetSaid();
      await this.look();
    } catch (error) {
      this.#say(sentence(error.message), "problem");
    }
  }

  async #test() {
    const asked = this.#ask();
    const problem = this.#problem({ needsName: false });
    if (problem) return this.#say(problem, "problem");
    this.#find("camera-test").disabled = true;
    this.#say("Connecting, up to 10 seconds…", "wait");
    try {
      const tried = await requests.tryOut({ ...this.#wanted(), name: this.#field("name") || "test" });
      if (asked !== this.#asked) return;
      if (tried.ok) {
        this.#say(`✓ It works: ${tried.width} × ${tried.height}${tried.fps ? `, ${count(Math.round(tried.fps * 10) / 10, "picture")} a second` : ""}.`, "done");
        this.#showPreview(tried.picture);
      } else this.#say(sentence(tried.problem), "problem");
    } catch (error) {
      if (asked === this.#asked) this.#say(sentence(error.message), "problem");
    } finally {
      this.#find("camera-test").disabled = false;
    }
  }

  async #lookAround() {
    this.#ask();
    const look = this.#find("camera-look");
    look.disabled = true;
    this.#find("camera-found").replaceChildren();
    this.#say("Looking for cameras, some seconds…", "wait");
    try {
      const { cameras } = await requests.lookAround();
      this.#say(cameras.length ? `${count(cameras.length, "camera")} found: choose one.` : "No camera of GigE Vision or USB3 Vision answers.", cameras.length ? "done" : "problem");
      const choose = (source) => () => {
        this.#forgetSaid();
        this.#find("camera-source").value = source;
        this.#showGenicam();
        this.#find("camera-source").focus();
      };
      const shown = ({ vendor, model, serial, address }) => [vendor, model, serial, address].filter(Boolean).join(" · ");
      this.#find("camera-found").replaceChildren(
        ...cameras.map((camera) => element("li", {}, element("button", { type: "button", data: { testid: "camera-found-one" }, on: { click: choose(camera.source) } }, shown(camera)))),
      );
    } catch (error) {
      this.#say(sentence(error.message), "problem");
    } finally {
      look.disabled = false;
    }
  }

  async #add() {
    const asked = this.#ask();
    const problem = this.#problem({ needsName: true });
    if (problem) return this.#say(problem, "problem");
    try {
      const { name } = await requests.add(this.#wanted());
      if (asked === this.#asked) this.#find("camera-form").reset();
      this.#say(`✓ ${name} is added.`, "done");
      this.#added = name;
      await this.look();
    } catch (error) {
      this.#say(sentence(error.message), "problem");
    }
  }

  // Without the seconds to the next try: this is spoken at each change.
  #sayAdded(camera) {
    if (!camera) return;
    const { name, state, last_error: problem } = camera;
    const words = { live: `✓ ${name} is added and live.`, waiting: `✓ ${name} is added, and waits for its trigger.`, connecting: `✓ ${name} is added, and connecting…`, stopped: `${name} is added, and stopped.` }[state] ?? `${name} is added, but away. ${sentence(problem)}`;
    this.#say(words, { live: "done", waiting: "done", connecting: "wait" }[state] ?? "problem");
  }

  #problem({ needsName }) {
    if (needsName && !/^[A-Za-z0-9._-]{1,64}$/.test(this.#field("name"))) return "The name has 1 to 64 letters, digits, dots, dashes and underlines.";
    if (!this.#field("source")) return "Give the address of the camera, or the number of a device on the server’s machine.";
    const unread = NUMBERS.find((name) => this.#find(`camera-${name}`).validity.badInput);
    return unread ? `${this.#find(`camera-${unread}`).labels[0].textContent} is a number.` : "";
  }

  #wanted() {
    const given = { name: this.#field("name"), source: this.#source() };
    for (const name of NUMBERS) if (this.#field(name)) given[name] = Number(this.#field(name));
    if (this.#field("crop")) given.crop = this.#field("crop");
    return given;
  }

  /** The address, with the settings of a GenICam camera behind it. */
  #source() {
    const source = this.#field("source");
    if (!isGenicam(source)) return source;
    const [camera, query] = source.split("?");
    const settings = new URLSearchParams(query);
    for (const name of GENICAM) if (this.#field(name)) settings.set(name, this.#field(name));
    return settings.size ? `${camera}?${settings}` : camera;
  }

  #showGenicam() {
    this.#find("camera-genicam").hidden = !isGenicam(this.#field("source"));
  }

  // What was tried is not what is written now; its name is nothing to it.
  #written({ id }) {
    if (this.#added || id !== "camera-name") this.#forgetSaid();
  }

  #ask() {
    this.#added = null;
    return ++this.#asked;
  }

  #forgetSaid() {
    this.#ask();
    this.#say("", "none");
  }

  #say(words, outcome) {
    this.#find("camera-tried").dataset.outcome = outcome;
    write(this.#find("camera-tried-words"), words);
    this.#showPreview(null);
  }

  #showPreview(picture) {
    const image = this.#find("camera-preview");
    URL.revokeObjectURL(this.#preview);
    this.#preview = picture ? URL.createObjectURL(new Blob([bytesOf(picture)], { type: "image/jpeg" })) : "";
    image.hidden = !picture;
    if (picture) image.src = this.#preview;
    else image.removeAttribute("src");
  }

  #field(name) {
    return this.#find(`camera-${name}`).value.trim();
  }

  #find(id) {
    return this.#root.querySelector(`#${id}`);
  }
}

function isGenicam(source) {
  return source.toLowerCase().startsWith("genicam://");
}

function fill(row, { source, state, last_error: problem, retry_in_s: retryIn, dropped }) {
  write(row.querySelector(".camera-source"), source);
  const chip = row.querySelector(".chip");
  chip.dataset.state = state;
  write(chip, STATES[state] ?? state);
  const again = state === "retrying" && retryIn !== null ? ` Next try in ${Math.max(1, Math.ceil(retryIn))} s.` : "";
  const late = dropped ? `${count(dropped, "frame")} dropped since the start: they came faster than they are decoded, or late.` : "";
  write(row.querySelector(".camera-why"), state === "live" || state === "waiting" ? late : `${sentence(problem)}${again}`);
}

// The machines around: listed with how they are doing, tried, switched on and off, added, changed and removed.

import { count } from "../shared/count.js";
import { element, keep, write } from "../shared/elements.js";
import { question } from "../shared/question.js";
import { sentence } from "../shared/sentence.js";
import * as requests from "./requests.js";
import { SinkForm } from "./sink_form.js";

const DONE_STAYS_MS = 8_000;
const STATES = {
  off: "○ off",
  connecting: "◌ connecting",
  up: "● up",
  trouble: "⚠ trouble",
  retrying: "⚠ not reached",
};

export class Sinks {
  #root;
  #form;
  #kinds = [];
  #sinks = [];
  #room = 0;

  constructor(root) {
    this.#root = root;
    this.#form = new SinkForm(this.#find("sink-form"), { saved: (name) => this.#saved(name), failed: (id, name, words) => this.#failed(id, name, words), closed: () => this.#showNew() });
    this.#find("sink-kind").addEventListener("change", () => this.#aboutKind());
    this.#find("sink-new").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#begin(this.#kind(this.#find("sink-kind").value));
    });
  }

  async look() {
    const { sinks, kinds, room } = await requests.sinks();
    this.#sinks = sinks;
    this.#room = room;
    this.#showKinds(kinds);
    keep(this.#find("sinks"), sinks, ({ id }) => id, (sink) => this.#row(sink), (row, sink) => this.#fill(row, sink));
    this.#find("sinks-none").hidden = sinks.length > 0;
    this.#showNew();
    write(this.#find("sinks-room"), room === 0 ? "No more can be added" : "");
  }

  #showKinds(kinds) {
    if (JSON.stringify(kinds) === JSON.stringify(this.#kinds)) return;
    this.#kinds = kinds;
    const select = this.#find("sink-kind");
    const chosen = select.value;
    select.replaceChildren(...kinds.map(({ name, title, missing }) => element("option", { value: name }, missing ? `${title} (not installed)` : title)));
    if (this.#kind(chosen)) select.value = chosen;
    this.#aboutKind();
  }

  #aboutKind() {
    const kind = this.#kind(this.#find("sink-kind").value);
    write(this.#find("sink-kind-about"), kind ? `${kind.about}${kind.missing ? ` ${sentence(kind.missing)}` : ""}` : "");
    this.#showNew();
  }

  #showNew() {
    this.#find("sink-new").hidden = this.#form.isOpen;
    this.#find("sink-begin").disabled = this.#room === 0 || this.#kind(this.#find("sink-kind").value)?.missing !== null;
  }

  #row({ id }) {
    const button = (name, words, click) => element("button", { type: "button", className: "quiet", data: { testid: `sink-${name}` }, on: { click } }, words);
    return element(
      "li",
      { className: "sink", data: { testid: "sink" } },
      element(
        "div",
        {},
        element("p", { className: "sink-name" }, element("span", {}), " ", element("span", { className: "chip" })),
        element("p", { className: "sink-kind" }),
        element("p", { className: "sink-words" }),
        element("p", { className: "sink-counts", data: { testid: "sink-counts" } }),
      ),
      element(
        "p",
        { className: "buttons", data: { needs: "admin" } },
        button("switch", "Switch on", () => this.#switch(id)),
        button("test", "Test", () => this.#test(id)),
        button("edit", "Change", () => this.#edit(id)),
        button("remove", "Remove", () => this.#remove(id)),
      ),
      element("p", { className: "sink-tried", role: "status", data: { testid: "sink-tried", outcome: "none" } }),
    );
  }

  #fill(row, sink) {
    const { name, kind, state, enabled, words, last_error: problem, retry_in_s: retryIn } = sink;
    const known = this.#kind(kind);
    write(row.querySelector(".sink-name span"), name);
    const chip = row.querySelector(".chip");
    chip.dataset.state = state;
    write(chip, STATES[state] ?? state);
    write(row.querySelector(".sink-kind"), known?.title ?? kind);
    const again = state === "retrying" && retryIn !== null ? ` Next try in ${Math.max(1, Math.ceil(retryIn))} s.` : "";
    const wrong = state === "retrying" || state === "trouble" || state === "connecting" || (state === "off" && problem);
    const said = row.querySelector(".sink-words");
    said.dataset.kind = wrong ? "problem" : "none";
    write(said, wrong ? `${sentence(words || problem)}${again}` : sentence(words));
    write(row.querySelector(".sink-counts"), counts(sink));
    write(row.querySelector("[data-testid=sink-switch]"), enabled ? "Switch off" : "Switch on");
    row.querySelector("[data-testid=sink-edit]").disabled = !known;
    for (const button of row.querySelectorAll("button")) button.setAttribute("aria-label", `${button.textContent} ${name}`);
  }

  async #switch(id) {
    const { enabled } = this.#sink(id);
    await this.#do(id, () => requests.changeSink(id, { enabled: !enabled }));
  }

  async #test(id) {
    const button = this.#rowOf(id).querySelector("[data-testid=sink-test]");
    button.disabled = true;
    this.#say(id, "Trying, up to half a minute…", "wait");
    try {
      const { ok, words } = await requests.testSink(id);
      this.#say(id, `${ok ? "✓ " : ""}${sentence(words)}`, ok ? "done" : "problem");
    } catch (error) {
      this.#say(id, sentence(error.message), "problem");
    } finally {
      button.disabled = false;
    }
  }

  #edit(id) {
    const sink = this.#sink(id);
    this.#begin(this.#kind(sink.kind), sink);
  }

  #begin(kind, sink = null) {
    write(this.#find("sinks-told"), "");
    this.#form.begin(kind, sink);
    this.#showNew();
  }

  async #remove(id) {
    const { name, waiting } = this.#sink(id);
    const lost = waiting ? `${count(waiting, "event")} that ${waiting === 1 ? "waits" : "wait"} to go out ${waiting === 1 ? "is" : "are"} lost. ` : "";
    if (!(await question({ title: `Remove ${name}?`, text: `${lost}It is told nothing any more.`, yes: "Remove it", no: "Keep it" }))) return;
    if ((await this.#do(id, () => requests.removeSink(id))) && this.#form.id === id) this.#form.close();
  }

  /** Do something with one, and say why not; answers whether it was done. */
  async #do(id, what) {
    try {
      await what();
      this.#say(id, "", "none");
      await this.look();
      return true;
    } catch (error) {
      this.#say(id, sentence(error.message), "problem");
      return false;
    }
  }

  async #saved(name) {
    await this.look().catch(() => {}); // the next look comes soon
    const sink = this.#sinks.find((one) => one.name === name);
    if (!sink) return;
    this.#say(sink.id, `✓ ${name} is kept${sink.enabled ? "" : ", and off"}.`, "done");
    if (!this.#form.isOpen) this.#rowOf(sink.id).querySelector("[data-testid=sink-edit]").focus();
  }

  /** Its form is gone; a new one has no row either. */
  #failed(id, name, words) {
    if (this.#rowOf(id)) this.#say(id, words, "problem");
    else write(this.#find("sinks-told"), `${name}: ${words}`);
  }

  #say(id, words, outcome) {
    const place = this.#rowOf(id)?.querySelector(".sink-tried");
    if (!place) return;
    place.dataset.outcome = outcome;
    write(place, words);
    if (outcome === "done") setTimeout(() => place.textContent === words && this.#say(id, "", "none"), DONE_STAYS_MS);
  }

  #rowOf(id) {
    return [...this.#find("sinks").children].find((row) => row.dataset.key === id);
  }

  #sink(id) {
    return this.#sinks.find((sink) => sink.id === id);
  }

  #kind(name) {
    return this.#kinds.find((kind) => kind.name === name);
  }

  #find(id) {
    return this.#root.querySelector(`#${id}`);
  }
}

function counts({ state, delivered, waiting, dropped, refused }) {
  if (state === "off" && !delivered) return "";
  const parts = [`${count(delivered, "event")} delivered`, `${count(waiting, "event").split(" ")[0]} waiting`];
  if (dropped) parts.push(`${count(dropped, "event").split(" ")[0]} lost: too many waited`);
  if (refused) parts.push(`${count(refused, "event").split(" ")[0]} refused by it`);
  return parts.join(" · ");
}

// Parts and yield of what is watched, counted by the server since somebody began anew: they survive a reconnect.

import { demand, send } from "../shared/server.js";
import { sentence } from "../shared/sentence.js";
import { when } from "./calibration/words.js";
import { countsParts } from "../shared/verdict.js";
import { yieldWords } from "../shared/yield_words.js";

const SAID = { NORMAL: "normal", ANOMALY: "rejected", FAILED: "not inspected" };

const whole = new Intl.NumberFormat("en");

export class Parts {
  #root;
  #station;
  #asking = null; // the stream whose counts are asked about

  constructor(root, station) {
    this.#root = root;
    this.#station = station;
    this.#find("parts-reset").addEventListener("click", () => this.#reset());
    this.#find("parts-keep").addEventListener("click", () => this.#ask(null));
    this.#find("parts-trigger-now").addEventListener("click", () => this.#trigger());
  }

  /** Another stream is watched. */
  clear() {
    this.#ask(null);
    this.#write("parts-told", "");
  }

  show() {
    const { stream } = this.#station;
    const known = stream?.parts !== undefined;
    this.#find("parts").hidden = !known;
    if (!known) return;
    this.#write("parts-count", whole.format(stream.parts));
    this.#write("parts-rejected", whole.format(stream.parts_rejected));
    this.#write("parts-yield", yieldWords(stream.yield));
    const counts = countsParts(stream);
    this.#find("parts-counts").hidden = !counts;
    this.#find("parts-reset").hidden = !counts && this.#asking === null;
    this.#find("parts-trigger-now").hidden = stream.parts_by !== "trigger";
    const failed = stream.parts_failed ? `${whole.format(stream.parts_failed)} not inspected` : "";
    const refused = stream.triggers_refused ? `${whole.format(stream.triggers_refused)} triggers refused` : "";
    this.#write("parts-trouble", [failed, refused].filter(Boolean).join(", "));
    this.showLast();
    const since = stream.parts_since ? `since ${when(stream.parts_since)}` : "";
    if (this.#asking === null) this.#write("parts-since", counts ? since : `No part was named ${since}: frames are judged one by one, and there is no yield.`);
  }

  /** The last verdict on a part, with its id and how long it took. */
  showLast() {
    const last = this.#station.lastPart?.part;
    const name = last && (last.part ?? `number ${last.number}`);
    this.#write("parts-last", last ? `Last: ${name}, ${SAID[last.verdict]}, in ${Math.round(last.cycle_ms)} ms` : "");
  }

  async #trigger() {
    const button = this.#find("parts-trigger-now");
    const { streamName } = this.#station;
    let problem = "";
    button.disabled = true;
    try {
      await send("POST", `api/streams/${encodeURIComponent(streamName)}/trigger`, { wait: true });
    } catch (error) {
      problem = sentence(error.message);
    }
    if (streamName === this.#station.streamName) this.#write("parts-told", problem);
    button.disabled = false;
    this.#station.lookAtStreams();
  }

  // Counts that are gone do not come back: one press more.
  async #reset() {
    const stream = this.#asking;
    if (stream === null) return this.#ask(this.#station.streamName);
    this.#ask(null);
    this.#write("parts-told", "");
    try {
      await demand(`api/streams/${encodeURIComponent(stream)}/reset`, { method: "POST" });
    } catch (error) {
      this.#write("parts-told", `${stream}: ${sentence(error.message)}`); // also beside another one: they go on from where they were
      return;
    }
    await this.#station.lookAtStreams();
  }

  #ask(stream) {
    this.#asking = stream;
    const asks = stream !== null;
    this.#find("parts-keep").hidden = !asks;
    this.#write("parts-reset", asks ? "Begin anew" : "Reset");
    if (asks) this.#write("parts-since", "Parts and yield go back to 0.");
    else this.show();
  }

  #write(id, text) {
    if (this.#find(id).textContent !== text) this.#find(id).textContent = text;
  }

  #find(id) {
    return this.#root.querySelector(`#${id}`);
  }
}

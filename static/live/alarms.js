// The strip of the last alarms, each one press from saying whether it was right; and the way to say that a part passed that is bad.

import { correctionSheet } from "./correction/sheet.js";
import { FrameTile, frameOf, keptFrames, rejectedParts } from "./kept_frames.js";
import { RecentFrames } from "./correction/recent.js";
import { hasPartVerdicts } from "../shared/verdict.js";

const SHOWN = 12;
const LOOK_EVERY_MS = 3_000;
const AFTER_ALARM_MS = 600; // until the run of ANOMALY has its worst frame, or some of it

export class Alarms {
  #root;
  #station;
  #sheet;
  #tiles = new Map(); // by frame
  #isShown = false;
  #absent = false; // this server keeps none
  #lastVerdict = "";
  #noHistory = false;
  #turn = 0; // of what was pressed; an older answer opens nothing

  constructor(root, station) {
    this.#root = root;
    this.#station = station;
    this.#sheet = correctionSheet();
    const onchanged = () => this.#changed();
    const recent = new RecentFrames(document.getElementById("recent"), (frame) => this.#sheet.open(frame, { was: "bad", onchanged }));
    this.#find("escape").addEventListener("click", () => recent.open(station.streamName));
    setInterval(() => this.#look(), LOOK_EVERY_MS);
  }

  shown(isShown) {
    this.#isShown = isShown;
    this.#turn += 1;
    this.#look();
  }

  /** Another stream is watched. */
  clear() {
    this.#absent = false;
    this.#turn += 1;
    this.#lastVerdict = "";
    this.#tiles.clear();
    this.#find("alarms-list").replaceChildren();
    this.#find("alarms").hidden = true;
    this.#look();
  }

  noteResult({ verdict }) {
    if (verdict === "ANOMALY" && this.#lastVerdict !== verdict) setTimeout(() => this.#look(), AFTER_ALARM_MS);
    this.#lastVerdict = verdict;
  }

  notePart({ verdict }) {
    if (verdict === "ANOMALY") setTimeout(() => this.#look(), AFTER_ALARM_MS);
  }

  // Where parts have verdicts, what is seen between them is nobody's alarm. Without a history it is not told apart.
  async #alarms(name, stream) {
    if (!hasPartVerdicts(stream) || this.#noHistory) return keptFrames(name, "alarm");
    try {
      return await rejectedParts(name, SHOWN);
    } catch (error) {
      this.#noHistory = error.status === 404;
      if (error.status === 404 || error.status === 503) return keptFrames(name, "alarm");
      throw error;
    }
  }

  async #open(chosen) {
    const turn = ++this.#turn;
    const frame = chosen.entry ? await frameOf(chosen.entry).catch(() => null) : chosen; // it may be gone
    if (turn !== this.#turn) return;
    if (frame) this.#sheet.open(frame, { onchanged: () => this.#changed() });
    else this.#look();
  }

  #changed() {
    this.#look();
    this.#station.lookAtRecipes();
  }

  async #look() {
    const { streamName, stream } = this.#station;
    if (!this.#isShown || document.hidden || this.#absent || !stream?.recipe) return;
    const isStill = () => streamName === this.#station.streamName;
    let frames;
    try {
      frames = await this.#alarms(streamName, stream);
    } catch (error) {
      if (isStill()) this.#absent = error.status === 404;
      return;
    }
    if (isStill()) this.#show(frames.slice(0, SHOWN));
  }

  #show(frames) {
    const list = this.#find("alarms-list");
    this.#find("alarms").hidden = false;
    this.#find("alarms-none").hidden = frames.length > 0;
    const ids = new Set(frames.map(({ id }) => id));
    for (const [id, tile] of this.#tiles) {
      if (ids.has(id)) continue;
      tile.element.remove();
      this.#tiles.delete(id);
    }
    let place = list.firstElementChild;
    for (const frame of frames) {
      const known = this.#tiles.get(frame.id);
      if (known) known.show(frame);
      const tile = known ?? new FrameTile(frame, (chosen) => this.#open(chosen));
      this.#tiles.set(frame.id, tile);
      if (tile.element === place) place = place.nextElementSibling;
      else list.insertBefore(tile.element, place); // moved only where it must be: the focus stays
    }
  }

  #find(id) {
    return this.#root.querySelector(`#${id}`);
  }
}

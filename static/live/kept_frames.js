// Frames that the server keeps so that somebody can say what they were, docs/protocol.md.

import { address } from "../shared/address.js";
import { demand, send } from "../shared/server.js";

/** Newest first; `kind` is alarm or recent. */
export async function keptFrames(stream, kind) {
  return (await demand(`api/streams/${encodeURIComponent(stream)}/frames?${new URLSearchParams({ kind })}`)).frames;
}

const SAID_OF_PART = { confirmed: "bad", false_reject: "good" };

/** The last parts of a stream that were rejected and whose picture the history has, as FrameTile takes them. */
export async function rejectedParts(stream, limit) {
  const asked = new URLSearchParams({ stream, kind: "part", verdict: "ANOMALY", pictured: "true", limit });
  const { entries } = await demand(`api/history?${asked}`);
  return entries.map(({ id, at, score, verdict, disposition }) => ({
    id,
    entry: id,
    kind: "alarm",
    at,
    score,
    verdict,
    picture: `api/history/${encodeURIComponent(id)}/thumbnail`, // with its heat map
    disposition: SAID_OF_PART[disposition] ?? null,
  }));
}

/** What of which something can be said, of a part of the history: a KeptFrameBody. */
export function frameOf(entry) {
  return demand(`api/history/${encodeURIComponent(entry)}/frame`);
}

/** Say that a frame was `good` or `bad`: see Disposition; answers what it does, or would do. */
export function dispose(frame, was, disposition, options) {
  return send("POST", beside(frame, was), disposition, options);
}

/** Take back what was said of it, its correction with it; refused (409) where something else was said since. */
export function takeBack(frame) {
  return send("POST", beside(frame, "nothing"), { seen: frame.correction });
}

// A frame in memory and one of the archive lie at different addresses; what is said of either goes beside its picture.
function beside({ picture }, what) {
  return picture.replace(/\/picture(?=\?|$)/, `/${what}`);
}

/** As it reads on this device's clock: `10:32:05`. */
export function clock(iso) {
  const at = new Date(iso);
  return Number.isNaN(at.getTime()) ? iso : at.toLocaleTimeString("en-GB");
}

const SAID = { good: "was good", bad: "was bad" };

/** A button that shows a kept frame: its picture with the heat map, when it was, and what was said of it. */
export class FrameTile {
  element = document.createElement("li");
  #button = document.createElement("button");
  #said = Object.assign(document.createElement("span"), { className: "tile-said" });

  constructor(frame, onopen) {
    this.#button.type = "button";
    this.#button.className = "tile-frame";
    this.#button.append(picture(frame.picture), ...(frame.heatmap ? [picture(frame.heatmap)] : []), time(frame.at), this.#said);
    this.#button.addEventListener("click", () => onopen(this.frame));
    this.element.append(this.#button);
    this.show(frame);
  }

  show(frame) {
    this.frame = frame;
    const said = SAID[frame.disposition] ?? "";
    this.element.dataset.said = frame.disposition ?? "";
    this.#said.textContent = said && `${frame.disposition === "good" ? "✓" : "✕"} ${said}`;
    const name = frame.kind === "alarm" ? "Alarm" : frame.verdict;
    this.#button.setAttribute("aria-label", `${name} at ${clock(frame.at)}, score ${frame.score.toFixed(2)}, ${said || "not judged yet"}`);
  }
}

function picture(path) {
  const made = document.createElement("img");
  made.src = address(path);
  made.alt = "";
  made.loading = "lazy";
  made.addEventListener("error", () => made.remove()); // not kept any more
  return made;
}

function time(iso) {
  const made = document.createElement("time");
  made.dateTime = iso;
  made.textContent = clock(iso).replace(/:\d\d$/, "");
  return made;
}

// The verdict that is read from three metres.

import { capital } from "./sentence.js";

export const STALE_AFTER_MS = 1_500;
const FORGET_AFTER_MS = 3_000; // an old verdict must not stand for the part that lies there now
const SPEAK_AFTER_MS = 700;

export const ICONS = {
  NORMAL: "icon-normal",
  ANOMALY: "icon-anomaly",
  WAITING: "icon-waiting",
  TEACHING: "icon-teaching",
  TAUGHT: "icon-teaching",
  NO_CAMERA: "icon-no-camera",
  SILENT: "icon-silent",
  HUNG: "icon-error",
  ERROR: "icon-error",
  FAILED: "icon-error",
};

const PART_STANDS_MS = 10_000; // the verdict on a part is that of the last one, as long as none came since
const PART_IS_OLD_MS = 120_000;

/** Whether a stream's recipe says what a part is: then a part's verdict counts, not that of frames. */
export function hasPartVerdicts(stream) {
  return ["trigger", "gate"].includes(stream?.parts_by);
}

/** Whether a stream has parts to count; frames of which nobody says what they show have none, and no yield. */
export function countsParts(stream) {
  return hasPartVerdicts(stream) || stream?.parts > 0;
}

/**
 * What to show: `{ verdict, word, detail, stale, attention }`. The word is NORMAL, ANOMALY, or NOT INSPECTING with the reason as
 * detail; `verdict` is the verdict or a name of the reason; `attention` says that somebody should see to it.
 *
 * `health` is the last answer of /health, null where none came and undefined before, `camera` this device's camera (its `state`
 * and `problem`) or null when a stream is watched, `link` the state of the connection or null, `streamState` that of the watched
 * stream (live, silent, waiting or teaching), `trouble` what is wrong with its camera or "", `waits` whether that is only that it
 * waits for its trigger, `result` the last result or null, `age` its age in milliseconds. `part` is the last verdict on a whole
 * part, as PartsHeard has it, where the recipe says what a part is: then that is shown, not those of frames; null before the first, and
 * undefined where frames are judged; `partWaits` says what is waited for before the first. One that was sent again on connecting (`repeated`) is old, however lately it came.
 */
export function decide({ health, camera, link, streamState, streamName, trouble, waits = false, result, age, part, partWaits = "Waiting for the first part" }) {
  const none = (verdict, detail, attention = true) => ({ verdict, word: "NOT INSPECTING", detail, stale: false, attention });
  if (health?.status === "teaching") return none("TEACHING", preparing(health), false);
  if (health?.status === "error") return none("ERROR", capital(health.reason));
  if (camera && camera.state !== "live") {
    const detail = camera.problem?.title ?? (camera.state === "starting" ? "Starting the camera" : "No camera: press Start camera");
    return none("NO_CAMERA", detail, Boolean(camera.problem));
  }
  const fresh = result && !result.repeated;
  // A worker hangs, but others may have taken over: what is inspected is shown, and that it hangs beside it.
  if (health?.status === "hung" && !(fresh && age < STALE_AFTER_MS)) return none("HUNG", "The inspection makes no progress");
  if (link?.phase === "open" && streamState === "teaching") return none("TAUGHT", `${streamName} is being taught a new part`, false);
  if (link?.phase === "open" && streamState === "silent") return none("SILENT", trouble || `${streamName} sends no picture: check its camera`, !waits);
  const given = !["replaced", "refused"].includes(link?.phase);
  if (fresh && given && age < FORGET_AFTER_MS && part !== undefined) return ofPart(part, result, partWaits, none);
  if (fresh && given && age < FORGET_AFTER_MS) {
    const stale = age > STALE_AFTER_MS;
    const detail = stale ? `No result for ${Math.floor(age / 1000)} s` : besideThreshold(result);
    return { verdict: result.verdict, word: result.verdict, detail, stale, attention: result.verdict === "ANOMALY" };
  }
  return none("WAITING", waitingFor({ health, link, streamState, streamName, trouble, result: fresh ? result : null, age, part, waits: partWaits }), isAway({ health, link, streamState }));
}

/** What a stream with parts waits for, before this page heard of one; `before` is the last one of the history, or null. */
export function waitsForPart(stream, before) {
  const what = stream.parts_by === "trigger" ? "Waiting for a trigger" : before || stream.parts ? "Waiting for the next part" : "Waiting for the first part";
  return before ? `${what}; ${before.part ?? `part ${before.number}`} was ${before.verdict}` : what;
}

function nameOf(part) {
  return `Part ${part.part ?? part.number}`;
}

function unheardOf({ unheard }) {
  return unheard ? `The verdict of part ${unheard} was not heard` : "";
}

function waitingForPart(last, waits) {
  if (last && unheardOf(last)) return unheardOf(last);
  return last ? `No part for ${seconds(performance.now() - last.at)}; the last was ${last.part.verdict}` : waits;
}

function ofPart(last, result, waits, none) {
  const age = last ? performance.now() - last.at : Infinity;
  if (age > PART_IS_OLD_MS) return none("WAITING", waitingForPart(last, waits), false);
  const { part } = last;
  const name = nameOf(part);
  const other = unheardOf(last) || (part.verdict === "NORMAL" && result.verdict === "ANOMALY" ? whatElseIsSeen(part, result) : "");
  const detail = other ? `${other}. ${name}, ${ago(age)}` : part.verdict === "FAILED" ? `${name}: ${part.why}` : `${name}, ${partScore(part)}, ${ago(age)}`;
  return { verdict: part.verdict, word: part.verdict === "FAILED" ? "NOT INSPECTED" : part.verdict, detail, stale: other !== "" || age > PART_STANDS_MS, attention: part.verdict !== "NORMAL" };
}

function partScore(part) {
  return part.threshold_source === "uncalibrated" ? "there is no threshold yet" : `score ${shownScore({ score: part.score, is_anomaly: part.raw_score > part.threshold })}`;
}

/** What a picture shows that is not of `part`, as its result says; "" where it is of that part. */
function whatElseIsSeen(part, { part_number: number }) {
  if (number === undefined || number === part.number) return "";
  if (number > 0) return "The next part";
  return part.source === "trigger" ? "Between triggers" : "Between parts";
}

function preparing({ simulated, progress }) {
  if (!simulated) return "The model is being loaded";
  return `Learning the simulated part, ${Math.round((progress ?? 0) * 100)} %`;
}

// Not the moment before the first result.
function isAway({ health, link, streamState }) {
  return health === null || ["reconnecting", "replaced", "refused"].includes(link?.phase) || (link?.phase === "open" && streamState === "waiting");
}

function besideThreshold(result) {
  if (result.threshold_source === "uncalibrated") return "There is no threshold yet: calibrate";
  const shown = shownScore(result);
  const side = result.is_anomaly ? "above" : "below";
  const words = shown === "0.50" ? `Score 0.50, just ${side} the threshold` : `Score ${shown}, ${side} the threshold at 0.50`;
  return (result.verdict === "ANOMALY") === result.is_anomaly ? words : `${words}; several frames decide`;
}

/** The score of a result in two digits, on the side of 0.50 where its verdict is: rounding alone would cross over. */
export function shownScore({ score, is_anomaly }) {
  const rounded = Number(score.toFixed(2));
  return (is_anomaly ? Math.max(0.5, rounded) : Math.min(0.49, rounded)).toFixed(2);
}

function waitingFor({ health, link, streamState, streamName, trouble, result, age, part, waits }) {
  if (health === undefined) return "Asking the server";
  if (!health) return "The server does not answer";
  if (!link) return "Choose a source";
  if (link.phase !== "open") return link.words;
  if (trouble) return trouble;
  if (streamState === "waiting") return `No camera is sending to ${streamName}`;
  if (part !== undefined) return waitingForPart(part, waits);
  return result ? `No result for ${seconds(age)}; the last was ${result.verdict}` : "Waiting for the first result";
}

/** How long ago, in words short enough to stand beside a verdict: `now`, `12 s ago`, `3 min ago`, `2 h ago`. */
export function ago(age) {
  return age < STALE_AFTER_MS ? "now" : `${seconds(age)} ago`;
}

function seconds(age) {
  const s = Math.floor(age / 1000);
  if (s < 120) return `${s} s`;
  return s < 7200 ? `${Math.floor(s / 60)} min` : `${Math.floor(s / 3600)} h`;
}

export class VerdictPanel {
  #root;
  #spoken;
  #shown = "";
  #timer = 0;
  #news = ""; // what was spoken last, without its numbers: those run

  constructor(root, spoken) {
    this.#root = root;
    this.#spoken = spoken;
  }

  show({ verdict, word, detail, stale, attention = false }) {
    const key = [verdict, word, detail, stale, attention].join("|");
    if (key === this.#shown) return;
    this.#shown = key;
    this.#root.dataset.verdict = verdict;
    this.#root.dataset.attention = String(attention);
    this.#root.dataset.stale = String(stale);
    this.#root.querySelector("#verdict-word").textContent = word;
    this.#root.querySelector("#verdict-detail").textContent = detail;
    this.#root.querySelector("#verdict-icon").setAttribute("href", `#${ICONS[verdict]}`);
    const words = word === "NOT INSPECTING" ? `${word}: ${detail}` : word;
    const news = words.replace(/\d+/g, "");
    if (news !== this.#news) this.#speak(words);
    this.#news = news;
  }

  // A screen reader hears a verdict that has held for a moment, not every flicker.
  #speak(word) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.#spoken.textContent !== word) this.#spoken.textContent = word;
    }, SPEAK_AFTER_MS);
  }
}

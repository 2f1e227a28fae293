// Recipes in words.

import { count } from "../shared/count.js";
import { distance } from "../live/calibration/words.js";

/** What its model is, one line. */
export function modelWords({ model, problem }) {
  if (!model) return problem ?? "It cannot be used.";
  const words = [`taught on ${count(model.pictures, "picture")}`];
  if (model.forgiven) words.push(`${model.forgiven} forgiven`);
  if (model.remembered) words.push(`${model.remembered} remembered`);
  if (model.registration) words.push(`parts are laid onto the reference (${model.registration})`);
  return words.join(" · ");
}

export function streamsWords({ streams, is_default: isDefault }) {
  if (streams.length) return `on ${streams.join(", ")}`;
  return isDefault ? "for streams that none was chosen for" : "on no stream now";
}

const SOURCES = {
  environment: "set by THRESHOLD at the start",
  recipe: "put there by hand",
  calibration: "from a calibration",
  model: "the model’s own",
  uncalibrated: "not calibrated",
};

export function thresholdWords({ threshold, threshold_source: source }) {
  return threshold === null ? "no threshold yet" : `${distance(threshold)}, ${SOURCES[source] ?? source}`;
}

/** What a threshold that was put by hand goes back to, as a button says it; `byHand` is the ByHandBody of docs/protocol.md. */
export function backWords({ version, threshold, threshold_source: source }) {
  const where = threshold !== null ? `${distance(threshold)}, ${SOURCES[source] ?? source}` : source === "calibration" ? "the calibration of each stream" : "no threshold";
  return version === null ? `Back to ${where}` : `Back to version ${version}: ${where}`;
}

/** How verdicts on frames become the stream's, one sentence. */
export function decisionWords({ kind, n, m, release }) {
  if (kind === "n_of_m") return `The stream is ANOMALY while at least ${n} of the last ${count(m, "frame")} ${n === 1 ? "is" : "are"}: a single odd frame ${n > 1 ? "raises no alarm" : "raises an alarm"}.`;
  if (kind === "hysteresis") return `A frame above the threshold raises the alarm; it ends after ${count(m, "frame")} in a row below ${Math.round(release * 100)} % of the threshold, so the verdict does not flicker.`;
  return "Each frame has its own verdict: the quickest, and it may flicker near the threshold.";
}

/** What a part is and how its frames make its verdict, one or two sentences. */
export function partsWords({ by, n, frames, delay_ms: delay, within_ms: within, rests }) {
  const bad = n > 1 ? `ANOMALY from ${n} such frames on` : "its worst frame decides";
  if (by === "trigger") return `Each trigger gets one verdict, by ${count(frames, "frame")} that ${frames === 1 ? "arrives" : "arrive"} ${delay ? `${delay} ms` : "right"} after it; ${bad}. Without a frame within ${delay + within} ms it is FAILED.`;
  const end = frames ? `with its first ${count(frames, "frame")}` : by === "gate" ? "when it has left the gate" : "when the line names the next";
  if (by === "gate") return `What comes into the gate${rests ? " and rests there" : ""} is a part, judged ${end}; ${bad}. Between two parts the gate has to be seen empty.`;
  return `Where the line names its parts, each gets one verdict ${end}; ${bad}. Where it names none, frames are judged one by one.`;
}

export function ruleWords({ one_in: oneIn, k, raw }) {
  if (oneIn !== null && oneIn !== undefined) return `Calibrations place the threshold so that about 1 in ${oneIn} good parts is rejected.`;
  if (k !== null && k !== undefined) return `Calibrations place the threshold at the mean of good parts plus ${k} times their standard deviation.`;
  return `The threshold is ${raw}, put there by hand: calibrations do not move it.`;
}

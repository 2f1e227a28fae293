// The verdict that is read from three metres.

export const STALE_AFTER_MS = 1_500;
const FORGET_AFTER_MS = 3_000; // an old verdict must not stand for the part that lies there now
const SPEAK_AFTER_MS = 700;

const ICONS = {
  NORMAL: "icon-normal",
  ANOMALY: "icon-anomaly",
  WAITING: "icon-waiting",
  TEACHING: "icon-teaching",
  NO_CAMERA: "icon-no-camera",
  SILENT: "icon-silent",
  HUNG: "icon-error",
  ERROR: "icon-error",
};

/**
 * What to show: `{ verdict, word, detail, stale }`.
 *
 * `health` is the last answer of /health or null, `camera` this device's camera (its `state` and `problem`) or null when a
 * stream is watched, `link` the state of the connection or null, `streamState` that of the watched stream (live, silent or
 * waiting), `trouble` what is wrong with its camera or "", `result` the last result or null, `age` its age in milliseconds.
 */
export function decide({ health, camera, link, streamState, streamName, trouble, result, age }) {
  if (health?.status === "teaching") {
    const percent = Math.round((health.progress ?? 0) * 100);
    return { verdict: "TEACHING", word: `TEACHING ${percent} %`, detail: "The model is learning from good parts", stale: false };
  }
  if (health?.status === "error") return { verdict: "ERROR", word: "NOT READY", detail: health.reason[0].toUpperCase() + health.reason.slice(1), stale: false };
  if (camera && camera.state !== "live") {
    const detail = camera.problem?.title ?? (camera.state === "starting" ? "Starting the camera" : "Press Start camera");
    return { verdict: "NO_CAMERA", word: "NO CAMERA", detail, stale: false };
  }
  // A worker hangs, but others may have taken over: what is inspected is shown, and that it hangs beside it.
  if (health?.status === "hung" && !(result && age < STALE_AFTER_MS)) {
    return { verdict: "HUNG", word: "HUNG", detail: "The inspection makes no progress", stale: false };
  }
  if (link?.phase === "open" && streamState === "silent") {
    return { verdict: "SILENT", word: "SILENT", detail: trouble || `${streamName} sends no picture: check its camera`, stale: false };
  }
  const given = !["replaced", "refused"].includes(link?.phase);
  if (result && given && age < FORGET_AFTER_MS) {
    const stale = age > STALE_AFTER_MS;
    const detail = stale
      ? `No result for ${Math.floor(age / 1000)} s`
      : besideThreshold(result);
    return { verdict: result.verdict, word: result.verdict, detail, stale };
  }
  return { verdict: "WAITING", word: "WAITING", detail: waitingFor({ health, link, streamState, streamName, trouble, result, age }), stale: false };
}

function besideThreshold(result) {
  if (result.threshold_source === "uncalibrated") return "There is no threshold yet: calibrate";
  const shown = shownScore(result);
  const side = result.is_anomaly ? "above" : "below";
  return shown === "0.50" ? `Score 0.50, just ${side} the threshold` : `Score ${shown}, ${side} the threshold at 0.50`;
}

/** The score of a result in two digits, on the side of 0.50 where its verdict is: rounding alone would cross over. */
export function shownScore({ score, is_anomaly }) {
  const rounded = Number(score.toFixed(2));
  return (is_anomaly ? Math.max(0.5, rounded) : Math.min(0.49, rounded)).toFixed(2);
}

function waitingFor({ health, link, streamState, streamName, trouble, result, age }) {
  if (!health) return "The server does not answer";
  if (!link) return "Choose a source";
  if (link.phase !== "open") return link.words;
  if (trouble) return trouble;
  if (streamState === "waiting") return `No camera is sending to ${streamName}`;
  return result ? `No result for ${Math.floor(age / 1000)} s` : "For the first result";
}

export class VerdictPanel {
  #root;
  #spoken;
  #shown = "";
  #timer = 0;

  constructor(root, spoken) {
    this.#root = root;
    this.#spoken = spoken;
  }

  show({ verdict, word, detail, stale }) {
    const key = [verdict, word, detail, stale].join("|");
    if (key === this.#shown) return;
    this.#shown = key;
    const changed = this.#root.dataset.verdict !== verdict;
    this.#root.dataset.verdict = verdict;
    this.#root.dataset.stale = String(stale);
    this.#root.querySelector("#verdict-word").textContent = word;
    this.#root.querySelector("#verdict-detail").textContent = detail;
    this.#root.querySelector("#verdict-icon").setAttribute("href", `#${ICONS[verdict]}`);
    if (changed) this.#speak(word);
  }

  // A screen reader hears a verdict that has held for a moment, not every flicker.
  #speak(word) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.#spoken.textContent !== word) this.#spoken.textContent = word;
    }, SPEAK_AFTER_MS);
  }
}

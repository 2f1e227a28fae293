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
  ERROR: "icon-error",
};

/**
 * What to show: `{ verdict, word, detail, stale }`.
 *
 * `health` is the last answer of /health or null, `camera` this device's camera (its `state` and `problem`) or null when a
 * stream is watched, `link` the state of the connection or null, `streamLive` whether the watched stream has a camera,
 * `trouble` what is wrong with that camera or "", `result` the last result or null, `age` its age in milliseconds.
 */
export function decide({ health, camera, link, streamLive, streamName, trouble, result, age }) {
  if (health?.status === "teaching") {
    const percent = Math.round((health.progress ?? 0) * 100);
    return { verdict: "TEACHING", word: `TEACHING ${percent} %`, detail: "The model is learning from good parts", stale: false };
  }
  if (health?.status === "error") return { verdict: "ERROR", word: "NOT READY", detail: health.reason, stale: false };
  if (camera && camera.state !== "live") {
    const detail = camera.problem?.title ?? (camera.state === "starting" ? "Starting the camera" : "Press Start camera");
    return { verdict: "NO_CAMERA", word: "NO CAMERA", detail, stale: false };
  }
  const given = !["replaced", "refused"].includes(link?.phase);
  if (result && given && age < FORGET_AFTER_MS) {
    const stale = age > STALE_AFTER_MS;
    const detail = stale
      ? `No result for ${Math.floor(age / 1000)} s`
      : `Score ${result.score.toFixed(2)}, ${result.is_anomaly ? "above" : "below"} the threshold at 0.50`;
    return { verdict: result.verdict, word: result.verdict, detail, stale };
  }
  return { verdict: "WAITING", word: "WAITING", detail: waitingFor({ health, link, streamLive, streamName, trouble, result, age }), stale: false };
}

function waitingFor({ health, link, streamLive, streamName, trouble, result, age }) {
  if (!health) return "The server does not answer";
  if (!link) return "Choose a source";
  if (link.phase !== "open") return link.words;
  if (trouble) return trouble;
  if (!streamLive) return `No camera is sending to ${streamName}`;
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

// The calibration card: the server takes the scores of the next N inspected frames of what is shown, and sets the threshold
// from them. Scores of the frames themselves: a picture encoded once more, or sent another way, scores differently.

import { calibrateOn, forgetCalibration } from "../shared/server.js";

const SPACING_S = 0.5; // so that 20 frames see several parts pass
const SOURCES = {
  environment: "from the environment (THRESHOLD)",
  calibration: "from calibration",
  model: "model default",
  uncalibrated: "none yet: everything is an ANOMALY until you calibrate",
};

/** A raw distance with three significant digits or more. */
export function distance(value) {
  return value >= 100 ? value.toFixed(1) : value.toPrecision(4);
}

export class CalibrationCard {
  #root;
  #streamName;
  #onchanged;
  #running = null; // { controller, n, captured, due }
  #ready = false;

  /** `streamName()` names the stream that is shown; `onchanged()` is called after the threshold may have changed. */
  constructor(root, dialog, { streamName, onchanged }) {
    this.#root = root;
    this.#streamName = streamName;
    this.#onchanged = onchanged;
    const count = this.#find("calibrate-n");
    count.addEventListener("input", () => {
      this.#label();
      this.#say("none", "");
    });
    this.#find("calibrate-k").addEventListener("input", () => this.#say("none", ""));
    this.#find("calibrate-form").addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#running) this.#running.controller.abort(new Error("Stopped. The threshold is unchanged."));
      else this.#calibrate();
    });
    this.#find("reset-button").addEventListener("click", () => {
      dialog.returnValue = "keep";
      dialog.showModal();
    });
    dialog.addEventListener("close", () => dialog.returnValue === "forget" && this.#forget());
    this.#label();
    this.#allow();
  }

  /** Whether frames of what is shown are being inspected. */
  setReady(ready) {
    if (ready === this.#ready) return;
    this.#ready = ready;
    this.#allow();
  }

  /** What is shown ends, or is another camera's from now on: pictures of two places make no threshold. */
  interrupt() {
    this.#running?.controller.abort(new Error("Stopped, because the picture changed or was lost. The threshold is unchanged."));
  }

  /** Every result of what is shown: counts those that the server takes meanwhile. */
  noteResult(result, at) {
    const running = this.#running;
    if (!running || result.simulated?.defect || at < running.due || running.captured >= running.n) return;
    running.captured += 1;
    running.due = Math.max(running.due + SPACING_S * 1000, at);
    this.#find("calibrate-progress").value = running.captured;
    this.#say("busy", `Captured ${running.captured} of ${running.n}`);
  }

  showThreshold(threshold, source) {
    this.#write("threshold", threshold == null ? "–" : distance(threshold));
    this.#write("threshold-source", threshold == null ? "" : (SOURCES[source] ?? source));
    this.#find("threshold-source").dataset.source = source ?? "";
  }

  setStored(stored) {
    this.#find("reset-button").disabled = !stored;
  }

  async #calibrate() {
    const n = Number(this.#find("calibrate-n").value);
    const k = Number(this.#find("calibrate-k").value);
    if (!Number.isInteger(n) || n < 2 || n > 200) return this.#say("error", "Choose a number of frames from 2 to 200.");
    if (this.#find("calibrate-k").value === "" || !(k >= 0)) return this.#say("error", "Choose a factor k of 0 or more; 3 is usual.");
    this.#running = { controller: new AbortController(), n, captured: 0, due: 0 };
    const { signal } = this.#running.controller;
    Object.assign(this.#find("calibrate-progress"), { max: n, value: 0, hidden: false });
    this.#say("busy", `Captured 0 of ${n}`);
    this.#label();
    try {
      const answer = await calibrateOn(this.#streamName(), { n, k, seconds: n * SPACING_S, signal });
      const { new_threshold, mean_score, std_score, n_images, warning } = answer;
      this.showThreshold(answer.threshold, answer.threshold_source);
      this.#say(
        warning ? "warning" : "done",
        `New threshold ${distance(new_threshold)} from ${n_images} frames: mean ${distance(mean_score)}, std ${distance(std_score)}.` +
          (warning ? ` ${sentence(warning)}` : ""),
      );
      this.#onchanged();
    } catch (error) {
      this.#say(error === signal.reason ? "none" : "error", error.message);
    } finally {
      this.#running = null;
      this.#find("calibrate-progress").hidden = true;
      this.#label();
    }
  }

  async #forget() {
    try {
      const { threshold, threshold_source: source } = await forgetCalibration();
      this.showThreshold(threshold, source);
      this.#say("done", `Calibration forgotten. The threshold is ${distance(threshold)} again.`);
      this.#onchanged();
    } catch (error) {
      this.#say("error", error.message);
    }
  }

  #allow() {
    this.#find("calibrate-button").disabled = !this.#ready && !this.#running;
  }

  #label() {
    const n = Number(this.#find("calibrate-n").value) || 0;
    this.#write("calibrate-button", this.#running ? "Stop" : `Capture ${n} normal frames and calibrate`);
    this.#allow();
  }

  #say(outcome, words) {
    this.#find("calibrate-result").dataset.outcome = outcome;
    this.#write("calibrate-result", words);
  }

  #find(id) {
    return this.#root.querySelector(`#${id}`);
  }

  #write(id, text) {
    const field = this.#find(id);
    if (field.textContent !== text) field.textContent = text;
  }
}

function sentence(words) {
  return `${words[0].toUpperCase()}${words.slice(1)}${/[.?!]$/.test(words) ? "" : "."}`;
}

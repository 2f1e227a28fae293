// The calibration card: capture N pictures of good parts from what is shown, and set the threshold from them.

import { calibrate, forgetCalibration } from "./server.js";

const SPACING_MS = 150;
const PICTURE_TIMEOUT_MS = 8_000;
const SOURCES = {
  environment: "from the environment (THRESHOLD)",
  calibration: "from calibration",
  model: "model default",
};

/** A raw distance with three significant digits or more. */
export function distance(value) {
  return value >= 100 ? value.toFixed(1) : value.toPrecision(4);
}

export class CalibrationCard {
  #root;
  #capture;
  #onchanged;
  #running = null;
  #ready = false;

  /** `capture()` promises one JPEG Blob of what is shown; `onchanged()` is called after the threshold may have changed. */
  constructor(root, dialog, { capture, onchanged }) {
    this.#root = root;
    this.#capture = capture;
    this.#onchanged = onchanged;
    const count = this.#find("calibrate-n");
    count.addEventListener("input", () => this.#label());
    this.#find("calibrate-form").addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#running) this.#running.abort(new Error("Stopped. The threshold is unchanged."));
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

  /** Whether there is a picture to capture. */
  setReady(ready) {
    if (ready === this.#ready) return;
    this.#ready = ready;
    this.#allow();
  }

  /** What is shown ends, or is another camera's from now on: pictures of two places make no threshold. */
  interrupt() {
    this.#running?.abort(new Error("Stopped, because the picture changed or was lost. The threshold is unchanged."));
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
    this.#running = new AbortController();
    const { signal } = this.#running;
    this.#label();
    try {
      const pictures = await this.#captureAll(n, signal);
      this.#say("busy", `Scoring ${n} frames`);
      const answer = await calibrate(pictures, k);
      const { new_threshold, mean_score, std_score, n_images, warning } = answer;
      this.showThreshold(answer.threshold, answer.threshold_source);
      this.#say(
        warning ? "warning" : "done",
        `New threshold ${distance(new_threshold)} from ${n_images} frames: mean ${distance(mean_score)}, std ${distance(std_score)}.` +
          (warning ? ` ${warning}` : ""),
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

  async #captureAll(n, signal) {
    const progress = this.#find("calibrate-progress");
    Object.assign(progress, { max: n, value: 0, hidden: false });
    const pictures = [];
    while (pictures.length < n) {
      this.#say("busy", `Captured ${pictures.length} of ${n}`);
      const spaced = pause(SPACING_MS);
      pictures.push(await this.#captureOne(signal));
      progress.value = pictures.length;
      await spaced;
      signal.throwIfAborted();
    }
    return pictures;
  }

  #captureOne(signal) {
    return new Promise((resolve, reject) => {
      const giveUp = () => reject(new Error("No picture came for 8 s. Check the camera and the connection, then try again."));
      const timer = setTimeout(giveUp, PICTURE_TIMEOUT_MS);
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      this.#capture()
        .then(resolve, reject)
        .finally(() => clearTimeout(timer));
    });
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

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

// The calibration card: the server takes the scores of the next N inspected frames of what is shown and judges the threshold
// they make. Scores of the frames themselves: a picture encoded once more, or sent another way, scores differently.

import { HistoryDialog, undo } from "./history.js";
import { InForce } from "./in_force.js";
import { JudgementDialog } from "./judgement.js";
import { K_MAX, K_MIN, RuleChoice } from "./rules.js";
import { count } from "../../shared/count.js";
import { distance, sentence } from "./words.js";
import { capture } from "./requests.js";

const [N_MIN, N_MAX] = [2, 200];
const [SPACING_MIN, SPACING_MAX] = [0.2, 60]; // seconds: neighbours in time show the same part, and count as one
const MOST_S = 600; // what the server waits for

export class CalibrationCard {
  #root;
  #shown;
  #onchanged;
  #choice;
  #inForce;
  #judgement;
  #history;
  #appliedWhen = null; // the change that Undo takes back
  #running = null; // { controller, n, spacing, captured, due }
  #ready = false;

  /**
   * `shown()` answers `{ stream, recipe }`: the name of the stream that is shown, and what it is inspected with, where that is known.
   * `onchanged()` is called after the threshold may have changed.
   */
  constructor(root, { shown, onchanged }) {
    this.#root = root;
    this.#shown = shown;
    this.#onchanged = onchanged;
    this.#choice = new RuleChoice(root, () => this.#say("none", ""));
    this.#inForce = new InForce(root);
    this.#judgement = new JudgementDialog(this.#find("judgement"), {
      applied: (...what) => this.#applied(...what),
      discarded: () => this.#say("none", "Discarded. The threshold is unchanged."),
      postponed: () => this.#saySomethingWaits(),
      again: () => this.#capture(),
    });
    this.#history = new HistoryDialog(this.#find("history"), { shown, shows: (of) => this.#shows(of), changed: (...what) => this.#changed(...what) });
    for (const id of ["calibrate-n", "calibrate-spacing"]) {
      this.#find(id).addEventListener("input", () => {
        this.#label();
        this.#say("none", "");
      });
    }
    this.#find("calibrate-form").addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#running) this.#running.controller.abort(new Error("Stopped. The threshold is unchanged."));
      else this.#capture();
    });
    this.#find("review-button").addEventListener("click", () => this.#judgement.open());
    this.#find("undo-button").addEventListener("click", () => this.#undo());
    this.#find("history-button").addEventListener("click", () => this.#history.open());
    this.#label();
    this.#allow();
  }

  /** Whether frames of what is shown are being inspected. */
  setReady(ready) {
    if (ready === this.#ready) return;
    this.#ready = ready;
    this.#allow();
  }

  /** Another stream is shown: what was said was of the one before. What waits for a decision waits on the card of its own. */
  follow() {
    this.#say("none", "");
    this.#saySomethingWaits();
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
    running.due = Math.max(running.due + running.spacing * 1000, at);
    this.#find("calibrate-progress").value = running.captured;
    this.#say("busy", `Captured ${running.captured} of ${running.n}. Let good parts pass.`);
  }

  showThreshold(threshold, source) {
    this.#inForce.showThreshold(threshold, source);
  }

  /** The calibration in force, or null, what /api/streams says of what is shown, and whether any is stored. */
  showStored(calibration, stream, stored) {
    this.#inForce.show(calibration, stream);
    this.#history.allowReset(stored);
  }

  async #capture() {
    const n = Number(this.#find("calibrate-n").value);
    const spacing = Number(this.#find("calibrate-spacing").value);
    const rule = this.#choice.rule;
    if (!Number.isInteger(n) || n < N_MIN || n > N_MAX) return this.#say("error", `Choose a number of frames from ${N_MIN} to ${N_MAX}.`);
    if (!(spacing >= SPACING_MIN && spacing <= SPACING_MAX)) return this.#say("error", `Choose from ${SPACING_MIN} to ${SPACING_MAX} seconds between frames.`);
    if (n * spacing > MOST_S) return this.#say("error", `${n} frames every ${spacing} s take over ten minutes: choose fewer, or a shorter time between them.`);
    if (!rule) return this.#say("error", `Choose a factor k from ${K_MIN} to ${K_MAX}; 3 is usual.`);
    this.#judgement.discard();
    const of = this.#shown();
    this.#running = { controller: new AbortController(), n, spacing, captured: 0, due: 0 };
    const { signal } = this.#running.controller;
    Object.assign(this.#find("calibrate-progress"), { max: n, value: 0, hidden: false });
    this.#say("busy", `Captured 0 of ${n}. Let good parts pass.`);
    this.#label();
    try {
      const answer = await capture(of.stream, { n, rule, seconds: n * spacing, signal });
      this.#say("none", "");
      this.#judgement.show(answer, of);
    } catch (error) {
      this.#say(error === signal.reason ? "none" : "error", error.message);
    } finally {
      this.#running = null;
      this.#find("calibrate-progress").hidden = true;
      this.#label();
    }
  }

  #applied({ threshold, threshold_source: source, warning, when }, { in_force: before }, of) {
    this.#onchanged();
    if (!this.#shows(of)) return;
    this.#appliedWhen = when;
    this.showThreshold(threshold, source);
    const words = before == null ? `Applied: the threshold is ${distance(threshold)}.` : `Applied: ${distance(before)} → ${distance(threshold)}.`;
    this.#say(warning ? "warning" : "applied", warning ? `${words} ${sentence(warning)}` : words);
    this.#find("undo-button").hidden = false; // with a warning too
    this.#find("undo-button").scrollIntoView({ block: "nearest" });
  }

  async #undo() {
    const of = this.#shown();
    try {
      this.#changed(await undo(of.stream, this.#appliedWhen), of);
    } catch (error) {
      if (this.#shows(of)) this.#say("error", error.message);
    }
  }

  #changed(words, of) {
    if (this.#shows(of)) this.#say("done", words);
    this.#onchanged();
  }

  /** Whether it is still this stream that is shown, with this recipe. */
  #shows({ stream, recipe }) {
    const now = this.#shown();
    return now.stream === stream && (recipe === undefined || now.recipe?.id === recipe.id);
  }

  #saySomethingWaits() {
    if (this.#judgement.waitsFor === this.#shown().stream) this.#say("waits", "Captured and judged, not applied.");
  }

  #allow() {
    this.#find("calibrate-button").disabled = !this.#ready && !this.#running;
  }

  #label() {
    const n = Number(this.#find("calibrate-n").value) || 0;
    const words = this.#running ? "Stop" : `Capture ${count(n, "frame")}`;
    if (this.#find("calibrate-button").textContent !== words) this.#find("calibrate-button").textContent = words;
    this.#allow();
  }

  #say(outcome, words) {
    const place = this.#find("calibrate-result");
    place.dataset.outcome = outcome;
    if (place.textContent !== words) place.textContent = words;
    this.#find("review-button").hidden = outcome !== "waits";
    this.#find("undo-button").hidden = outcome !== "applied";
  }

  #find(id) {
    return this.#root.querySelector(`#${id}`);
  }
}

// The threshold on the trend, to be dragged: what would flip is said meanwhile, and nothing changes before Apply. To a screen reader
// and a keyboard it is a slider.

import { count } from "../shared/count.js";
import { may } from "../shared/me.js";
import { distance } from "./calibration/words.js";
import { backWords } from "../recipes/words.js";
import { change, takeHandAway } from "../recipes/requests.js";

const STEPS = 100; // of the axis, by arrow keys

export class ThresholdGrip {
  #root;
  #chart;
  #station;
  #grip;
  #value = null; // raw, while it is not applied
  #of = null; // the recipe that it is proposed for; once it is asked, as it was then
  #backOf; // the recipe whose way back is shown
  #dragging = false;
  #busy = false;

  constructor(root, chart, station) {
    this.#root = root;
    this.#chart = chart;
    this.#station = station;
    this.#grip = this.#find("threshold-grip");
    this.#grip.addEventListener("pointerdown", (event) => this.#take(event));
    this.#grip.addEventListener("pointermove", (event) => this.#drag(event));
    for (const end of ["pointerup", "pointercancel"]) this.#grip.addEventListener(end, () => this.#release());
    this.#grip.addEventListener("keydown", (event) => this.#key(event));
    this.#find("would-apply").addEventListener("click", () => this.#apply());
    this.#find("would-cancel").addEventListener("click", () => this.#cancel());
    this.#find("threshold-back").addEventListener("click", () => this.#goBack());
  }

  /** What was proposed is of no use any more. */
  clear() {
    this.#dragging = false;
    this.#propose(null);
  }

  /** Put it where it belongs; the caller decides how often. */
  show() {
    const { axis, threshold } = this.#chart;
    if (this.#value !== null && !this.#busy && !this.#isOfWhatIsShown) this.clear();
    const can = Boolean(axis) && this.#canChange();
    this.#grip.hidden = !can;
    this.#showBack();
    if (!can) return;
    const value = this.#value ?? threshold;
    this.#grip.style.top = `${this.#chart.y(value)}px`;
    this.#grip.firstElementChild.textContent = distance(value);
    this.#say("aria-valuemin", axis.low.toPrecision(4));
    this.#say("aria-valuemax", axis.high.toPrecision(4));
    this.#say("aria-valuenow", value.toPrecision(4));
    this.#say("aria-valuetext", this.#value === null ? `${distance(value)}, in force` : `${distance(value)}. ${this.#flips()}`);
  }

  /** Whether what is watched is inspected with the recipe that is asked about. */
  get #isOfWhatIsShown() {
    return this.#of !== null && this.#station.recipe?.id === this.#of.id;
  }

  // Not where the environment sets it, and not where nobody knows of what recipe it is.
  #canChange() {
    const { recipe, last } = this.#station;
    return may("engineer") && Boolean(recipe?.model) && last !== null && last.result.threshold_source !== "environment";
  }

  #take(event) {
    if (event.button !== 0 || this.#busy) return;
    this.#grip.setPointerCapture(event.pointerId);
    this.#dragging = true;
  }

  #drag(event) {
    if (!this.#dragging) return;
    this.#propose(this.#chart.rawAt(event.clientY - this.#find("chart").getBoundingClientRect().top));
  }

  #release() {
    if (!this.#dragging) return;
    this.#dragging = false;
    if (this.#value !== null) this.#ask();
  }

  #key(event) {
    if (this.#busy) return;
    const { axis, threshold } = this.#chart;
    const step = (axis.high - axis.low) / STEPS;
    const value = this.#value ?? threshold;
    const to = {
      ArrowUp: value + step, ArrowRight: value + step, ArrowDown: value - step, ArrowLeft: value - step,
      PageUp: value + 10 * step, PageDown: value - 10 * step, Home: axis.low, End: axis.high,
    }[event.key];
    if (to !== undefined) {
      this.#propose(Math.min(axis.high, Math.max(axis.low, to)));
      this.#ask();
    } else if (event.key === "Escape" && this.#value !== null) this.#cancel();
    else if (event.key === "Enter" && this.#value !== null) this.#find("would-apply").focus();
    else return;
    event.preventDefault();
  }

  #propose(value) {
    this.#of = value === null ? null : (this.#of ?? this.#station.recipe ?? null);
    this.#value = value;
    this.#chart.propose(value);
    this.#find("would").hidden = value === null;
    if (value === null) return;
    this.#find("would-apply").hidden = this.#find("would-cancel").hidden = this.#dragging;
    this.#words(`At ${distance(value)}: ${this.#flips()}`);
    this.#chart.draw(performance.now());
    this.show();
  }

  #ask() {
    if (!this.#isOfWhatIsShown) return this.clear();
    const { recipe } = this.#station;
    this.#of = recipe;
    const others = recipe.streams.length > 1 ? `, on ${count(recipe.streams.length, "stream")}` : "";
    this.#find("would-apply").hidden = this.#find("would-cancel").hidden = false;
    this.#words(`Put the threshold of ${recipe.name}${others} at ${distance(this.#value)}? ${this.#flips()}`);
    this.#find("would").scrollIntoView({ block: "nearest" }); // it lies over what is above the chart
  }

  #flips() {
    const { of, toNormal, toAnomaly } = this.#chart.flips(this.#value);
    if (toNormal + toAnomaly === 0) return `None of the last ${count(of, "result")} would be another.`;
    const parts = [toNormal && `${toNormal} would be NORMAL`, toAnomaly && `${toAnomaly} would be ANOMALY`].filter(Boolean);
    return `Of the last ${count(of, "result")} ${parts.join(", ")} instead.`;
  }

  #cancel() {
    this.#propose(null);
    this.#grip.focus();
  }

  async #apply() {
    const recipe = this.#of;
    const rule = { raw: this.#value };
    if (await this.#tell(recipe, () => change(recipe.id, recipe.version, { rule }, "put by hand on the trend"))) {
      this.#propose(null);
      this.#grip.focus();
    }
  }

  async #goBack() {
    if (await this.#tell(this.#backOf, () => takeHandAway(this.#backOf))) this.#grip.focus(); // the button is gone, or says another thing
  }

  /** Whether the server did it with this recipe; if not, the question says why. */
  async #tell({ name }, step) {
    if (this.#busy) return false;
    this.#busy = true;
    try {
      await step();
      return true;
    } catch (error) {
      if (!this.#isOfWhatIsShown) this.clear();
      this.#find("would").hidden = this.#find("would-cancel").hidden = false;
      this.#find("would-apply").hidden = true;
      this.#words(`${name}: ${error.message}`);
      return false;
    } finally {
      this.#busy = false;
      this.#station.lookAtRecipes();
    }
  }

  #showBack() {
    const { recipe } = this.#station;
    const byHand = recipe?.by_hand ?? null;
    this.#backOf = recipe;
    this.#find("threshold-hand").hidden = !byHand;
    if (!byHand) return;
    this.#write("threshold-hand-words", `Put by hand at ${distance(recipe.rule.raw)}.`);
    this.#write("threshold-back", backWords(byHand));
  }

  #words(words) {
    this.#write("would-words", words);
  }

  #write(id, words) {
    if (this.#find(id).textContent !== words) this.#find(id).textContent = words;
  }

  #say(attribute, value) {
    if (this.#grip.getAttribute(attribute) !== value) this.#grip.setAttribute(attribute, value);
  }

  #find(id) {
    return this.#root.querySelector(`#${id}`);
  }
}

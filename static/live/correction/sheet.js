// Says of a kept frame that it was good or bad: all of it or a marked place; what it costs is said first, then it is applied.

import { PlaceMark } from "./place.js";
import { address } from "../../shared/address.js";
import { clock, dispose, takeBack } from "../kept_frames.js";
import { distance, sentence } from "../calibration/words.js";

const COST_MS = 120_000; // a small or busy computer takes long
const ASK_AFTER_MS = 150; // a rectangle that is being moved asks once, not at each key
const CANNOT = "It cannot be forgiven any more: the model was taught anew since, or it is of a kind that cannot learn.";

let sheet = null;

/** The one sheet of the page. */
export function correctionSheet() {
  return (sheet ??= new CorrectionSheet(document.getElementById("correction")));
}

class CorrectionSheet {
  #dialog;
  #onchanged = () => {};
  #mark;
  #frame = null;
  #place = null;
  #version = null; // of the recipe, as the cost was said for
  #asked = 0; // the newest question; older answers are thrown away
  #timer = 0;
  #busy = false;

  constructor(dialog) {
    this.#dialog = dialog;
    this.#mark = new PlaceMark(this.#find("correction-place"), (place) => this.#marked(place));
    for (const input of dialog.querySelectorAll("#correction-questions input")) input.addEventListener("change", () => this.#answered(input));
    this.#find("correction-heat-on").addEventListener("change", () => this.#showHeat());
    this.#find("correction-rectangle").addEventListener("click", () => this.#mark.useRectangle());
    this.#find("correction-apply").addEventListener("click", () => this.#apply());
    this.#find("correction-undo").addEventListener("click", () => this.#undo());
    for (const id of ["correction-close", "correction-cancel"]) this.#find(id).addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => this.#forget());
    this.#find("correction-picture").addEventListener("error", () => this.#showGone(true));
  }

  /** `frame` is a KeptFrameBody; `was` is good or bad where that is said already; `onchanged()` is called after something was said or taken back. */
  open(frame, { was = null, onchanged = () => {} } = {}) {
    this.#frame = frame;
    this.#onchanged = onchanged;
    this.#place = this.#version = null;
    this.#work(false); // whatever is still asked of the one before
    const kind = frame.kind === "alarm" ? "Alarm" : "Part";
    this.#say("correction-title", `${kind} at ${clock(frame.at)}`);
    const part = frame.part ? `, part ${frame.part}` : "";
    this.#say("correction-about", `${frame.stream}${part}. ${frame.verdict}, score ${frame.score.toFixed(2)}: raw ${distance(frame.raw_score)}, threshold then ${distance(frame.threshold)}.`);
    this.#showGone(false);
    this.#find("correction-picture").src = address(frame.picture);
    this.#find("correction-picture").alt = `Picture of the ${kind.toLowerCase()}`;
    this.#find("correction-heat").src = address(frame.heatmap);
    this.#showHeat();
    this.#choose("correction-was", was);
    this.#choose("correction-place", "all");
    this.#find("correction-learn").checked = frame.kind === "recent"; // an alarm was found: there is nothing to learn
    this.#say("correction-error", "");
    this.#cost("none", "");
    if (frame.disposition) this.#showSaid(frame.disposition);
    else this.#showQuestions();
    this.#dialog.showModal();
    const first = frame.disposition ? "#correction-undo" : `input[name="correction-was"]${was ? ":checked" : ""}`;
    this.#dialog.querySelector(first).focus();
  }

  get #was() {
    return this.#dialog.querySelector('input[name="correction-was"]:checked')?.value ?? null;
  }

  get #marksPlace() {
    return this.#dialog.querySelector('input[name="correction-place"]:checked').value === "mark";
  }

  get #disposition() {
    const learn = this.#was === "bad" ? { learn: this.#find("correction-learn").checked } : {};
    return { place: this.#marksPlace && this.#teaches ? this.#place : null, ...learn };
  }

  /** Whether what is chosen changes the model. */
  get #teaches() {
    return this.#was === "good" || this.#find("correction-learn").checked;
  }

  #answered(input) {
    if (input.name === "correction-place") this.#mark.allow(this.#marksPlace);
    if (input.name === "correction-place") this.#place = null;
    this.#showQuestions();
  }

  #showQuestions() {
    const { can_correct: can } = this.#frame;
    this.#find("correction-questions").hidden = false;
    this.#find("correction-undo").hidden = true;
    this.#find("correction-apply").hidden = false;
    this.#say("correction-cancel", "Cancel");
    this.#find("correction-learn-line").hidden = this.#was !== "bad";
    this.#find("correction-learn").disabled = !can;
    if (!can) this.#find("correction-learn").checked = false;
    this.#find("correction-where").hidden = !this.#was || !this.#teaches;
    this.#find("correction-marking").hidden = this.#find("correction-where").hidden || !this.#marksPlace;
    this.#mark.allow(!this.#find("correction-marking").hidden);
    this.#say("correction-apply", { good: "Forgive it", bad: this.#teaches ? "Remember it" : "Note it" }[this.#was] ?? "Apply");
    this.#askCost();
  }

  #marked(place) {
    this.#place = place;
    this.#askCost();
  }

  #askCost() {
    clearTimeout(this.#timer);
    this.#asked += 1;
    this.#version = null;
    this.#find("correction-apply").disabled = true;
    this.#say("correction-error", "");
    if (!this.#was) return this.#cost("none", "");
    if (this.#was === "good" && !this.#frame.can_correct) return this.#cost("warning", CANNOT);
    if (this.#teaches && this.#marksPlace && !this.#place) return this.#cost("none", "Mark the place first.");
    this.#cost("asking", "Asking what it costs");
    this.#timer = setTimeout(() => this.#ask(this.#asked), ASK_AFTER_MS);
  }

  async #ask(asked) {
    try {
      const { cost, version } = await dispose(this.#frame, this.#was, { ...this.#disposition, dry_run: true }, { signal: AbortSignal.timeout(COST_MS), changes: false });
      if (asked !== this.#asked) return;
      this.#version = version;
      const costs = cost.would_pass.length > 0 || cost.goods_rejected_then > cost.goods_rejected;
      this.#cost(costs ? "warning" : "free", sentence(cost.sentence));
      this.#find("correction-apply").disabled = false;
    } catch (error) {
      if (asked !== this.#asked) return;
      this.#cost("none", "");
      this.#say("correction-error", error.message);
    }
  }

  #apply() {
    const [was, disposition] = [this.#was, { ...this.#disposition, version: this.#version }];
    return this.#change(async (frame) => {
      const { cost, correction } = await dispose(frame, was, disposition);
      return () => {
        this.#frame = { ...frame, disposition: was, correction };
        this.#showSaid(was, correction && `Its raw score went from ${distance(cost.raw_score)} to ${distance(cost.raw_score_then)}, the threshold is ${distance(cost.threshold)}.`);
        this.#find("correction-undo").focus();
      };
    });
  }

  #undo() {
    return this.#change(async (frame) => {
      const now = await takeBack(frame);
      return () => {
        this.#frame = now;
        this.#choose("correction-was", null);
        this.#showQuestions();
        this.#cost("free", "Taken back: scores are as they were before.");
        this.#dialog.querySelector('input[name="correction-was"]').focus();
      };
    });
  }

  // `step(frame)` answers how to show what it did. The server may take long, and another frame be opened meanwhile: what is shown of
  // that one stays.
  async #change(step) {
    if (this.#busy) return;
    const [frame, onchanged] = [this.#frame, this.#onchanged];
    this.#work(true);
    let show;
    try {
      show = await step(frame);
      onchanged();
    } catch (error) {
      if (error.status === 409) onchanged(); // somebody else said or changed something: what is shown is old
      show = () => this.#fail(frame, error);
    }
    if (!this.#dialog.open || this.#frame.id !== frame.id) return;
    this.#work(false);
    show();
  }

  // Of a recipe that was changed meanwhile, what it costs is another thing now.
  #fail({ disposition }, { status, message }) {
    if (status === 409 && !disposition) this.#askCost();
    this.#say("correction-error", message);
  }

  /** What was said, with the way back. */
  #showSaid(was, more = "") {
    clearTimeout(this.#timer);
    this.#asked += 1;
    this.#find("correction-questions").hidden = true;
    this.#find("correction-apply").hidden = true;
    this.#find("correction-undo").hidden = false;
    this.#mark.allow(false);
    this.#say("correction-cancel", "Close");
    const { correction } = this.#frame;
    const did = was === "good" ? "Forgiven: it was good." : correction ? "Remembered: it was bad." : "Noted: it was bad.";
    this.#cost("done", [did, more].filter(Boolean).join(" "));
  }

  #work(busy) {
    this.#busy = busy;
    this.#dialog.setAttribute("aria-busy", String(busy));
    this.#find("correction-undo").disabled = busy;
    if (busy) this.#find("correction-apply").disabled = true;
    else if (this.#version !== null) this.#find("correction-apply").disabled = false;
  }

  #forget() {
    clearTimeout(this.#timer);
    this.#asked += 1;
    this.#mark.allow(false);
    for (const id of ["correction-picture", "correction-heat"]) this.#find(id).removeAttribute("src");
  }

  #showHeat() {
    this.#find("correction-heat").hidden = !this.#find("correction-heat-on").checked;
  }

  #showGone(gone) {
    this.#find("correction-gone").hidden = !gone;
    this.#find("correction-shot").dataset.gone = String(gone);
  }

  #choose(name, value) {
    for (const input of this.#dialog.querySelectorAll(`input[name="${name}"]`)) input.checked = input.value === value;
  }

  #cost(kind, words) {
    this.#find("correction-cost").dataset.kind = kind;
    this.#say("correction-cost", words);
  }

  #say(id, words) {
    if (this.#find(id).textContent !== words) this.#find(id).textContent = words;
  }

  #find(id) {
    return this.#dialog.querySelector(`#${id}`);
  }
}

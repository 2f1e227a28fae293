// What a capture would do, before it is in force: the operator applies it, discards it, or decides later.

import { Histogram } from "./histogram.js";
import { ruleWords } from "./rules.js";
import { Suspects } from "./suspects.js";
import { count } from "../../shared/count.js";
import { distance, sentence } from "./words.js";
import * as requests from "./requests.js";

export class JudgementDialog {
  #dialog;
  #histogram;
  #suspects;
  #on;
  #draft = null;
  #of = null; // { stream, recipe } that it was captured of
  #judgement = null;
  #stale = false; // the operator left out something else than what was judged
  #isUnseen = false; // it came while Live was hidden
  #judging = false; // a request to judge again is on its way

  /** `on`: `applied(answer, judgement, of)`, `discarded()`, `postponed()` when it is closed without a decision, or could not be shown, `again()` to capture once more. */
  constructor(dialog, on) {
    this.#dialog = dialog;
    this.#on = on;
    this.#histogram = new Histogram(this.#find("histogram"));
    this.#suspects = new Suspects(this.#find("suspects"), this.#find("highest"), () => this.#judgeAgain());
    this.#find("judgement-apply").addEventListener("click", () => this.#apply());
    this.#find("judgement-discard").addEventListener("click", () => this.#end(() => on.discarded()));
    this.#find("judgement-again").addEventListener("click", () => this.#end(() => on.again()));
    this.#find("judgement-close").addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => this.#draft !== null && on.postponed());
  }

  /** The stream whose judgement waits for a decision, or to be seen; null: none does. */
  get waitsFor() {
    return this.#draft !== null || this.#isUnseen ? this.#of.stream : null;
  }

  /** Show the answer of a capture of a stream with its recipe, or keep it until Live is shown; `draft` is null where there is nothing to apply. */
  show({ judgement, draft }, of) {
    this.#draft = draft;
    this.#of = of;
    this.#suspects.clear();
    this.#say("judgement-spoken", "");
    this.#busy(false);
    this.#take(judgement);
    this.#isUnseen = this.#dialog.closest("[hidden]") !== null; // a modal one would hold what is shown instead
    if (this.#isUnseen) this.#on.postponed();
    else this.open();
  }

  open() {
    this.#isUnseen = false;
    if (!this.#dialog.open) this.#dialog.showModal();
    this.#find("judgement-body").scrollTop = 0;
    this.#histogram.show(this.#judgement, this.#suspects.marks);
    this.#find({ refused: "judgement-again", suspects: "suspects-all", warned: "judgement-discard", clean: "judgement-apply" }[this.#state]).focus();
  }

  /** Forget the draft, here and on the server. */
  discard() {
    if (this.#draft !== null) requests.discardDraft(this.#draft).catch(() => {}); // the server forgets it by itself in a while
    this.#draft = null;
    this.#isUnseen = false;
    if (this.#dialog.open) this.#dialog.close();
  }

  get #state() {
    if (this.#judgement.refused) return "refused";
    if (this.#suspects.kept > 0) return "suspects";
    return this.#judgement.warnings.length > 0 ? "warned" : "clean";
  }

  #end(then) {
    this.discard();
    then();
  }

  #take(judgement) {
    this.#judgement = judgement;
    this.#suspects.add(judgement.suspects, judgement.highest);
    this.#suspects.allow(this.#draft !== null);
    this.#histogram.show(judgement, this.#suspects.marks);
    this.#say("judgement-error", "");
    this.#write();
  }

  // One request at a time: the server keeps what it judged last, and that is what is applied.
  async #judgeAgain() {
    this.#histogram.show(this.#judgement, this.#suspects.marks);
    this.#stale = true;
    if (this.#judging) return;
    this.#judging = true;
    this.#busy(true);
    let failed = false;
    while (this.#stale && this.#draft !== null) {
      this.#stale = false;
      const draft = this.#draft;
      try {
        const { judgement } = await requests.judgeWithout(draft, this.#suspects.leftOut);
        failed = false;
        if (draft !== this.#draft || this.#stale) continue;
        this.#take(judgement);
        this.#say("judgement-spoken", this.#inWords());
      } catch (error) {
        failed = draft === this.#draft; // another one may have been captured meanwhile
        if (failed) this.#say("judgement-error", error.message);
      }
    }
    this.#judging = false;
    this.#busy(false);
    this.#find("judgement-apply").disabled = failed; // the server would apply what is not shown
  }

  async #apply() {
    const [draft, judgement, of] = [this.#draft, this.#judgement, this.#of];
    const isStill = () => draft === this.#draft; // another one may have been captured meanwhile
    this.#busy(true);
    try {
      const answer = await requests.applyDraft(draft);
      if (isStill()) {
        this.#draft = null;
        this.#dialog.close();
      }
      this.#on.applied(answer, judgement, of);
    } catch (error) {
      if (isStill()) this.#say("judgement-error", error.message);
    } finally {
      if (isStill() || this.#draft === null) this.#busy(false);
    }
  }

  #busy(busy) {
    this.#dialog.setAttribute("aria-busy", String(busy));
    this.#find("judgement-apply").disabled = busy;
  }

  #write() {
    const { rule, parts, independent, refused, warnings, threshold, in_force: inForce, margin, known_defects: known } = this.#judgement;
    const state = this.#state;
    this.#dialog.dataset.state = state;
    const titles = { refused: "No threshold can be made of this", suspects: "Look at these first", warned: "Look before you apply it", clean: "Ready to apply" };
    this.#say("judgement-title", titles[state]);
    const out = this.#suspects.leftOut.length;
    const without = [out > 0 && `${count(out, "frame")} left out`, known > 0 && `${count(known, "frame")} of defects that the simulated line knows of left out`].filter(Boolean);
    const { stream, recipe } = this.#of;
    const of = `${count(parts, "frame")} of ${stream}${recipe ? ` with ${recipe.name}` : ""}`;
    this.#say("judgement-status", `${[of, ...without].join(", ")}. Rule: ${ruleWords(rule)}. Nothing is changed yet.`);
    this.#say("judgement-refused", refused ? sentence(refused) : "");
    this.#list("judgement-warnings", warnings.map(sentence));

    this.#find("judgement-facts").hidden = state === "refused";
    this.#say("fact-threshold", threshold == null ? "–" : distance(threshold));
    this.#say("fact-in-force", inForce == null ? "none in force" : `in force ${distance(inForce)}`);
    this.#writeRecent();
    this.#say("fact-independent", independent == null ? "–" : String(Math.floor(independent)));
    this.#say("fact-parts", `of ${count(parts, "frame")}`);

    this.#writePromise(state);
    this.#say("judgement-without", this.#withoutSuspects());
    this.#say("judgement-margin", margin ? `Highest raw score of a good part ${distance(margin.highest_good)}, lowest of a known defect ${distance(margin.lowest_defect)}.` : "");
    this.#buttons(state);
  }

  // For who does not see the numbers change.
  #inWords() {
    const { threshold, refused } = this.#judgement;
    const left = `${count(this.#suspects.leftOut.length, "frame")} left out`;
    return refused ? `${left}. ${sentence(refused)}` : `${left}. New threshold ${distance(threshold)}.`;
  }

  #writeRecent() {
    const { of, now_rejected: now, then_rejected: then, then_without_suspects: without } = this.#judgement.recent;
    this.#say("fact-recent-of", of > 0 ? `Rejected of the last ${of}` : "Rejected of the last");
    this.#say("fact-recent", of > 0 ? `${now} → ${then}` : "–");
    const words = without != null && this.#suspects.kept > 0 ? `now → then; ${without} without suspects` : "now → then";
    this.#say("fact-recent-words", of === 0 ? "nothing is known yet" : words);
  }

  #writePromise(state) {
    const { promise, no_promise: none, promise_without_suspects: without } = this.#judgement;
    const place = this.#find("judgement-promise");
    const words = state === "suspects" ? without && `Without them: ${without.sentence}` : (promise?.sentence ?? none);
    place.dataset.kind = state !== "suspects" && promise ? "promise" : "none";
    place.hidden = state === "refused" || !words;
    place.textContent = words ? sentence(words) : "";
    const withThem = state === "suspects" && (promise?.sentence ?? none);
    this.#say("judgement-next", withThem ? sentence(`with them: ${withThem}`) : state === "clean" && promise ? sentence(promise.stronger) : "");
  }

  #withoutSuspects() {
    const { threshold, threshold_without_suspects: without } = this.#judgement;
    if (this.#suspects.kept === 0) return "These will not count. Tap one to put it back.";
    if (this.#draft === null) return ""; // nothing can be left out
    if (threshold == null || without == null) return "Tap a picture to leave it out.";
    return `With them the threshold is ${distance(threshold)}, without them ${distance(without)}. Tap a picture to leave it out.`;
  }

  #buttons(state) {
    const apply = this.#find("judgement-apply");
    apply.hidden = state === "refused" || this.#draft === null;
    apply.classList.toggle("primary", state === "clean");
    apply.textContent = this.#applyWords(state);
    this.#find("suspects-all").classList.toggle("primary", state === "suspects");
    this.#find("judgement-again").hidden = state !== "refused";
    this.#say("judgement-discard", state === "refused" && this.#draft === null ? "Close" : "Discard");
  }

  // Says what it overrules.
  #applyWords(state) {
    const { warnings, promise, threshold } = this.#judgement;
    if (state === "suspects") return `Apply with ${count(this.#suspects.kept, "suspect")}`;
    if (state === "warned") return `Apply despite ${count(warnings.length, "warning")}`;
    return promise || threshold == null ? "Apply" : "Apply without a promise";
  }

  #list(id, sentences) {
    const place = this.#find(id);
    place.hidden = sentences.length === 0;
    place.replaceChildren(
      ...sentences.map((words) => {
        const item = document.createElement("li");
        item.textContent = words;
        return item;
      }),
    );
  }

  #say(id, words) {
    const place = this.#find(id);
    if (place.textContent !== words) place.textContent = words;
  }

  #find(id) {
    return this.#dialog.querySelector(`#${id}`);
  }
}

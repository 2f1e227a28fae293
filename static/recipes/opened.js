// One recipe, opened: what it is, and all that can be changed of it.

import { question } from "../shared/question.js";
import { write } from "../shared/elements.js";
import { sentence } from "../shared/sentence.js";
import { forgetChanges, showChanges } from "../history/changes.js";
import { Assign } from "./assign.js";
import { Corrections } from "./corrections.js";
import { RecipeEdit } from "./edit.js";
import { decisionForm, optionsForm, ruleForm } from "./forms.js";
import { showChips } from "./list.js";
import { partsForm } from "./parts_form.js";
import { RegionsCard } from "./regions_card.js";
import * as requests from "./requests.js";
import { backWords, modelWords, thresholdWords } from "./words.js";

const HISTORY_EVERY_MS = 8_000;

export class OpenedRecipe {
  #root;
  #station;
  #told;
  #edit = null;
  #recipes = [];
  #regions;
  #forms;
  #corrections;
  #assign;
  #naming = null; // rename or copy, while its form is open
  #historyOf = "";
  #historyAt = 0;

  /**
   * `told` hears `say(words, kind)`, `failed(error, of)`, with what is said before its words, `changed()` after something that other recipes or
   * the list show, `open(id)`, `close()` and `teachMore(recipe)`.
   */
  constructor(root, station, told) {
    this.#root = root;
    this.#station = station;
    this.#told = told;
    this.#regions = new RegionsCard(this.#find("regions"), station, (regions) => this.#save({ regions }, "your regions"));
    this.#forms = {
      rule: ruleForm(this.#find("rule-form"), (rule) => this.#save({ rule }, "your threshold rule", { rethrow: true })),
      decision: decisionForm(this.#find("decision-form"), (decision) => this.#save({ decision }, "your decision", { rethrow: true })),
      parts: partsForm(this.#find("parts-form"), (parts) => this.#save({ parts }, "what a part is", { rethrow: true }), () => ({ recipe: this.id, stream: this.#runningStream() })),
      options: optionsForm(this.#find("options-form"), (options) => this.#save({ options }, "your options", { rethrow: true })),
    };
    this.#corrections = new Corrections(root, (correction) => this.#do(async (edit) => {
      edit.take(await requests.undoCorrection(edit.recipe, correction.id));
      return this.#named(edit, "Undone: it scores as before.");
    }));
    this.#assign = new Assign(root, (stream, isChosen) => this.#do(async () => {
      const { name, switched_ms: ms } = await requests.choose(stream, isChosen ? this.#edit.recipe.id : null);
      return `${stream} is inspected with ${name} now (switched in ${Math.round(ms)} ms).`;
    }));
    this.#find("recipe-by-hand-back").addEventListener("click", () => this.#do(async (edit) => {
      edit.take(await requests.takeHandAway(edit.recipe));
      return this.#named(edit, `The threshold is ${thresholdWords(edit.recipe)}, as version ${edit.recipe.version}.`);
    }));
    this.#find("recipe-back").addEventListener("click", () => told.close());
    this.#find("recipe-teach-more").addEventListener("click", () => told.teachMore(this.#edit.recipe));
    this.#find("recipe-rename").addEventListener("click", () => this.#askName("rename"));
    this.#find("recipe-copy").addEventListener("click", () => this.#askName("copy"));
    this.#find("recipe-name-cancel").addEventListener("click", () => this.#askName(null));
    this.#find("recipe-name-form").addEventListener("submit", (event) => this.#name(event));
    this.#find("recipe-default").addEventListener("click", () => this.#do(async ({ recipe }) => {
      await requests.makeDefault(recipe.id);
      return `Streams that no recipe was chosen for are inspected with ${recipe.name}.`;
    }));
    this.#find("recipe-delete").addEventListener("click", () => this.#delete());
    this.#find("recipe-conflict-mine").addEventListener("click", () => this.#do(async (edit) => {
      if (await edit.putKeptOnTop()) return this.#named(edit, "Yours is in force, as a version on top of theirs.");
      return "";
    }));
    this.#find("recipe-conflict-theirs-stay").addEventListener("click", () => this.#edit.dropKept());
  }

  get id() {
    return this.#edit?.recipe.id ?? null;
  }

  /** Whether something of it is written that is not saved. */
  get isChanged() {
    return this.#edit !== null && (this.#edit.kept !== null || this.#regions.isChanged || Object.values(this.#forms).some(({ isChanged }) => isChanged));
  }

  /** Show a recipe of these, as the server has just answered; what somebody is editing of it stays as they wrote it. */
  show(recipe, recipes) {
    this.#recipes = recipes;
    this.#root.hidden = false;
    for (const form of Object.values(this.#forms)) form.reached();
    if (this.id !== recipe.id) {
      this.#edit = new RecipeEdit(recipe, () => this.#render());
      this.#askName(null);
      this.#forgetHistory();
      this.#render({ over: true });
    } else {
      this.#edit.take(recipe);
      this.#showStreams();
    }
    this.#lookAtHistory();
  }

  focus() {
    this.#find("recipe-name").focus();
  }

  /** It is not seen for a while: what is edited of it is kept. */
  hide() {
    this.#root.hidden = true;
    this.#regions.rest();
  }

  rest() {
    this.#regions.rest();
  }

  showStreams() {
    if (this.#edit && !this.#root.hidden) this.#showStreams();
  }

  /** One that is inspected with it now, or "". */
  #runningStream() {
    const running = new Set(this.#station.streams.map(({ name }) => name));
    return this.#edit?.recipe.streams.find((name) => running.has(name)) ?? "";
  }

  #showStreams() {
    this.#regions.offerStreams();
    this.#assign.show(this.#edit.recipe, this.#recipes, this.#station.streams);
  }

  #render({ over = false } = {}) {
    const { recipe, kept } = this.#edit;
    write(this.#find("recipe-name"), recipe.name);
    showChips(this.#find("recipe-chips"), recipe);
    write(this.#find("recipe-model"), `${recipe.model ? `${recipe.model.category}: ` : ""}${modelWords(recipe)}`);
    write(this.#find("recipe-threshold"), `Threshold ${thresholdWords(recipe)}`);
    write(this.#find("recipe-threshold-warning"), sentence(recipe.threshold_warning ?? ""));
    this.#find("recipe-by-hand").hidden = !recipe.by_hand;
    if (recipe.by_hand) write(this.#find("recipe-by-hand-back"), backWords(recipe.by_hand));
    write(this.#find("recipe-problem"), recipe.problem ?? "");
    this.#find("recipe-export").href = requests.fileAddress(recipe.id);
    this.#find("recipe-teach-more").disabled = !recipe.model?.can_be_taught_more;
    this.#find("recipe-teach-more").title = recipe.model?.can_be_taught_more ? "" : "Its teaching pictures are not kept here";
    this.#find("recipe-default").hidden = recipe.is_default;
    this.#find("recipe-delete").disabled = recipe.is_default || recipe.is_given || recipe.streams.length > 0;
    this.#find("recipe-delete").title = whyNotDeleted(recipe);
    const isConflict = kept !== null;
    const isOver = (field) => over || (isConflict && field in kept.what);
    this.#regions.show(recipe, { over: isOver("regions") });
    for (const [field, form] of Object.entries(this.#forms)) form.take(recipe[field], { over: isOver(field) });
    this.#showStreams();
    this.#showConflict(recipe, kept);
  }

  #showConflict({ version, who, why }, kept) {
    this.#find("recipe-conflict").hidden = kept === null;
    if (!kept) return;
    write(this.#find("recipe-conflict-theirs"), `Version ${version}, by ${who}${why ? `: ${why}` : ""}. It is in force, and what is shown below.`);
    write(this.#find("recipe-conflict-yours"), `Kept for you: ${kept.words}. Put it on top of theirs, or leave theirs as it is.`);
    this.#find("recipe-conflict-mine").focus();
  }

  async #save(what, words, { rethrow = false } = {}) {
    const edit = this.#edit;
    try {
      const isSaved = await edit.save(what, words);
      if (isSaved) this.#told.say(this.#named(edit, `Saved as version ${edit.recipe.version}.`), "done");
      else if (edit !== this.#edit) throw new Error(`somebody else changed it meanwhile: ${words} was not saved`);
      this.#told.changed();
      this.#lookAtHistory();
      return isSaved;
    } catch (error) {
      if (rethrow && edit === this.#edit) throw error;
      this.#fail(edit, error);
      return false;
    }
  }

  /** Do something with what is opened, and say what was done, or why not; answers whether it was. */
  async #do(step) {
    const edit = this.#edit;
    let isDone = true;
    try {
      this.#told.say(await step(edit), "done");
    } catch (error) {
      isDone = false;
      this.#fail(edit, error);
    }
    this.#historyOf = "";
    await this.#told.changed();
    return isDone;
  }

  /** Words about a recipe, with its name where another one was opened before they could be said. */
  #named(edit, words) {
    return edit === this.#edit ? words : `${edit.recipe.name}: ${words}`;
  }

  #fail(edit, error) {
    this.#told.failed(error, this.#named(edit, ""));
  }

  #askName(why) {
    this.#naming = why;
    this.#find("recipe-name-form").hidden = why === null;
    if (why === null) return;
    const field = this.#find("recipe-new-name");
    write(this.#find("recipe-new-name-label"), why === "copy" ? "Name of the copy" : "New name");
    write(this.#find("recipe-name-save"), why === "copy" ? "Make a copy" : "Rename");
    field.value = why === "copy" ? `${this.#edit.recipe.name} copy`.slice(0, 60) : this.#edit.recipe.name;
    field.select();
    field.focus();
  }

  async #name(event) {
    event.preventDefault();
    const name = this.#find("recipe-new-name").value.trim();
    if (!name) return;
    const edit = this.#edit;
    let isDone;
    if (this.#naming === "copy") {
      isDone = await this.#do(async ({ recipe }) => {
        const made = await requests.copy(recipe.id, name);
        await this.#told.changed();
        this.#told.open(made.id);
        return `Copied: ${made.name} has its own versions from here on.`;
      });
    } else isDone = await this.#save({ name }, `the name ${name}`);
    if (edit !== this.#edit || (!isDone && !edit.kept)) return; // what was written stays
    this.#askName(null);
    this.#find("recipe-name").focus();
  }

  async #delete() {
    const { recipe } = this.#edit;
    const sure = await question({ title: `Delete ${recipe.name}?`, text: "Its model, versions and corrections are gone for good. Export a file first if it may be wanted again.", yes: "Delete it", no: "Keep it" });
    if (!sure) return;
    await this.#do(async () => {
      const { streams } = await requests.remove(recipe);
      if (this.id === recipe.id) this.#told.close();
      return `${recipe.name} is deleted.${streams.length ? ` ${streams.join(", ")}, away now, will not be inspected until another recipe is chosen there.` : ""}`;
    });
  }

  // Corrections and changes: when something became another, and now and then for the calibrations.
  async #lookAtHistory() {
    const { id, version, model, threshold } = this.#edit.recipe;
    const key = JSON.stringify([id, version, model?.hash, threshold]);
    const now = performance.now();
    if (key === this.#historyOf && now - this.#historyAt < HISTORY_EVERY_MS) return;
    this.#historyOf = key;
    this.#historyAt = now;
    const [corrections, changes] = await Promise.allSettled([requests.corrections(id), requests.history(id)]);
    if (this.id !== id) return;
    if (corrections.status === "fulfilled") this.#corrections.show(corrections.value);
    if (changes.status === "fulfilled") showChanges(this.#find("recipe-history"), changes.value, (change) => this.#goBack(change));
  }

  // What is listed is of the one before: a press there would mean this one.
  #forgetHistory() {
    this.#historyOf = "";
    this.#corrections.forget();
    forgetChanges(this.#find("recipe-history"));
  }

  #goBack({ from_version: to }) {
    return this.#do(async (edit) => {
      edit.take(await requests.restore(edit.recipe, to));
      return this.#named(edit, `Back at what version ${to} was, as version ${edit.recipe.version}.`);
    });
  }

  #find(id) {
    return this.#root.querySelector(`#${id}`);
  }
}

function whyNotDeleted({ is_default: isDefault, is_given: isGiven, streams }) {
  if (isGiven) return "Its model was given at the start";
  if (isDefault) return "It is the default: make another one the default first";
  return streams.length ? `In use by ${streams.join(", ")}` : "";
}

// A form for one field of a recipe: it shows what is in force until somebody edits it, and then what they write until they
// save or drop it.

import { write } from "../shared/elements.js";
import { sentence } from "../shared/sentence.js";
import { Unreachable } from "../shared/server.js";

/**
 * `read()` gives the form's value, `show(value)` writes one into it, `words(value)` says it, and `save(value)` makes it
 * count, and answers whether it does. `problem(value)` says why it cannot be, or "".
 */
export class FormCard {
  #form;
  #about;
  #inForce = null;
  #isSaving = false;
  #heard = null; // what is in force, told while it is being saved
  #turn = 0; // of what is edited: another recipe, or the version of somebody else
  #told = ""; // by whom the sentence is that stands: "form", "server" or "unreachable"; "" where none does

  constructor(form, about) {
    this.#form = form;
    this.#about = about;
    for (const edit of ["input", "change"]) form.addEventListener(edit, () => this.#edited());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#save();
    });
    form.addEventListener("reset", (event) => {
      event.preventDefault();
      this.#reset();
    });
  }

  get isChanged() {
    return key(this.#about.read()) !== key(this.#inForce);
  }

  /** What is in force now; an edit that was begun stays, unless `over`. */
  take(value, { over = false } = {}) {
    if (this.#isSaving && !over) {
      this.#heard = value;
      return;
    }
    if (over) {
      this.#turn += 1;
      this.#heard = null;
      this.#say("");
    }
    const mayShow = over || this.#inForce === null || !this.isChanged;
    const before = this.#inForce;
    if (mayShow) this.#about.show(value);
    this.#inForce = mayShow ? this.#about.read() : before;
    this.#render();
  }

  /** The server answers: that it did not is not true any more. */
  reached() {
    if (this.#told === "unreachable") this.#say("");
  }

  #reset() {
    this.#about.show(this.#inForce);
    this.#say("");
    this.#render();
  }

  // What was said was said of what was written before.
  #edited() {
    if (this.#told === "form") this.#say(this.#about.problem?.(this.#about.read()) ?? "", "form");
    else this.#say("");
    this.#render();
  }

  async #save() {
    const value = this.#about.read();
    const problem = this.#about.problem?.(value) ?? "";
    this.#say(problem, "form");
    if (problem) return this.#render();
    this.#form.querySelector("[type=submit]").disabled = true;
    this.#isSaving = true;
    const turn = this.#turn;
    let isSaved = false;
    try {
      isSaved = await this.#about.save(value);
    } catch (error) {
      this.#say(sentence(error.message), error instanceof Unreachable ? "unreachable" : "server");
    }
    this.#isSaving = false;
    if (isSaved && turn === this.#turn) this.#inForce = value;
    const heard = this.#heard;
    this.#heard = null;
    if (heard) this.take(heard);
    this.#render();
  }

  #render() {
    const value = this.#about.read();
    const problem = this.#about.problem?.(value) ?? "";
    write(this.#form.querySelector("[data-words]"), problem ? (this.#told === "form" ? "" : problem) : this.#about.words(value));
    const changed = this.isChanged;
    this.#form.dataset.changed = String(changed);
    this.#form.querySelector("[type=submit]").disabled = !changed || this.#isSaving;
    this.#form.querySelector("[type=reset]").disabled = !changed;
  }

  #say(words, by = "") {
    this.#told = words ? by : "";
    write(this.#form.querySelector(".form-problem"), words);
  }
}

// JSON has no word for what cannot be read as a number: it would be the same as none.
function key(value) {
  return JSON.stringify(value, (_, one) => (Number.isNaN(one) ? "unreadable" : one));
}

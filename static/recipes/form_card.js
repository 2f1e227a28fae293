// A form for one field of a recipe: it shows what is in force until somebody edits it, and then what they write until they
// save or drop it.

import { write } from "../shared/elements.js";
import { sentence } from "../shared/sentence.js";

/**
 * `read()` gives the form's value, `show(value)` writes one into it, `words(value)` says it, and `save(value)` makes it
 * count. `problem(value)` says why it cannot be, or "".
 */
export class FormCard {
  #form;
  #about;
  #inForce = null;

  constructor(form, about) {
    this.#form = form;
    this.#about = about;
    form.addEventListener("input", () => this.#render());
    form.addEventListener("change", () => this.#render());
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
    return JSON.stringify(this.#about.read()) !== JSON.stringify(this.#inForce);
  }

  /** What is in force now; an edit that was begun stays, unless `over`. */
  take(value, { over = false } = {}) {
    const mayShow = over || this.#inForce === null || !this.isChanged;
    const before = this.#inForce;
    if (mayShow) this.#about.show(value);
    this.#inForce = mayShow ? this.#about.read() : before;
    this.#render();
  }

  #reset() {
    this.#about.show(this.#inForce);
    this.#say("");
    this.#render();
  }

  async #save() {
    const value = this.#about.read();
    const problem = this.#about.problem?.(value) ?? "";
    this.#say(problem);
    if (problem) return;
    const button = this.#form.querySelector("[type=submit]");
    button.disabled = true;
    try {
      const before = this.#inForce;
      this.#inForce = value;
      try {
        await this.#about.save(value);
      } catch (error) {
        this.#inForce = before;
        throw error;
      }
    } catch (error) {
      this.#say(sentence(error.message));
    }
    this.#render();
  }

  #render() {
    const value = this.#about.read();
    write(this.#form.querySelector("[data-words]"), this.#about.problem?.(value) || this.#about.words(value));
    const changed = this.isChanged;
    this.#form.dataset.changed = String(changed);
    this.#form.querySelector("[type=submit]").disabled = !changed;
    this.#form.querySelector("[type=reset]").disabled = !changed;
  }

  #say(words) {
    write(this.#form.querySelector(".form-problem"), words);
  }
}

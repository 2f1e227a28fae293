// One change of a recipe at a time, told apart from what others change meanwhile.

import { Refused } from "../shared/server.js";
import * as requests from "./requests.js";

const CONFLICT = 409;

/**
 * `recipe` is the newest that is known, `kept` an edit that was refused because somebody else changed the recipe:
 * `{ what, why, words }`. `onchange()` is called when either became another.
 */
export class RecipeEdit {
  recipe;
  kept = null;
  #onchange;

  constructor(recipe, onchange) {
    this.recipe = recipe;
    this.#onchange = onchange;
  }

  /** Take what the server says now. */
  take(recipe) {
    const isNews = JSON.stringify(recipe) !== JSON.stringify(this.recipe);
    this.recipe = recipe;
    if (isNews) this.#onchange();
  }

  /**
   * Change `what`; answers whether it is in force. Of a conflict the edit is kept, and the newer version shown; it is kept until the same is
   * changed, or it is dropped.
   */
  async save(what, words, why = "") {
    try {
      this.recipe = await requests.change(this.recipe.id, this.recipe.version, what, why);
      if (Object.keys(what).some((field) => field in (this.kept?.what ?? {}))) this.kept = null;
      return true;
    } catch (error) {
      if (!(error instanceof Refused) || error.status !== CONFLICT) throw error;
      this.recipe = await requests.recipe(this.recipe.id);
      this.kept = { what, why, words };
      return false;
    } finally {
      this.#onchange();
    }
  }

  /** Put the kept edit on top of what somebody else made. */
  putKeptOnTop() {
    const { what, words, why } = this.kept;
    return this.save(what, words, why);
  }

  dropKept() {
    this.kept = null;
    this.#onchange();
  }
}

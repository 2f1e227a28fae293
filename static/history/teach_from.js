// Which teaching is shown the selected pictures: one that is open, a new one, or more of a recipe.

import { count } from "../shared/count.js";
import { element, write } from "../shared/elements.js";
import { recipes } from "../recipes/requests.js";
import { teachings } from "../teach/requests.js";
import * as requests from "./requests.js";

export class TeachFrom {
  #dialog;
  #go;
  #ids = [];
  #busy = false;
  #turn = 0; // of what is to be taught; an older question does not come up late
  #ondone;

  /** `go(view, hash)` leads to another view; `ondone()` is called before. */
  constructor(root, go, ondone) {
    this.#dialog = root.querySelector("#teach-from");
    this.#go = go;
    this.#ondone = ondone;
    this.#find("teach-from-close").addEventListener("click", () => this.#dialog.close());
    this.#dialog.addEventListener("close", () => {
      this.#turn += 1;
      this.#work(false);
    });
    this.#find("teach-from-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#teach();
    });
    for (const [id, value] of [["teach-from-name", "new"], ["teach-from-recipe", "more"], ["teach-from-teaching", "open"]]) this.#find(id).addEventListener("focus", () => this.#choose(value));
  }

  /** `rejected`: of them, whose verdict stands that they are bad. */
  async open(ids, recipe = null, rejected = 0) {
    const turn = ++this.#turn;
    this.#ids = ids;
    write(this.#find("teach-from-error"), "");
    write(this.#find("teach-from-title"), ids.length === 1 ? "Teach from it" : "Teach from these");
    const doubt = rejected ? ` ${rejected} of ${ids.length} ${rejected === 1 ? "was" : "were"} rejected: ${ids.length === 1 ? "is it a good part" : "are they good parts"}?` : "";
    const must = ids.length === 1 ? "It must show a good part: a bad one would pass" : "They must show good parts: a bad one among them would pass";
    write(this.#find("teach-from-about"), `${count(ids.length, "picture")}. ${must} from then on.${doubt}`);
    const [{ recipes: all }, open] = await Promise.all([recipes().catch(() => ({ recipes: [] })), teachings().catch(() => [])]);
    if (turn !== this.#turn) return;
    const fit = all.filter(({ model }) => model?.can_be_taught_more);
    const showing = open.filter(({ state }) => state === "showing" || state === "failed");
    this.#offer("teach-from-recipe", "teach-from-more", fit);
    this.#offer("teach-from-teaching", "teach-from-open", showing);
    if (fit.some(({ id }) => id === recipe)) this.#find("teach-from-recipe").value = recipe;
    this.#choose(rejected ? "" : showing.length ? "open" : fit.length ? "more" : "new");
    this.#dialog.showModal();
    this.#find("teach-from-title").focus();
  }

  close() {
    this.#turn += 1;
    this.#dialog.close();
  }

  #offer(select, line, known) {
    this.#find(line).hidden = known.length === 0;
    this.#find(select).replaceChildren(...known.map(({ id, name }) => element("option", { value: id }, name)));
  }

  #choose(value) {
    for (const input of this.#find("teach-from-form").elements["teach-from"]) input.checked = input.value === value;
  }

  async #teach() {
    if (this.#busy) return;
    const how = this.#find("teach-from-form").elements["teach-from"].value;
    const name = this.#find("teach-from-name").value.trim();
    if (!how) return write(this.#find("teach-from-error"), "Choose first what they are to be taught to, if they are good parts.");
    if (how === "new" && !name) {
      write(this.#find("teach-from-error"), "Give the new recipe a name first.");
      this.#find("teach-from-name").focus();
      return;
    }
    const what = { new: { name }, more: { more_of: this.#find("teach-from-recipe").value }, open: { teaching: this.#find("teach-from-teaching").value } }[how];
    const turn = this.#turn;
    this.#work(true);
    try {
      const { id } = await requests.teachFrom({ ids: this.#ids, ...what });
      if (turn !== this.#turn) return; // it is among those that are open
      this.#dialog.close();
      this.#ondone();
      this.#go("teach", encodeURIComponent(id));
    } catch (error) {
      if (turn === this.#turn) write(this.#find("teach-from-error"), error.message);
    } finally {
      if (turn === this.#turn) this.#work(false);
    }
  }

  #work(busy) {
    this.#busy = busy;
    this.#find("teach-from-go").disabled = busy;
    write(this.#find("teach-from-go"), busy ? "Showing them" : "Show them to the teaching");
  }

  #find(id) {
    return this.#dialog.querySelector(`#${id}`);
  }
}

// What the watched stream is inspected with: its recipe, to be seen and to be changed.

import { may } from "../shared/me.js";
import { send } from "../shared/server.js";

const OPEN_FOR_MS = 15_000; // after a press: nothing tells that a list was closed again without a choice

export class RecipeSelect {
  #root;
  #station;
  #select;
  #offered = "";
  #pressedAt = -Infinity;
  #choosing = null; // { streamName } of the newest choice whose answer is waited for
  #saidOf = null; // what was in force when what is said was said; null while nothing is, or its answer is waited for

  constructor(root, station) {
    this.#root = root;
    this.#station = station;
    this.#select = this.#find("recipe");
    this.#select.addEventListener("change", () => this.#choose(this.#select.value));
    station.on("left", () => this.#say(""));
    for (const press of ["pointerdown", "keydown"]) {
      this.#select.addEventListener(press, () => {
        this.#pressedAt = performance.now();
      });
    }
  }

  show() {
    const { recipes, recipe, stream } = this.#station;
    if (this.#saidOf !== null && this.#saidOf !== this.#inForce) this.#say("");
    const shown = recipes !== null && recipe !== undefined && stream !== undefined;
    this.#find("recipe-control").hidden = !shown;
    if (!shown) return;
    const choices = recipes.map(({ id, name, problem }) => ({ id, text: problem ? `${name} (cannot be used)` : name, disabled: Boolean(problem) }));
    const key = JSON.stringify(choices);
    if (key !== this.#offered) {
      this.#offered = key; // an open list must not be rebuilt under the finger
      this.#select.replaceChildren(
        ...choices.map(({ id, text, disabled }) => Object.assign(new Option(text, id), { disabled })),
      );
    }
    if (!this.#isUsed || this.#select.value === "") this.#select.value = recipe.id;
    this.#select.disabled = !may("operator");
    this.#select.title = this.#select.disabled ? "Choosing a stream’s recipe is for an operator" : "";
    if (this.#select.value === recipe.id) this.#write("recipe-version", `v${recipe.version}`);
  }

  get #inForce() {
    const { recipe, recipe_version: version } = this.#station.stream ?? {};
    return JSON.stringify([recipe, version]);
  }

  // While it may be open, or what was chosen is not in force yet.
  get #isUsed() {
    return this.#choosing?.streamName === this.#station.streamName || (document.activeElement === this.#select && performance.now() - this.#pressedAt < OPEN_FOR_MS);
  }

  async #choose(id) {
    const { streamName } = this.#station;
    this.#say("");
    this.#write("recipe-version", "");
    this.#pressedAt = -Infinity;
    const choice = { streamName };
    this.#choosing = choice;
    try {
      const { name, version } = await send("POST", `api/streams/${encodeURIComponent(streamName)}/recipe`, { recipe: id });
      this.#say(`${streamName} is inspected with ${name}, version ${version}.`);
    } catch (error) {
      this.#say(this.#station.streamName === streamName ? error.message : `${streamName}: ${error.message}`);
    }
    await this.#station.lookAtStreams();
    if (this.#choosing === choice) {
      this.#choosing = null;
      this.#saidOf = this.#inForce;
    }
    this.show();
  }

  #say(words) {
    this.#saidOf = null;
    this.#write("recipe-said", words);
  }

  #write(id, text) {
    if (this.#find(id).textContent !== text) this.#find(id).textContent = text;
  }

  #find(id) {
    return this.#root.querySelector(`#${id}`);
  }
}

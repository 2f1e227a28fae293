// What the watched stream is inspected with: its recipe, to be seen and to be changed.

import { may } from "../shared/me.js";
import { send } from "../shared/server.js";

export class RecipeSelect {
  #root;
  #station;
  #select;
  #offered = "";

  constructor(root, station) {
    this.#root = root;
    this.#station = station;
    this.#select = this.#find("recipe");
    this.#select.addEventListener("change", () => this.#choose(this.#select.value));
  }

  show() {
    const { recipes, recipe, stream } = this.#station;
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
    if (document.activeElement !== this.#select || this.#select.value === "") this.#select.value = recipe.id;
    this.#select.disabled = !may("operator");
    this.#select.title = this.#select.disabled ? "Choosing a stream’s recipe is for an operator" : "";
    this.#write("recipe-version", `v${recipe.version}`);
  }

  async #choose(id) {
    const { streamName } = this.#station;
    this.#write("recipe-said", "");
    try {
      const { name, version } = await send("POST", `api/streams/${encodeURIComponent(streamName)}/recipe`, { recipe: id });
      this.#write("recipe-said", `${streamName} is inspected with ${name}, version ${version}.`);
    } catch (error) {
      this.#write("recipe-said", error.message);
    }
    await this.#station.lookAtStreams();
    this.#select.value = this.#station.recipe?.id ?? "";
  }

  #write(id, text) {
    if (this.#find(id).textContent !== text) this.#find(id).textContent = text;
  }

  #find(id) {
    return this.#root.querySelector(`#${id}`);
  }
}

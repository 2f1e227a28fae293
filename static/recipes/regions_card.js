// The regions of a recipe on the live picture of one of its streams.

import { LivePicture } from "../shared/live_picture.js";
import { element } from "../shared/elements.js";
import { RegionsEditor } from "./regions/editor.js";
import * as requests from "./requests.js";

const NONE = "";

export class RegionsCard {
  #root;
  #station;
  #editor;
  #picture;
  #recipe = null;
  #chosen = null; // the stream whose picture is shown; null: not decided yet
  #offered = "";

  /** `save(regions)` makes them count and answers whether they do. */
  constructor(root, station, save) {
    this.#root = root;
    this.#station = station;
    this.#editor = new RegionsEditor(root, { onchange: () => this.#render() });
    this.#picture = new LivePicture(this.#find("regions-picture"), {
      onshape: (width, height) => {
        this.#editor.shapeTo(width, height);
        this.#find("regions-none").hidden = true;
      },
    });
    this.#find("regions-edit").addEventListener("click", () => this.#edit(!this.#editor.isEditing));
    this.#find("regions-drop").addEventListener("click", () => this.#drop());
    this.#find("regions-save").addEventListener("click", () => this.#save(save));
    this.#find("regions-source").addEventListener("change", (event) => this.#choose(event.target.value));
  }

  get isChanged() {
    return this.#editor.isChanged;
  }

  /** Show a recipe's regions; an edit that was begun stays, unless it is another recipe, or `over`. */
  show(recipe, { over = false } = {}) {
    const isOther = recipe.id !== this.#recipe?.id;
    const isNews = isOther || JSON.stringify([recipe.regions, recipe.model?.region]) !== JSON.stringify([this.#recipe.regions, this.#recipe.model?.region]);
    this.#recipe = recipe;
    if (isOther || over || (isNews && !this.#editor.isChanged)) this.#showInForce();
    if (isOther) {
      this.#chosen = null;
      this.#picture.clear();
      this.#edit(false);
    }
    this.offerStreams();
    this.#render();
  }

  /** The running streams changed. */
  offerStreams() {
    if (!this.#recipe) return;
    const running = this.#station.streams.map(({ name }) => name);
    const own = this.#recipe.streams.filter((name) => running.includes(name));
    if (this.#chosen === null || (this.#chosen !== NONE && !running.includes(this.#chosen) && own.length)) this.#choose(own[0] ?? running[0] ?? NONE);
    const names = [...own, ...running.filter((name) => !own.includes(name))];
    const key = JSON.stringify(names);
    const select = this.#find("regions-source");
    if (key !== this.#offered) {
      this.#offered = key; // an open list must not be rebuilt under the finger
      select.replaceChildren(...names.map((name) => element("option", { value: name }, own.includes(name) ? name : `${name} (another recipe)`)), element("option", { value: NONE }, "no picture"));
    }
    select.value = this.#chosen;
    this.#find("regions-source-field").hidden = names.length === 0;
  }

  /** The view is left: no picture is asked for any more. */
  rest() {
    this.#picture.clear();
    this.#chosen = null;
  }

  #choose(name) {
    this.#chosen = name;
    const { camera, ownName } = this.#station;
    this.#find("regions-none").hidden = false;
    if (name === NONE) this.#picture.clear();
    else if (name === ownName && camera.state === "live") this.#picture.showCamera(camera.stream);
    else this.#picture.showStream(name);
    if (name !== NONE) this.#showLatestKept(name);
  }

  // A stream may be between two pictures for a while: its latest kept frame shows the place until then.
  async #showLatestKept(name) {
    const [latest] = await requests.frames(name, "recent").catch(() => []);
    if (latest && this.#chosen === name && !this.#picture.isShown) this.#picture.standIn(latest.picture);
  }

  #edit(on) {
    this.#editor.edit(on);
    this.#render();
    if (on) this.#find("regions-picture").scrollIntoView({ block: "center" }); // the page does not scroll under a finger that draws
  }

  #showInForce() {
    this.#editor.show(this.#recipe.regions, this.#recipe.model?.region ?? null);
  }

  #drop() {
    this.#showInForce();
    this.#edit(false);
    this.#find("regions-edit").focus();
  }

  async #save(save) {
    const button = this.#find("regions-save");
    button.disabled = true;
    const drawn = JSON.stringify(this.#editor.regions);
    const { id } = this.#recipe;
    const isSaved = await save(JSON.parse(drawn));
    if (isSaved && id === this.#recipe.id) {
      if (JSON.stringify(this.#editor.regions) === drawn) this.#showInForce(); // what was drawn meanwhile is not saved
      this.#edit(false);
      this.#find("regions-edit").focus();
    }
    this.#render();
  }

  #render() {
    const { isEditing, isChanged } = this.#editor;
    this.#find("regions-edit").hidden = isEditing;
    this.#find("regions-save").hidden = this.#find("regions-drop").hidden = !isEditing;
    this.#find("regions-save").disabled = !isChanged;
    this.#find("regions-drop").textContent = isChanged ? "Drop the changes" : "Close";
    this.#find("regions-keys-hint").textContent = hint(this.#recipe);
  }

  #find(id) {
    return this.#root.querySelector(`#${id}`);
  }
}

function hint(recipe) {
  const { include, ignore } = recipe?.regions ?? { include: [], ignore: [] };
  if (include.length + ignore.length === 0) return "All of the bright box is inspected: it was found at teaching. Leave places out, or inspect only some.";
  return "Only what is bright is inspected. Hatched places are ignored.";
}

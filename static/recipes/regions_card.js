// The regions of a recipe on the live picture of one of its streams, or on a picture that it was taught on.

import { LivePicture } from "../shared/live_picture.js";
import { element, write } from "../shared/elements.js";
import { RegionsEditor } from "./regions/editor.js";
import * as requests from "./requests.js";

const NONE = "";
const TAUGHT = " "; // no stream is called so

export class RegionsCard {
  #root;
  #station;
  #editor;
  #picture;
  #recipe = null;
  #chosen = null; // the stream whose picture is shown, or TAUGHT; null: not decided yet
  #lacks = null; // the recipe of which no teaching picture lies here
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
    this.#find("regions-source").addEventListener("change", (event) => {
      this.#choose(event.target.value);
      this.offerStreams();
    });
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
    const taught = this.#recipe.model?.can_be_taught_more && this.#lacks !== this.#recipe.id ? [TAUGHT] : [];
    const isThere = [NONE, ...taught, ...running].includes(this.#chosen);
    if (this.#chosen === null || (!isThere && (own.length || this.#chosen === TAUGHT))) this.#choose(own[0] ?? taught[0] ?? running[0] ?? NONE);
    const names = [...own, ...taught, ...running.filter((name) => !own.includes(name))];
    const key = JSON.stringify([names, own]);
    const select = this.#find("regions-source");
    if (key !== this.#offered) {
      this.#offered = key; // an open list must not be rebuilt under the finger
      select.replaceChildren(...names.map((name) => element("option", { value: name }, name === TAUGHT ? "its teaching" : own.includes(name) ? name : `${name} (another recipe)`)), element("option", { value: NONE }, "no picture"));
    }
    select.value = this.#chosen;
    this.#find("regions-source-field").hidden = names.length === 0;
    write(this.#find("regions-other"), this.#sayWhose(own));
  }

  #sayWhose(own) {
    if (this.#chosen === NONE || own.includes(this.#chosen)) return "";
    if (this.#chosen === TAUGHT) return "This is one of the pictures it was taught on.";
    return `This picture shows another part: ${this.#chosen} is inspected with another recipe.`;
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
    else if (name === TAUGHT) this.#showTaught();
    else if (name === ownName && camera.state === "live") this.#picture.showCamera(camera.stream);
    else this.#picture.showStream(name);
    if (name !== NONE && name !== TAUGHT) this.#showLatestKept(name);
  }

  // Where a plant keeps its teaching pictures, they need not lie at this gateway.
  async #showTaught() {
    const { id } = this.#recipe;
    if (await this.#picture.showStill(requests.taughtPicture(id))) return;
    if (this.#recipe.id !== id || this.#chosen !== TAUGHT) return;
    this.#lacks = id;
    this.offerStreams();
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

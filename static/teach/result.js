// What was learned, and where to go from there.

import { write } from "../shared/elements.js";
import { sentence } from "../shared/sentence.js";
import { CAMERA } from "./sources.js";
import { recipe } from "../recipes/requests.js";
import { showNotes } from "./notes.js";

export class Result {
  #root;
  #station;
  #body = null;

  /** `again()` is called when another part is to be taught. */
  constructor(root, station, { go, again }) {
    this.#root = root;
    this.#station = station;
    const watch = () => {
      const { stream } = this.#body;
      if (stream && stream !== station.ownName) station.choose(`stream:${stream}`);
      else if (stream && !station.watchesCamera) station.choose(CAMERA);
      return go("live");
    };
    this.#find("teach-watch").addEventListener("click", watch);
    this.#find("teach-calibrate").addEventListener("click", async () => {
      await watch();
      document.getElementById("calibrate-button").scrollIntoView({ block: "center" });
      document.getElementById("calibrate-rule").focus({ preventScroll: true });
    });
    this.#find("teach-recipe").addEventListener("click", () => go("recipes", encodeURIComponent(this.#body.recipe)));
    this.#find("teach-again").addEventListener("click", again);
  }

  show(body) {
    this.#body = body;
    const { name, coverage, pictures, seconds, threshold, notes, stream, more_of: moreOf } = body;
    this.#find("teach-result").hidden = false;
    write(this.#find("teach-result-title"), moreOf ? `${name} has learned more` : `${name} is taught`);
    write(this.#find("teach-result-parts"), String(coverage.parts));
    write(this.#find("teach-result-pictures"), String(pictures.filter(({ used }) => used).length));
    write(this.#find("teach-result-seconds"), seconds === null ? "–" : `${seconds.toFixed(1)} s`);
    const promise = this.#find("teach-result-promise");
    promise.hidden = !threshold;
    write(promise, sentence(threshold));
    showNotes(this.#find("teach-result-notes"), notes);
    promise.dataset.kind = /nothing|too few/.test(threshold ?? "") ? "none" : "made";
    const isSimulated = Boolean(this.#station.streams.find(({ name: other }) => other === stream)?.simulated);
    const isUsed = stream !== null && !isSimulated;
    for (const id of ["teach-watch", "teach-calibrate"]) this.#find(id).hidden = !isUsed;
    this.#find("teach-recipe").classList.toggle("primary", !isUsed);
    const own = isSimulated ? "The simulated line keeps its own recipe. " : "";
    const next = this.#find("teach-result-next");
    write(next, isUsed ? `${stream} is inspected with it now.` : own);
    if (!isUsed) this.#sayWhereItIsUsed(next, own);
    this.#find("teach-result-title").focus();
  }

  // The server decides what becomes the default, so it is asked.
  async #sayWhereItIsUsed(next, own) {
    const body = this.#body;
    const made = await recipe(body.recipe).catch(() => null);
    if (body === this.#body) write(next, `${own}${usedWords(made)}`);
  }

  hide() {
    this.#find("teach-result").hidden = true;
  }

  #find(id) {
    return this.#root.querySelector(`#${id}`);
  }
}

function usedWords(recipe) {
  const open = "Open its recipe to put it on a stream";
  if (recipe?.streams.length) return `It inspects ${recipe.streams.join(", ")} now.`;
  if (recipe?.is_default) return `It is the default: a stream that no recipe is chosen for is inspected with it by itself. ${open} that has another.`;
  return recipe ? `It is on no stream now, and not the default. ${open}.` : `${open}.`;
}

// The view Recipes: all of them, and one opened beside the list, or instead of it on a small screen.

import { write } from "../shared/elements.js";
import { question } from "../shared/question.js";
import { sentence } from "../shared/sentence.js";
import { Unreachable } from "../shared/server.js";
import { showList } from "./list.js";
import { OpenedRecipe } from "./opened.js";
import * as requests from "./requests.js";

const LOOK_EVERY_MS = 3_000;
const DONE_STAYS_MS = 8_000;
const BESIDE = matchMedia("(min-width: 960px)");

let view = null;

/** `station` is static/shell/station.js, `root` this view's place in the document, `go(view, hash)` leads to another view. */
export function enter({ station, root, go }) {
  view ??= new Recipes(root, station, go);
  view.enter();
}

export function leave() {
  view?.leave();
}

class Recipes {
  #root;
  #station;
  #opened;
  #all = null; // null: not asked yet
  #timer = 0;
  #isAway = false;
  #silence = 0;
  #isShown = false;
  #isAsking = false; // whether what is written of the opened one may be dropped

  constructor(root, station, go) {
    this.#root = root;
    this.#station = station;
    this.#opened = new OpenedRecipe(this.#find("recipe-opened"), station, {
      say: (...words) => this.#say(...words),
      failed: (...what) => this.#failed(...what),
      changed: () => this.#look(),
      open: (id) => this.#open(id),
      close: () => this.#close(),
      teachMore: ({ id }) => go("teach", `more=${encodeURIComponent(id)}`),
    });
    this.#find("recipes-import").addEventListener("change", (event) => this.#import(event.target));
    station.on("streams", () => this.#isShown && this.#opened.showStreams());
    window.addEventListener("hashchange", () => this.#isShown && this.#show());
    BESIDE.addEventListener("change", () => this.#isShown && this.#turned());
    window.addEventListener("beforeunload", (event) => this.#opened.isChanged && event.preventDefault()); // the browser asks
  }

  async enter() {
    this.#isShown = true;
    this.#say("", "none");
    clearTimeout(this.#timer);
    await this.#look();
    this.#repeat();
  }

  leave() {
    this.#isShown = false;
    clearTimeout(this.#timer);
    this.#opened.rest();
  }

  #repeat() {
    clearTimeout(this.#timer);
    if (!this.#isShown) return;
    this.#timer = setTimeout(async () => {
      if (!document.hidden) await this.#look();
      this.#repeat();
    }, LOOK_EVERY_MS);
  }

  async #look() {
    try {
      this.#all = (await requests.recipes()).recipes;
    } catch (error) {
      if (this.#isShown) this.#say(sentence(error.message), "problem");
      this.#isAway = true;
      return;
    }
    if (this.#isAway) this.#say("", "none");
    this.#isAway = false;
    if (this.#isShown) this.#show();
  }

  // Where there is room for one beside the list and none was asked for, it is the one that was seen last, or the default.
  #show({ mayDrop = false } = {}) {
    if (this.#all === null || this.#isAsking) return;
    const wanted = decodeURIComponent(location.hash.slice(1));
    const of = (id) => this.#all.find((recipe) => recipe.id === id);
    const found = of(wanted) ?? (BESIDE.matches ? (of(this.#opened.id) ?? this.#all.find(({ is_default: isDefault }) => isDefault) ?? this.#all[0]) : undefined);
    if (!mayDrop && found && found.id !== this.#opened.id && this.#opened.isChanged) {
      this.#askToLeave();
      return;
    }
    showList(this.#find("recipes-list"), this.#all, found?.id, (id) => this.#open(id));
    this.#find("recipes-empty").hidden = this.#all.length > 0;
    this.#find("recipes-panes").dataset.opened = String(Boolean(found));
    if (found) this.#opened.show(found, this.#all);
    else this.#opened.hide();
  }

  // The browser's Back, or a link, leads to another one: the address goes back where it is not to be.
  async #askToLeave() {
    this.#isAsking = true;
    const mayDrop = await this.#mayDrop();
    this.#isAsking = false;
    if (!this.#isShown) return;
    if (!mayDrop) history.pushState(null, "", `#${encodeURIComponent(this.#opened.id)}`);
    this.#show({ mayDrop });
  }

  // A tablet was turned: where there is room for one thing only, it is what somebody is editing.
  #turned() {
    if (!BESIDE.matches && this.#opened.isChanged) history.replaceState(history.state, "", `#${encodeURIComponent(this.#opened.id)}`);
    this.#show();
  }

  async #open(id) {
    if (!this.#isShown) return; // what was asked for here came late: the address is another view's
    if (id !== this.#opened.id && this.#opened.isChanged && !(await this.#mayDrop())) return;
    history.pushState(null, "", `#${encodeURIComponent(id)}`);
    this.#say("", "none");
    this.#show({ mayDrop: true });
    if (!BESIDE.matches) window.scrollTo(0, 0);
    this.#opened.focus();
  }

  #close() {
    this.#opened.hide();
    if (!this.#isShown) return;
    history.pushState(null, "", location.pathname + location.search);
    this.#show();
    this.#root.querySelector(".view-title").focus();
  }

  async #mayDrop() {
    const name = this.#all.find(({ id }) => id === this.#opened.id)?.name;
    return name === undefined || question({ title: `Leave ${name}?`, text: "What was changed of it is not saved, and is lost when another recipe is opened.", yes: "Leave it", no: "Stay" });
  }

  async #import(field) {
    const [file] = field.files;
    field.value = ""; // the same file may be chosen again
    if (!file) return;
    this.#say(`Bringing in ${file.name}…`, "none");
    try {
      const made = await requests.bringIn(file);
      await this.#look();
      await this.#open(made.id);
      this.#say(`${made.name} is here.${this.#opened.id === made.id ? " Put it on a stream below." : ""}`, "done");
    } catch (error) {
      this.#failed(error);
    }
  }

  #failed(error, of = "") {
    this.#say(`${of}${sentence(error.message)}`, "problem");
    this.#isAway ||= error instanceof Unreachable; // that goes when it answers again
  }

  #say(words, kind) {
    const told = this.#find("recipes-told");
    told.dataset.kind = words ? kind : "none";
    write(told, words);
    clearTimeout(this.#silence);
    if (kind === "done") this.#silence = setTimeout(() => this.#say("", "none"), DONE_STAYS_MS);
  }

  #find(id) {
    return this.#root.querySelector(`#${id}`);
  }
}

// The view History: every part and alarm as a gallery, the numbers a line is run by, and the changes of all recipes.

import { element, write } from "../shared/elements.js";
import { sentence } from "../shared/sentence.js";
import * as recipeRequests from "../recipes/requests.js";
import { AlarmsInMemory } from "./memory.js";
import { Filters } from "./filters.js";
import { Gallery } from "./gallery.js";
import { KnownStreams } from "./known_streams.js";
import { NumbersPanel } from "./numbers.js";
import { Opened } from "./opened.js";
import { TeachFrom } from "./teach_from.js";
import { showChanges } from "./changes.js";
import { gigabytes, number } from "./words.js";
import * as requests from "./requests.js";

const LOOK_EVERY_MS = 5_000;
const PANELS = ["parts", "numbers", "changes"];

let view = null;

/** `station` is static/shell/station.js, `root` this view's place in the document, `go(view, hash)` leads to another view. */
export function enter({ station, root, go }) {
  view ??= new History(root, station, go);
  view.enter();
}

export function leave() {
  view?.leave();
}

class History {
  #root;
  #station;
  #known;
  #filters;
  #gallery;
  #opened;
  #numbers;
  #teachFrom;
  #memory;
  #timer = 0;
  #isShown = false;
  #panel = "parts";
  #recipes = [];
  #isThere = null; // whether the history answers; null before it was asked
  #isStale = true; // what the gallery shows is of other filters

  constructor(root, station, go) {
    this.#root = root;
    this.#station = station;
    const recipeName = (id) => this.#recipes.find((one) => one.id === id)?.name ?? id;
    const onteach = (entries) => this.#teach(entries);
    this.#gallery = new Gallery(root, { onopen: (entry) => this.#opened.open(entry), onteach });
    this.#opened = new Opened(root, this.#gallery, { onchanged: (entry) => this.#gallery.put(entry), onteach, recipeName });
    this.#filters = new Filters(root, () => this.#filtered());
    this.#known = new KnownStreams(station);
    this.#numbers = new NumbersPanel(root, this.#known, { recipeName });
    this.#teachFrom = new TeachFrom(root, go, () => this.#taught());
    this.#memory = new AlarmsInMemory(root, station);
    this.#find("history-tabs").addEventListener("click", (event) => this.#tab(event));
    window.addEventListener("popstate", () => this.#isShown && this.#read());
  }

  enter() {
    this.#isShown = true;
    this.#read();
  }

  leave() {
    this.#isShown = false;
    clearTimeout(this.#timer);
    this.#opened.close();
    this.#teachFrom.close();
  }

  // What is shown, and what it is filtered by, stands in the address.
  #read() {
    const asked = new URLSearchParams(location.search).get("show");
    this.#panel = PANELS.includes(asked) ? asked : "parts";
    for (const link of this.#find("history-tabs").children) {
      if (link.dataset.show === this.#panel) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    this.#showPanels();
    this.#filters.read();
    this.#numbers.read();
    this.#isStale = true;
    this.#repeat();
  }

  #tab(event) {
    const link = event.target.closest("a[data-show]");
    if (!link || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    if (link.href !== location.href) history.pushState(null, "", link.href);
    this.#read();
  }

  #showPanels() {
    for (const panel of this.#root.querySelectorAll("[data-panel]")) panel.hidden = panel.dataset.panel !== this.#panel;
    this.#find("history-parts").hidden ||= this.#isThere === false;
    this.#find("history-memory").hidden ||= this.#isThere !== false;
  }

  #filtered() {
    this.#isStale = true;
    this.#repeat();
  }

  async #repeat() {
    clearTimeout(this.#timer);
    if (!document.hidden) await this.#look().catch((error) => this.#say("problem", error.message));
    clearTimeout(this.#timer);
    if (this.#isShown) this.#timer = setTimeout(() => this.#repeat(), LOOK_EVERY_MS);
  }

  async #look() {
    const known = this.#lookAtRecipes();
    if (this.#panel === "changes") return known.then((all) => all && this.#showChanges(all));
    if (this.#station.streamsAt === 0) await this.#station.lookAtStreams();
    try {
      if (this.#panel === "numbers") await this.#numbers.show();
      else await this.#showParts();
      this.#there(true);
      this.#say("none", "");
    } catch (error) {
      if (error.status !== 404 && error.status !== 503) throw error;
      const why = error.status === 404 ? "This server keeps no history." : sentence(error.message);
      this.#there(false);
      if (this.#panel === "numbers") this.#numbers.away(why);
      else await this.#memory.show(why);
    }
    await this.#showNotes();
  }

  async #showParts() {
    if (this.#isStale) {
      this.#isStale = false;
      try {
        await this.#gallery.show(this.#filters.asked);
      } catch (error) {
        this.#isStale = true;
        throw error;
      }
    } else await this.#gallery.refresh();
    this.#opened.update();
  }

  #there(isThere) {
    if (this.#isThere === isThere) return;
    this.#isThere = isThere;
    this.#showPanels();
  }

  async #lookAtRecipes() {
    let all;
    try {
      all = (await recipeRequests.recipes()).recipes;
    } catch (error) {
      if (this.#panel === "changes") throw error;
      return null;
    }
    this.#recipes = all;
    await this.#known.look();
    this.#filters.offer(this.#known.names, all);
    return all;
  }

  async #showChanges(all) {
    const histories = await Promise.all(all.map(async ({ id, name }) => (await recipeRequests.history(id).catch(() => [])).map((change) => ({ ...change, recipe: name }))));
    showChanges(this.#find("history-changes"), histories.flat().sort((a, b) => b.when.localeCompare(a.when)));
    this.#say("none", "");
  }

  // What somebody has to see to: the database, the disk.
  async #showNotes() {
    const [archive, state] = await Promise.all([requests.archive().catch(() => null), requests.state().catch(() => null)]);
    if (state !== null) this.#find("parts-parquet").hidden = !state.parquet;
    const notes = [];
    if (state?.warning && this.#isThere) notes.push(sentence(state.warning));
    if (archive?.problem) notes.push(sentence(archive.problem));
    if (archive && !archive.on) notes.push("Pictures are not archived: ARCHIVE_GB is 0.");
    if (archive?.dropped > 0 && !archive.problem) notes.push(`${number(archive.dropped)} pictures were not kept since the start: they came faster than the disk takes them.`);
    if (archive?.on && archive.counted && archive.bytes > 0.9 * archive.limit_bytes) notes.push(`The archive is full (${gigabytes(archive.bytes)} of ${gigabytes(archive.limit_bytes)}, back to ${archive.oldest}): the oldest pictures go. ARCHIVE_GB gives it more.`);
    const list = this.#find("history-notes");
    if (list.dataset.told === notes.join()) return;
    list.dataset.told = notes.join();
    list.replaceChildren(...notes.map((words) => element("li", {}, words)));
  }

  #teach(entries) {
    const isBad = ({ verdict, disposition }) => disposition === "escape" || (verdict === "ANOMALY" && disposition !== "false_reject");
    this.#teachFrom.open(
      entries.map(({ id }) => id),
      entries[0].recipe,
      entries.filter(isBad).length,
    );
  }

  #taught() {
    this.#opened.close();
    this.#gallery.deselect();
  }

  #say(kind, words) {
    this.#find("history-told").dataset.kind = kind;
    write(this.#find("history-told"), words);
  }

  #find(id) {
    return this.#root.querySelector(`#${id}`);
  }
}

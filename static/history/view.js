// The view History: what is there until parts are kept: the changes of all recipes, and the alarms since the server started.

import { address } from "../shared/address.js";
import { element, keep, write } from "../shared/elements.js";
import { timeElement } from "../shared/moments.js";
import * as requests from "../recipes/requests.js";
import { showChanges } from "./changes.js";

const LOOK_EVERY_MS = 5_000;
const MOST_SHOWN = 60;

let view = null;

/** `station` is static/shell/station.js, `root` this view's place in the document. */
export function enter({ station, root }) {
  view ??= new History(root, station);
  view.enter();
}

export function leave() {
  view?.leave();
}

class History {
  #root;
  #station;
  #timer = 0;
  #isShown = false;

  constructor(root, station) {
    this.#root = root;
    this.#station = station;
  }

  enter() {
    this.#isShown = true;
    this.#repeat();
  }

  leave() {
    this.#isShown = false;
    clearTimeout(this.#timer);
  }

  async #repeat() {
    clearTimeout(this.#timer);
    if (!document.hidden) await Promise.all([this.#showAlarms(), this.#showChanges()]);
    if (this.#isShown) this.#timer = setTimeout(() => this.#repeat(), LOOK_EVERY_MS);
  }

  async #showAlarms() {
    if (this.#station.streamsAt === 0) await this.#station.lookAtStreams();
    const names = this.#station.streams.map(({ name }) => name);
    const kept = (await Promise.all(names.map((name) => requests.frames(name, "alarm").catch(() => [])))).flat();
    kept.sort((a, b) => b.at.localeCompare(a.at));
    keep(this.#find("history-alarms"), kept.slice(0, MOST_SHOWN), ({ id }) => id, alarm, (made, { disposition }) => {
      made.dataset.disposition = disposition ?? "";
      write(made.querySelector(".alarm-said"), disposition ? `was ${disposition}` : "");
    });
    this.#find("history-no-alarms").hidden = kept.length > 0;
    write(this.#find("history-alarms-count"), kept.length > MOST_SHOWN ? `the latest ${MOST_SHOWN} of ${kept.length}` : kept.length ? String(kept.length) : "");
  }

  async #showChanges() {
    let all;
    try {
      all = (await requests.recipes()).recipes;
    } catch (error) {
      write(this.#find("history-told"), error.message);
      this.#find("history-told").dataset.kind = "problem";
      return;
    }
    write(this.#find("history-told"), "");
    this.#find("history-told").dataset.kind = "none";
    const histories = await Promise.all(all.map(async ({ id, name }) => (await requests.history(id).catch(() => [])).map((change) => ({ ...change, recipe: name }))));
    showChanges(this.#find("history-changes"), histories.flat().sort((a, b) => b.when.localeCompare(a.when)));
  }

  #find(id) {
    return this.#root.querySelector(`#${id}`);
  }
}

function alarm({ stream, at, picture, heatmap, part }) {
  const image = element("img", { src: address(picture), alt: `Alarm on ${stream}`, loading: "lazy" });
  const where = element("img", { src: address(heatmap), alt: "", loading: "lazy", className: "alarm-heat" });
  const gone = () => image.replaceWith(element("p", { className: "picture-gone" }, "not kept any more"));
  image.addEventListener("error", gone, { once: true });
  where.addEventListener("error", () => where.remove(), { once: true });
  return element(
    "li",
    { className: "alarm", data: { testid: "alarm-kept" } },
    element("div", { className: "alarm-picture" }, image, where),
    element("p", {}, timeElement(at)),
    element("p", { className: "alarm-where" }, stream, part ? ` · part ${part}` : ""),
    element("p", { className: "alarm-said" }),
  );
}

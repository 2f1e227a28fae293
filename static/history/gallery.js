// The parts as pictures, newest first; older ones as they are scrolled to, newer ones as they come.

import { address } from "../shared/address.js";
import { count as inWords } from "../shared/count.js";
import { element, keep, write } from "../shared/elements.js";
import * as requests from "./requests.js";
import { MARK, SAID, VERDICT, moment, number, score } from "./words.js";

const MOST_SHOWN = 960;
const MOST_SELECTED = 300; // as the server takes them
const EMPTY_PAGES = 4; // in a row, before somebody has to press for more
const NONE = {
  ANOMALY: "No reject fits. Other times, streams or verdicts may.",
  NORMAL: "No good part with a picture fits: of good parts one in a while is kept (ARCHIVE_NORMALS_S).",
  FAILED: "No part failed.",
};

export class Gallery {
  entries = [];
  #root;
  #list;
  #onopen;
  #onteach;
  #asked = {};
  #next = null;
  #turn = 0; // of what is asked for; older answers are thrown away
  #isLoading = false;
  #isSelecting = false;
  #selected = new Set();

  /** `onopen(entry)` is called with what was pressed, `onteach(entries)` with what was selected. */
  constructor(root, { onopen, onteach }) {
    this.#root = root;
    this.#list = this.#find("history-gallery");
    this.#onopen = onopen;
    this.#onteach = onteach;
    this.#find("history-more").addEventListener("click", () => this.more());
    this.#find("history-select").addEventListener("click", () => this.#select(!this.#isSelecting));
    this.#find("history-teach").addEventListener("click", () => this.#onteach(this.entries.filter(({ id }) => this.#selected.has(id))));
    const seen = new IntersectionObserver((changes) => changes.some(({ isIntersecting }) => isIntersecting) && this.more(), { rootMargin: "600px" });
    seen.observe(this.#find("history-more"));
  }

  /** Show what fits other filters, from the newest on. What is not shown any more is not selected any more. */
  async show(asked) {
    const turn = ++this.#turn;
    this.#asked = asked;
    this.#list.setAttribute("aria-busy", "true");
    try {
      const page = await requests.entries(asked);
      if (turn !== this.#turn) return;
      this.entries = page.entries;
      this.#next = page.next;
      this.#selected = new Set(page.entries.map(({ id }) => id).filter((id) => this.#selected.has(id)));
      this.#render();
      if (page.entries.length === 0 && page.next !== null) this.more();
    } finally {
      if (turn === this.#turn) this.#list.setAttribute("aria-busy", "false");
    }
    requests.count(asked).then(
      ({ count, exact }) => turn === this.#turn && this.#say(count, exact),
      () => {},
    );
  }

  /** Newer ones, and what was said elsewhere. */
  async refresh() {
    if (this.#isSelecting) return; // nothing moves below the finger
    const turn = this.#turn;
    const { entries, next } = await requests.entries(this.#asked);
    if (turn !== this.#turn || this.#isLoading || this.#isSelecting) return;
    const known = new Map(this.entries.map((entry) => [entry.id, entry]));
    const isNew = entries.some(({ id }) => !known.has(id));
    const oldest = entries.at(-1)?.seq ?? Infinity;
    if (entries.length > 0 && this.entries.length > 0 && !entries.some(({ id }) => known.has(id))) {
      this.entries = entries; // so many came that there would be a gap
      this.#next = next;
    } else this.entries = [...entries, ...this.entries.filter(({ seq }) => seq < oldest)].slice(0, MOST_SHOWN);
    this.#render();
    if (isNew) requests.count(this.#asked).then(({ count, exact }) => turn === this.#turn && this.#say(count, exact), () => {});
  }

  /** Older ones. */
  async more() {
    if (this.#isLoading || this.#next === null || this.entries.length >= MOST_SHOWN) return;
    const turn = this.#turn;
    this.#isLoading = true;
    try {
      for (let empty = 0; empty < EMPTY_PAGES && this.#next !== null; empty += 1) {
        const page = await requests.entries(this.#asked, this.#next);
        if (turn !== this.#turn) return;
        this.#next = page.next;
        this.entries.push(...page.entries);
        if (page.entries.length > 0) break;
      }
      this.#render();
    } catch {
      this.#render(); // the button asks again
    } finally {
      this.#isLoading = false;
    }
  }

  /** Another one of the same id. */
  put(entry) {
    const at = this.entries.findIndex(({ id }) => id === entry.id);
    if (at >= 0) this.entries[at] = entry;
    this.#render();
  }

  get hasMore() {
    return this.#next !== null && this.entries.length < MOST_SHOWN;
  }

  deselect() {
    this.#select(false);
  }

  focus(id) {
    this.#list.querySelector(`[data-key="${CSS.escape(id)}"] button`)?.focus();
  }

  #render() {
    keep(
      this.#list,
      this.entries,
      ({ id }) => id,
      (entry) => this.#tile(entry),
      (made, entry) => this.#update(made, entry),
    );
    const none = this.entries.length === 0;
    this.#find("history-empty").hidden = !none || this.#next !== null;
    write(this.#find("history-empty"), NONE[this.#asked.verdict] ?? "Nothing fits: choose other times, streams or verdicts.");
    this.#find("history-more").hidden = this.#next === null || this.entries.length >= MOST_SHOWN;
    this.#find("history-selection").hidden = none;
    if (this.entries.length >= MOST_SHOWN) write(this.#find("history-count"), `the newest ${number(MOST_SHOWN)}: filter by time to see older ones`);
    this.#showSelection();
  }

  #tile(entry) {
    return element(
      "li",
      { className: "part-tile", data: { testid: "part-tile" } },
      element(
        "button",
        { type: "button", className: "part-open", on: { click: () => this.#pressed(entry.id) } },
        element("span", { className: "part-picture" }),
        element("span", { className: "part-mark", "aria-hidden": "true" }, MARK[entry.verdict]),
        element("span", { className: "part-tick", "aria-hidden": "true" }, "✓"),
      ),
      element("p", { className: "part-when" }, element("time", { dateTime: entry.at }, moment(entry.at)), element("span", {}, score(entry.score))),
      element("p", { className: "part-where" }, entry.stream, entry.part ? ` · ${entry.part}` : ""),
      element("p", { className: "part-said" }),
    );
  }

  #update(made, entry) {
    made.dataset.verdict = entry.verdict;
    made.dataset.said = entry.disposition ?? "";
    const button = made.firstElementChild;
    if (made.dataset.kept !== String(entry.picture_kept)) {
      made.dataset.kept = String(entry.picture_kept);
      button.firstElementChild.replaceChildren(entry.picture_kept ? small(entry.id) : none("no picture"));
    }
    write(made.querySelector(".part-said"), SAID[entry.disposition] ?? "");
    const said = SAID[entry.disposition] ?? "not judged yet";
    button.setAttribute("aria-label", `${VERDICT[entry.verdict]} at ${moment(entry.at)}, ${entry.stream}${entry.part ? `, part ${entry.part}` : ""}, score ${score(entry.score)}, ${said}`);
    if (this.#isSelecting) button.setAttribute("aria-pressed", String(this.#selected.has(entry.id)));
    else button.removeAttribute("aria-pressed");
    button.disabled = this.#isSelecting && !entry.picture_kept;
  }

  #pressed(id) {
    const entry = this.entries.find((one) => one.id === id);
    if (!entry) return;
    if (!this.#isSelecting) return this.#onopen(entry);
    if (this.#selected.has(id)) this.#selected.delete(id);
    else if (this.#selected.size < MOST_SELECTED) this.#selected.add(id);
    this.#render();
  }

  #select(on) {
    this.#isSelecting = on;
    this.#selected.clear();
    this.#render();
  }

  #showSelection() {
    const { size } = this.#selected;
    this.#find("history-selection").dataset.on = String(this.#isSelecting);
    this.#find("history-select").setAttribute("aria-pressed", String(this.#isSelecting));
    write(this.#find("history-select"), this.#isSelecting ? "Done selecting" : "Select");
    write(this.#find("history-selected"), this.#isSelecting ? (size ? `${inWords(size, "picture")} selected` : "Press pictures of good parts.") : "");
    this.#find("history-teach").hidden = size === 0;
  }

  #say(count, exact) {
    if (this.entries.length < MOST_SHOWN) write(this.#find("history-count"), count ? `${number(count)}${exact ? "" : " and more"}` : "");
  }

  #find(id) {
    return this.#root.querySelector(`#${id}`);
  }
}

function small(id) {
  const made = element("img", { src: address(`api/history/${encodeURIComponent(id)}/thumbnail`), alt: "", loading: "lazy", decoding: "async" });
  made.addEventListener("error", () => made.replaceWith(none("not kept any more")), { once: true });
  return made;
}

function none(words) {
  return element("span", { className: "part-none" }, words);
}

// What the gallery is filtered by: a form whose values stand in the page's address, so that a filter can be kept and sent on.

import { element, write } from "../shared/elements.js";

const FIELDS = ["since", "until", "stream", "recipe", "disposition", "score_from", "score_to", "part", "pictured"];
const DEFAULT_VERDICT = "ANOMALY";

export class Filters {
  #form;
  #root;
  #onchange;
  #timer = 0;

  /** `onchange()` is called when something else is wanted. */
  constructor(root, onchange) {
    this.#root = root;
    this.#form = root.querySelector("#history-filters");
    this.#onchange = onchange;
    this.#form.addEventListener("submit", (event) => event.preventDefault());
    this.#form.addEventListener("change", () => this.#changed());
    this.#form.addEventListener("input", ({ target }) => {
      clearTimeout(this.#timer);
      if (target.type === "text" || target.type === "number") this.#timer = setTimeout(() => this.#changed(), 600);
    });
    root.querySelector("#history-clear").addEventListener("click", () => this.#clear());
  }

  /** Take what the address says. */
  read() {
    const asked = new URLSearchParams(location.search);
    const verdict = asked.get("verdict") === "all" ? "" : (asked.get("verdict") ?? DEFAULT_VERDICT);
    for (const input of this.#form.elements.verdict) input.checked = input.value === verdict;
    for (const name of FIELDS) {
      const field = this.#form.elements[name];
      const value = asked.get(name) ?? "";
      if (field.tagName === "SELECT" && value && ![...field.options].some((option) => option.value === value)) field.append(element("option", { value }, value));
      field.value = value;
    }
    if (this.#on.length > 0) this.#root.querySelector("#history-more-filters").open = true;
    this.#showOn();
  }

  /** Which streams and recipes there are to choose from. */
  offer(streams, recipes) {
    this.#options("stream", "all streams", streams.map((name) => [name, name]));
    this.#options("recipe", "all recipes", recipes.map(({ id, name }) => [id, name]));
  }

  /** As the server takes them. */
  get asked() {
    const asked = {};
    const verdict = this.#form.elements.verdict.value;
    if (verdict) asked.verdict = verdict;
    for (const name of FIELDS) {
      const { value } = this.#form.elements[name];
      if (value && name !== "pictured") asked[name] = name === "since" || name === "until" ? new Date(value).toISOString() : value;
    }
    // Most good parts have no picture, and what failed never has one.
    if (!this.#form.elements.pictured.value && verdict !== "FAILED") asked.pictured = "true";
    return asked;
  }

  get #on() {
    return FIELDS.filter((name) => this.#form.elements[name].value);
  }

  #options(name, all, known) {
    const select = this.#form.elements[name];
    const { value } = select;
    const options = [["", all], ...known];
    if (value && !known.some(([id]) => id === value)) options.push([value, value]);
    const key = JSON.stringify(options);
    if (select.dataset.told === key) return;
    select.dataset.told = key;
    select.replaceChildren(...options.map(([id, words]) => element("option", { value: id }, words)));
    select.value = value;
  }

  #clear() {
    for (const name of FIELDS) this.#form.elements[name].value = "";
    this.#changed();
  }

  #changed() {
    clearTimeout(this.#timer);
    const asked = new URLSearchParams();
    const verdict = this.#form.elements.verdict.value;
    if (verdict !== DEFAULT_VERDICT) asked.set("verdict", verdict || "all");
    for (const name of this.#on) asked.set(name, this.#form.elements[name].value);
    const query = asked.toString();
    history.replaceState(history.state, "", location.pathname + (query && `?${query}`) + location.hash);
    this.#showOn();
    this.#onchange();
  }

  #showOn() {
    const on = this.#on.length;
    write(this.#root.querySelector("#history-filters-on"), on ? ` · ${on} on` : "");
  }
}

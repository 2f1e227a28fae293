// The audit log: the newest entries, older ones at a press, filtered by words.

import { demand } from "../../shared/server.js";
import { element, keep, write } from "../../shared/elements.js";
import { sentence } from "../../shared/sentence.js";
import { timeElement } from "../../shared/moments.js";

const MOST_SHOWN = 2_000;

export class AuditLog {
  #root;
  #entries = [];
  #next = null;
  #unread = false;

  constructor(root) {
    this.#root = root;
    this.#find("audit-filter").addEventListener("input", () => this.#render());
    this.#find("audit-more").addEventListener("click", () => this.#more());
  }

  /** The newest; older ones that are here stay, but where a gap would be. Where the log cannot be read it says so here:
      people and machines are shown all the same, to be thrown out. */
  async look() {
    let newest;
    try {
      newest = await demand("api/audit");
    } catch (error) {
      write(this.#find("audit-told"), sentence(error.message));
      this.#unread = true;
      return;
    }
    if (this.#unread) write(this.#find("audit-told"), "");
    this.#unread = false;
    const { entries, next, warning } = newest;
    const known = this.#entries[0]?.seq ?? -1;
    const joins = entries.some(({ seq }) => seq === known);
    if (!joins) this.#next = next;
    this.#entries = joins ? [...entries.filter(({ seq }) => seq > known), ...this.#entries].slice(0, MOST_SHOWN) : entries;
    write(this.#find("audit-warning"), sentence(warning));
    this.#render();
  }

  async #more() {
    try {
      const { entries, next } = await demand(`api/audit?before=${this.#next}`);
      this.#entries.push(...entries);
      this.#next = next;
      write(this.#find("audit-told"), "");
    } catch (error) {
      write(this.#find("audit-told"), sentence(error.message));
    }
    this.#render();
  }

  #render() {
    const wanted = this.#find("audit-filter").value.trim().toLowerCase().split(/\s+/);
    const shown = this.#entries.filter((entry) => wanted.every((word) => wordsOf(entry).includes(word)));
    keep(this.#find("audit"), shown, ({ seq }) => seq, item);
    this.#find("audit-none").hidden = shown.length > 0 || this.#entries.length === 0;
    this.#find("audit-more").hidden = this.#next === null || this.#entries.length >= MOST_SHOWN;
  }

  #find(id) {
    return this.#root.querySelector(`#${id}`);
  }
}

function wordsOf({ at, who, how, role, address, what, detail, method, path, status }) {
  return [at, who, how, role, address, what, detail, method, path, status].join(" ").toLowerCase();
}

function item({ at, who, role, address, what, detail, method, path, status }) {
  const request = method ? `${method} ${path}, ${status}` : "";
  return element(
    "li",
    { data: { testid: "audit-entry" } },
    timeElement(at),
    element("div", {}, element("p", {}, element("strong", {}, who || "nobody"), `: ${what}${detail ? `, ${detail}` : ""}`), element("p", {}, [role, address, request].filter(Boolean).join(" · "))),
  );
}

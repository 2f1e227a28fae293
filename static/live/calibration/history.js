// The thresholds that were in force, newest first, and the way back.

import { ruleWords } from "./rules.js";
import { count } from "../../shared/count.js";
import { distance, sentence, when } from "./words.js";
import * as requests from "./requests.js";

export class HistoryDialog {
  #dialog;
  #on;
  #of = null; // { stream, recipe } whose history is shown
  #newest = null; // the change that would be taken back: somebody else may make another meanwhile
  #turn = 0; // of what is asked for; older answers are thrown away

  /**
   * `on`: `shown()` answers the stream and its recipe, `{ stream, recipe }`; `shows(of)` whether it is still these; `changed(words, of)` is called
   * with what was done after the threshold changed.
   */
  constructor(dialog, on) {
    this.#dialog = dialog;
    this.#on = on;
    this.#find("history-undo").addEventListener("click", () => this.#change(({ stream }) => undo(stream, this.#newest)));
    this.#find("history-reset").addEventListener("click", () => this.#change(({ stream }) => reset(stream)));
    this.#find("history-close").addEventListener("click", () => dialog.close());
  }

  async open() {
    const turn = ++this.#turn;
    this.#of = this.#on.shown();
    this.#say("Asking the server");
    this.#find("history-list").replaceChildren();
    this.#find("history-undo").disabled = true;
    this.#dialog.showModal();
    this.#find("history-title").focus();
    try {
      const entries = await requests.history(this.#of.stream);
      if (turn !== this.#turn) return;
      this.#find("history-list").replaceChildren(...entries.map(entry));
      this.#newest = entries.find(({ action, undone }) => action !== "undo" && !undone)?.when ?? null;
      this.#find("history-undo").disabled = this.#newest === null;
      this.#say(entries.length === 0 ? "Nothing was calibrated yet." : "");
    } catch (error) {
      if (turn === this.#turn) this.#say(error.message);
    }
  }

  /** Whether there is a calibration to go back from. */
  allowReset(stored) {
    this.#find("history-reset").disabled = !stored;
  }

  async #change(change) {
    const [turn, of] = [this.#turn, this.#of];
    if (!this.#on.shows(of)) return this.#say("Another stream or recipe is watched by now: close this, and open it again.");
    try {
      const words = await change(of);
      if (turn === this.#turn) this.#dialog.close();
      this.#on.changed(words, of);
    } catch (error) {
      if (turn === this.#turn) this.#say(error.message);
    }
  }

  #say(words) {
    this.#find("history-status").textContent = words;
  }

  #find(id) {
    return this.#dialog.querySelector(`#${id}`);
  }
}

/** Take back the change that was made `when`, if it is still the newest; says what is in force then. */
export async function undo(stream, when) {
  return `Undone: ${again(await requests.undo(stream, when))}`;
}

async function reset(stream) {
  return `Calibration forgotten: ${again(await requests.forget(stream))}`;
}

function again({ threshold, threshold_source: source }) {
  return source === "uncalibrated" ? "there is no threshold again." : `the threshold is ${distance(threshold)} again.`;
}

function entry({ when: at, who, from, to, why, rule, n, undone }) {
  const item = document.createElement("li");
  item.dataset.undone = String(undone);
  const change = document.createElement("p");
  change.className = "history-change";
  change.append(`${threshold(from)} → `, strong(threshold(to)));
  const made = rule ? sentence(`${ruleWords(rule)}, from ${count(n, "part")}`) : "";
  item.append(time(at), change, line(`${sentence(why)}${undone ? " Taken back later." : ""}`), line(made), line(`By ${who}`));
  return item;
}

function threshold(raw) {
  return raw == null ? "none" : distance(raw);
}

function time(iso) {
  const made = document.createElement("time");
  made.dateTime = iso;
  made.textContent = when(iso);
  return made;
}

function strong(words) {
  const made = document.createElement("strong");
  made.textContent = words;
  return made;
}

function line(words) {
  const made = document.createElement("p");
  made.textContent = words;
  return made;
}

// One part, opened: its picture as it was seen live, all that is known of it, and one key to say what it was.

import { address } from "../shared/address.js";
import { element, write } from "../shared/elements.js";
import { correctionSheet } from "../live/correction/sheet.js";
import { may } from "../shared/me.js";
import { sentence } from "../shared/sentence.js";
import * as requests from "./requests.js";
import { SAID, VERDICT, milliseconds, moment, score } from "./words.js";

const KEYS = { c: "confirmed", f: "false_reject", e: "escape" };
const SOURCE = { trigger: "a trigger", gate: "it came into the picture", id: "the line named it", frame: "a frame" };
const WHY_NOT = {
  confirmed: "It passed: only an escape can be said of it.",
  false_reject: "It passed: only an escape can be said of it.",
  escape: "It was rejected: an escape is a bad part that passed.",
};
const FAILED = "It was not inspected: nothing can be said of its verdict but that.";

export class Opened {
  #dialog;
  #gallery;
  #onchanged;
  #onteach;
  #recipeName;
  #entry = null;
  #said = Promise.resolve();
  #turn = 0;

  /** `onchanged(entry)` is called after something was said, `onteach(entries)` when it is to be taught from; `recipeName(id)` says what a recipe is called. */
  constructor(root, gallery, { onchanged, onteach, recipeName }) {
    this.#dialog = root.querySelector("#opened");
    this.#gallery = gallery;
    this.#onchanged = onchanged;
    this.#onteach = onteach;
    this.#recipeName = recipeName;
    this.#find("opened-close").addEventListener("click", () => this.#dialog.close());
    this.#find("opened-newer").addEventListener("click", () => this.#step(-1));
    this.#find("opened-older").addEventListener("click", () => this.#step(1));
    this.#find("opened-heat-on").addEventListener("change", () => this.#showHeat());
    for (const button of this.#says) button.addEventListener("click", () => this.#say(button.dataset.disposition));
    this.#find("opened-forgive").addEventListener("click", () => this.#correct("good"));
    this.#find("opened-remember").addEventListener("click", () => this.#correct("bad"));
    this.#find("opened-teach").addEventListener("click", () => this.#onteach([this.#entry]));
    this.#find("opened-picture").addEventListener("error", () => this.#showNone("This picture is not kept any more."));
    this.#dialog.addEventListener("keydown", (event) => this.#key(event));
    this.#dialog.addEventListener("close", () => this.#closed());
    this.#swipe(this.#find("opened-shot"));
  }

  get isOpen() {
    return this.#dialog.open;
  }

  open(entry) {
    this.#show(entry);
    if (!this.#dialog.open) {
      this.#dialog.showModal();
      this.#find("opened-title").focus();
    }
  }

  /** The list has news of it. */
  update() {
    const entry = this.#entry && this.#gallery.entries.find(({ id }) => id === this.#entry.id);
    if (entry && this.#dialog.open && JSON.stringify(entry) !== JSON.stringify(this.#entry)) this.#show(entry, { quietly: true });
    this.#showTurns();
  }

  close() {
    this.#dialog.close();
  }

  get #says() {
    return this.#dialog.querySelectorAll("[data-disposition]");
  }

  #show(entry, { quietly = false } = {}) {
    const before = this.#entry;
    this.#entry = entry;
    write(this.#find("opened-title"), `${entry.part ? `Part ${entry.part}` : entry.kind === "part" ? `Part ${entry.number}` : entry.verdict === "ANOMALY" ? "Alarm" : "Frame"}, ${moment(entry.at)}`);
    const verdict = this.#find("opened-verdict");
    verdict.dataset.verdict = entry.verdict;
    write(verdict, entry.verdict === "FAILED" ? "Failed" : `${VERDICT[entry.verdict]}, score ${score(entry.score)}`);
    if (!quietly || before?.picture_kept !== entry.picture_kept) this.#showPicture();
    if (!quietly) this.#told("none", "");
    this.#showSaid();
    this.#showFacts();
    this.#showTurns();
    this.#askSaid();
  }

  #showPicture() {
    const { id, picture_kept: kept, verdict } = this.#entry;
    const [picture, heat] = [this.#find("opened-picture"), this.#find("opened-heat")];
    this.#find("opened-shot").dataset.kept = String(kept);
    this.#find("opened-heat-line").hidden = !kept;
    for (const name of ["opened-forgive", "opened-remember", "opened-teach"]) this.#find(name).hidden = !kept;
    if (!kept) return this.#showNone(verdict === "FAILED" ? "Nothing of it was inspected." : "No picture of it is kept.");
    this.#find("opened-none").hidden = true;
    picture.alt = "Picture of the part";
    picture.src = address(`api/history/${encodeURIComponent(id)}/picture`);
    heat.src = address(`api/history/${encodeURIComponent(id)}/overlay`);
    this.#showHeat();
  }

  #showNone(words) {
    for (const name of ["opened-picture", "opened-heat"]) this.#find(name).removeAttribute("src");
    this.#find("opened-shot").dataset.kept = "false";
    write(this.#find("opened-none"), words);
    this.#find("opened-none").hidden = false;
  }

  #showHeat() {
    this.#find("opened-heat").hidden = !this.#find("opened-heat-on").checked;
  }

  #showSaid() {
    const { verdict, disposition } = this.#entry;
    for (const button of this.#says) {
      const can = verdict === "NORMAL" ? button.dataset.disposition === "escape" : verdict === "ANOMALY" && button.dataset.disposition !== "escape";
      button.hidden = !can && button.dataset.disposition !== disposition;
      button.setAttribute("aria-pressed", String(button.dataset.disposition === disposition));
    }
  }

  #showFacts() {
    const entry = this.#entry;
    const facts = [
      ["Stream", entry.stream],
      ["Part", entry.part],
      ["Number", entry.kind === "part" ? entry.number : null],
      ["Why", entry.why && sentence(entry.why)],
      ["Score", entry.raw_score === null ? null : `${score(entry.score)}: raw ${entry.raw_score.toPrecision(4)}, threshold ${entry.threshold?.toPrecision(4) ?? "–"}${entry.threshold_source ? ` (${entry.threshold_source})` : ""}`],
      ["Frames", entry.kind === "part" ? `${entry.anomalous} of ${entry.frames} above the threshold` : null],
      ["Cycle", entry.cycle_ms === null ? null : `${milliseconds(entry.cycle_ms)}${entry.inspection_ms === null ? "" : `, inspection ${milliseconds(entry.inspection_ms)}`}`],
      ["Began by", entry.kind === "part" ? `${SOURCE[entry.source] ?? entry.source}${entry.triggered_by ? ` over ${entry.triggered_by}` : ""}${entry.trigger === null ? "" : `, number ${entry.trigger}`}${entry.trigger_id ? `, called ${entry.trigger_id}` : ""}` : null],
      ["Recipe", entry.recipe && `${this.#recipeName(entry.recipe)}, version ${entry.recipe_version}`],
      ["Model", entry.model && entry.model.slice(0, 12)],
      ["Simulated", entry.simulated ? "yes: there is no such part" : null],
      ["Id", entry.id],
    ];
    this.#find("opened-facts").replaceChildren(
      ...facts.filter(([, value]) => value !== null && value !== "" && value !== undefined).map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, String(value)))),
    );
  }

  async #askSaid() {
    const turn = ++this.#turn;
    const list = this.#find("opened-said");
    if (!this.#entry.disposition && !this.#entry.disposed_at) list.replaceChildren();
    try {
      const { said } = await requests.entry(this.#entry.id);
      if (turn !== this.#turn) return;
      list.replaceChildren(...said.slice(-6).reverse().map(({ disposition, note, who, at }) => element("li", {}, `${moment(at)}: ${SAID[disposition] ?? "taken back"}${who ? `, by ${who}` : ""}${note ? `. ${note}` : ""}`)));
    } catch {
      if (turn === this.#turn) list.replaceChildren(); // the rest of it stands
    }
  }

  // One after the other: of two quick presses the second means what the first has made of it.
  #say(disposition) {
    const { id } = this.#entry;
    this.#said = this.#said.then(() => this.#sayOf(id, disposition));
  }

  async #sayOf(id, disposition) {
    const entry = this.#entry?.id === id ? this.#entry : this.#gallery.entries.find((one) => one.id === id);
    if (!entry) return;
    const { verdict, disposition: before } = entry;
    if (verdict === "FAILED") return this.#told("problem", FAILED);
    if ((verdict === "NORMAL") !== (disposition === "escape")) return this.#told("problem", WHY_NOT[disposition]);
    const wanted = before === disposition ? null : disposition;
    try {
      const now = await requests.dispose(id, wanted, before);
      this.#onchanged(now);
      if (this.#entry?.id !== id) return;
      this.#show(now, { quietly: true });
      this.#told("done", wanted ? `Noted: ${SAID[wanted]}.` : "Taken back.");
    } catch (error) {
      if (error.status === 409) await this.#fetchAgain(id); // somebody else said something meanwhile
      if (this.#entry?.id === id) this.#told("problem", error.message);
    }
  }

  async #correct(was) {
    const { id } = this.#entry;
    try {
      const frame = await requests.frame(id);
      if (this.#entry?.id !== id) return; // another one is opened, or none
      correctionSheet().open(frame, { was: frame.disposition ? null : was, onchanged: () => this.#fetchAgain(id) });
    } catch (error) {
      if (this.#entry?.id === id) this.#told("problem", error.message);
    }
  }

  async #fetchAgain(id) {
    const { entry } = await requests.entry(id).catch(() => ({ entry: null }));
    if (!entry) return;
    this.#onchanged(entry);
    if (this.#entry?.id === id) this.#show(entry, { quietly: true });
  }

  #key(event) {
    if (event.repeat && KEYS[event.key.toLowerCase()]) return event.preventDefault(); // held down, it says one thing
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input:not([type=checkbox]), select, textarea")) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (key === "ArrowLeft") this.#step(-1);
    else if (key === "ArrowRight") this.#step(1);
    else if (key === "h") this.#find("opened-heat-on").click();
    else if (KEYS[key] && may("operator")) this.#say(KEYS[key]);
    else return;
    event.preventDefault();
  }

  async #step(by) {
    const from = this.#entry?.id;
    const place = () => this.#gallery.entries.findIndex(({ id }) => id === from);
    if (place() < 0) return;
    if (place() + by >= this.#gallery.entries.length) await this.#gallery.more();
    const at = place();
    if (at < 0 || this.#entry?.id !== from) return;
    const next = this.#gallery.entries[at + by];
    if (next) this.#show(next);
  }

  #showTurns() {
    const at = this.#gallery.entries.findIndex(({ id }) => id === this.#entry?.id);
    this.#find("opened-newer").disabled = at <= 0;
    this.#find("opened-older").disabled = at < 0 || (at === this.#gallery.entries.length - 1 && !this.#gallery.hasMore);
  }

  // With a thumb: to the side for the next one.
  #swipe(shot) {
    let from = null;
    shot.addEventListener("pointerdown", ({ clientX, clientY, pointerType }) => (from = pointerType === "touch" ? { clientX, clientY } : null));
    shot.addEventListener("pointerup", ({ clientX, clientY }) => {
      const [x, y] = from ? [clientX - from.clientX, clientY - from.clientY] : [0, 0];
      from = null;
      if (Math.abs(x) > 50 && Math.abs(x) > 2 * Math.abs(y)) this.#step(x < 0 ? 1 : -1);
    });
  }

  #closed() {
    const id = this.#entry?.id;
    this.#turn += 1;
    for (const name of ["opened-picture", "opened-heat"]) this.#find(name).removeAttribute("src");
    this.#entry = null;
    if (id) this.#gallery.focus(id);
  }

  #told(kind, words) {
    this.#find("opened-told").dataset.kind = kind;
    write(this.#find("opened-told"), words);
  }

  #find(id) {
    return this.#dialog.querySelector(`#${id}`);
  }
}

// What a part is and how it gets its one verdict, as a form; and the gate, drawn on a picture of the empty place.

import { PlaceMark } from "../live/correction/place.js";
import { address } from "../shared/address.js";
import { sentence } from "../shared/sentence.js";
import { write } from "../shared/elements.js";
import { FormCard } from "./form_card.js";
import * as requests from "./requests.js";
import { partsWords } from "./words.js";

const MOST_FRAMES = 50;
const LONGEST_MS = 60_000;

/** `save(value)` makes it count; `place()` says of which recipe the form is, and whose picture shows the gate: `{ recipe, stream }`, or "" for it. */
export function partsForm(form, save, place) {
  const fields = form.elements;
  let gate = { gate: [], empty: [] };
  const taken = new EmptyGate(form, place, (looked) => {
    gate = looked;
    form.dispatchEvent(new Event("change"));
  });
  return new FormCard(form, {
    read() {
      const by = fields.by.value || "line";
      const triggered = by === "trigger";
      return {
        by,
        n: number(fields.n),
        frames: triggered ? number(fields.after) : fields.at_once.checked ? number(fields.first) : 0,
        delay_ms: triggered ? number(fields.delay) : 0,
        within_ms: triggered ? number(fields.within) : 1000,
        gate: by === "gate" ? gate.gate : [],
        empty: by === "gate" ? gate.empty : [],
        rests: by === "gate" ? fields.rests.checked : true,
      };
    },
    show(rule) {
      fields.by.value = rule.by;
      fields.n.value = rule.n;
      fields.at_once.checked = rule.by !== "trigger" && rule.frames > 0;
      if (rule.by === "trigger") Object.assign(fields.after, { value: Math.max(1, rule.frames) }), Object.assign(fields.delay, { value: rule.delay_ms }), Object.assign(fields.within, { value: rule.within_ms });
      else if (rule.frames > 0) fields.first.value = rule.frames;
      fields.rests.checked = rule.rests;
      gate = { gate: rule.gate, empty: rule.empty };
      taken.show(gate);
    },
    problem(rule) {
      const whole = (value, low) => Number.isInteger(value) && value >= low && value <= MOST_FRAMES;
      if (!whole(rule.n, 1) || !whole(rule.frames, rule.by === "trigger" ? 1 : 0)) return `Frames are a whole number from 1 to ${MOST_FRAMES}.`;
      if (rule.frames && rule.n > rule.frames) return "It cannot be more frames than are looked at.";
      if (!(rule.delay_ms >= 0 && rule.delay_ms <= LONGEST_MS && rule.within_ms >= 10 && rule.within_ms <= LONGEST_MS)) return "Times are up to 60000 milliseconds; at the latest after 10 or more.";
      return rule.by === "gate" && rule.empty.length === 0 ? "Take a picture of the empty gate first." : "";
    },
    words: partsWords,
    save,
  });
}

/** The picture of the empty gate, with the region on it. */
class EmptyGate {
  #form;
  #place;
  #onlook;
  #mark;
  #taken = null; // { recipe, stream, frame }: the kept frame that is shown, and whose it is
  #turn = 0; // of what is asked for; older answers are thrown away

  constructor(form, place, onlook) {
    this.#form = form;
    this.#place = place;
    this.#onlook = onlook;
    this.#mark = new PlaceMark(this.#find("[data-gate-place]"), (place) => this.#look(place ?? []));
    this.#mark.allow(true);
    this.#find("[data-gate-take]").addEventListener("click", () => this.#take());
    this.#find("[data-gate-rectangle]").addEventListener("click", () => this.#mark.useRectangle());
    this.#find("[data-gate-all]").addEventListener("click", () => {
      this.#mark.clear();
      this.#look([]);
    });
  }

  show({ gate, empty }) {
    if (this.#taken && !this.#isOf(this.#taken)) this.#forget(); // another recipe is opened
    this.#mark.clear();
    this.#form.dataset.gateTaken = String(empty.length > 0);
    if (!this.#taken) this.#say(empty.length ? `The gate is ${gate.length ? `a region with ${gate.length} corners` : "all of the picture"}; how it looks empty is known.` : "");
  }

  /** Whether a recipe and its stream are those of the form now. */
  #isOf({ recipe, stream }) {
    const now = this.#place();
    return recipe === now.recipe && stream === now.stream;
  }

  #forget() {
    this.#turn += 1;
    this.#taken = null;
    this.#find("[data-gate-picture]").removeAttribute("src");
    this.#form.dataset.gateShown = "false";
  }

  async #take() {
    const turn = ++this.#turn;
    const place = this.#place();
    const { stream } = place;
    if (!stream) return this.#say("No stream runs with this recipe now: choose it for one that runs.");
    try {
      const [newest] = await requests.frames(stream, "recent");
      if (turn !== this.#turn || !this.#isOf(place)) return;
      if (!newest) throw new Error(`${stream} was not inspected yet`);
      this.#taken = { ...place, frame: newest.id };
      const picture = this.#find("[data-gate-picture]");
      picture.src = address(newest.picture);
      this.#form.dataset.gateShown = "true";
      this.#mark.clear();
      await this.#look([]);
    } catch (error) {
      if (turn === this.#turn) this.#say(sentence(error.message));
    }
  }

  async #look(gate) {
    if (!this.#taken) return;
    const turn = ++this.#turn;
    const { stream, frame } = this.#taken;
    try {
      const looked = await requests.lookAtGate(stream, gate, frame);
      if (turn !== this.#turn) return;
      this.#form.dataset.gateTaken = "true";
      this.#say(gate.length ? "Parts are seen in the marked region. Save it if the gate is empty in this picture." : "Parts are seen anywhere in the picture. Draw around the gate, or save it like this, if it is empty in this picture.");
      this.#onlook({ gate: looked.gate, empty: looked.empty });
    } catch (error) {
      if (turn === this.#turn) this.#say(sentence(error.message));
    }
  }

  #say(words) {
    write(this.#find("[data-gate-words]"), words);
  }

  #find(selector) {
    return this.#form.querySelector(selector);
  }
}

function number(field) {
  return field.value === "" ? NaN : Number(field.value);
}

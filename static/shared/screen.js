// One stream on a whole screen where nothing is pressed: what the kiosk and the panel have in common.

import { address } from "./address.js";
import { PartBefore } from "./part_before.js";
import { PartsHeard } from "./parts_heard.js";
import * as server from "./server.js";
import { Stage } from "./stage.js";
import { openViewer } from "./transport.js";
import { STALE_AFTER_MS, VerdictPanel, decide } from "./verdict.js";
import { WakeLock } from "./wake_lock.js";

const HEALTH_EVERY_MS = 4_000;
const TICK_MS = 150;

const $ = (id) => document.getElementById(id);

export class Screen {
  name = document.body.dataset.stream;
  stage = new Stage($("stage"));
  link = null;
  last = null; // { result, at }
  partBefore = new PartBefore();
  #parts = new PartsHeard(); // those that a trigger or a gate tells apart
  #path;
  #panel;
  #told;
  #framed = window.top !== window.self;
  #code = new URLSearchParams(location.search).get("code");
  #wakeLock = new WakeLock();
  #health; // null where no answer came
  #streamState = "waiting";
  #frameError = "";

  /**
   * `path` is the page's own, without the stream's name; `panel` the element that carries the verdict. What a page tells or wants to
   * hear: `known()` of the stream beside what its messages say, as `decide` takes it; `repeated(result)`, one of before; `opened()` and
   * `changed()`; `shown(state)` after the verdict was, with the age of the last result in milliseconds.
   */
  constructor({ path, panel, known = () => ({}), repeated = () => {}, opened = () => {}, changed = () => {}, shown = () => {} }) {
    this.#path = path;
    this.#panel = new VerdictPanel(panel, $("spoken"));
    this.#told = { known, repeated, opened, changed, shown };
  }

  /** A page of its own gets a cookie for the code, and an address without it; in a frame browsers keep none. */
  begin() {
    if (this.#code && !this.#framed) {
      this.#enter({ code: this.#code });
      return;
    }
    if (this.#code) server.showCode(this.#code);
    openViewer({
      name: this.name,
      code: this.#code,
      onresult: (result) => this.#onresult(result),
      onstate: (state) => this.#onstate(state),
      onerror: ({ error }) => {
        this.#frameError = error;
      },
      onstatus: ({ state }) => {
        this.#frameError = "";
        this.#streamState = state;
      },
      onchange: () => {
        this.#parts.forget();
        this.#told.changed();
      },
      onpart: (part) => {
        if (part.source === "id") return; // frames are judged one by one there, too
        this.#parts.hear(part);
        this.show();
      },
    });
    this.#lookAtHealth();
    setInterval(() => this.show(), TICK_MS);
  }

  /** The last verdict on a whole part, as PartsHeard has it. */
  get lastPart() {
    return this.#parts.last;
  }

  show() {
    const age = this.last ? performance.now() - this.last.at : 0;
    const state = decide({
      health: this.#health,
      camera: null,
      link: this.link,
      streamState: this.#streamState,
      streamName: this.name,
      trouble: "",
      result: this.last?.result ?? null,
      age,
      part: this.lastPart ?? undefined,
      ...this.#told.known(age),
    });
    this.#panel.show(this.#explained(state));
    this.stage.setStale(Boolean(this.last) && (age > STALE_AFTER_MS || state.verdict === "SILENT"));
    this.#told.shown(age);
  }

  #onresult(result) {
    if (result.repeated) {
      this.#told.repeated(result); // it says nothing of now
      return;
    }
    this.last = { result, at: performance.now() };
    this.#parts.see(result.part_number);
    this.#streamState = "live";
    this.#frameError = "";
    this.stage.draw(result);
    $("simulated").hidden = !result.simulated;
    this.show();
  }

  #onstate(state) {
    this.link = state;
    if (state.phase !== "open") {
      this.#parts.forget();
      this.partBefore.forget();
    }
    this.#frameError = "";
    if (state.access === false && !this.#framed) this.#enter({});
    this.#wakeLock.want(state.phase === "open");
    if (state.phase === "open") this.#told.opened();
    this.show();
  }

  // What keeps results from coming, where it is known.
  #explained(state) {
    if (this.link?.access === false) {
      const detail = "This screen needs the access code: add ?code=CODE to its address";
      return { verdict: "ERROR", word: "NO ACCESS", detail, stale: false, attention: true };
    }
    if (state.verdict !== "WAITING") return state;
    return { ...state, detail: this.link?.problem || this.#frameError || state.detail };
  }

  async #lookAtHealth() {
    try {
      this.#health = await server.health();
    } catch {
      this.#health = null;
    }
    setTimeout(() => this.#lookAtHealth(), HEALTH_EVERY_MS); // before what may fail
    this.show();
  }

  #enter(query) {
    location.replace(`${address("enter")}?${new URLSearchParams({ next: `/${this.#path}/${this.name}`, ...query })}`);
  }
}

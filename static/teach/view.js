// The view Teach: begin, show good parts, done. A teaching lives in the server, so that a reload, or another device, goes on with it.

import { write } from "../shared/elements.js";
import { Begin } from "./begin.js";
import { Result } from "./result.js";
import { Showing } from "./showing.js";
import { Teaching } from "./teaching.js";
import * as requests from "./requests.js";

const LOOK_EVERY_MS = 2_500;
const TICK_MS = 250;

let view = null;

/** `station` is static/shell/station.js, `root` this view's place in the document, `go(view, hash)` leads to another view. */
export function enter({ station, root, go }) {
  view ??= new Teach(root, station, go);
  view.enter();
}

export function leave() {
  view?.leave();
}

class Teach {
  #root;
  #station;
  #begin;
  #showing;
  #result;
  #teaching = null;
  #isShown = false;
  #known = []; // open ones, and those that were done lately
  #looks = 0;
  #turn = 0; // of what the address leads to; what was found for an older one is thrown away
  #ticks = 0;

  constructor(root, station, go) {
    this.#root = root;
    this.#station = station;
    this.#begin = new Begin(root, station, (body) => this.#goOn(body));
    this.#showing = new Showing(root, station, { cancelled: (problem) => this.#restart(problem) });
    this.#result = new Result(root, station, { go, again: () => this.#restart() });
    station.on("streams", () => this.#isShown && !this.#teaching && this.#look());
    window.addEventListener("hashchange", () => this.#isShown && this.#follow());
  }

  async enter() {
    this.#isShown = true;
    clearInterval(this.#looks);
    clearInterval(this.#ticks);
    this.#looks = setInterval(() => !this.#teaching && this.#look(), LOOK_EVERY_MS);
    this.#ticks = setInterval(() => !document.hidden && this.#teaching && this.#showing.render(), TICK_MS);
    if (this.#isElsewhere) this.#putAside();
    if (this.#teaching && !location.hash) this.#write(`#${encodeURIComponent(this.#teaching.id)}`);
    if (this.#teaching?.body.state === "done") this.#finish();
    else if (this.#teaching) this.#showing.render();
    else await this.#start();
  }

  leave() {
    this.#isShown = false;
    clearInterval(this.#looks);
    clearInterval(this.#ticks);
    this.#showing.rest();
  }

  get #hash() {
    return decodeURIComponent(location.hash.slice(1));
  }

  /** Whether the address leads to something else than the teaching that is shown. */
  get #isElsewhere() {
    return this.#teaching !== null && this.#hash !== "" && this.#hash !== this.#teaching.id;
  }

  #follow() {
    if (this.#isElsewhere) this.#putAside();
    if (!this.#teaching) this.#start();
  }

  // `#ID` of a teaching goes on with it, `#more=RECIPE` begins one.
  async #start() {
    const hash = this.#hash;
    const moreOf = hash.startsWith("more=") ? hash.slice("more=".length) : null;
    this.#phase("begin");
    const turn = ++this.#turn;
    const open = await this.#look();
    if (turn !== this.#turn || this.#teaching || !this.#isShown) return; // somebody was quicker
    const isMine = ({ stream }) => !moreOf && stream !== null && stream === this.#station.ownName;
    const mine = this.#known.find(({ id, state }) => id === hash && state === "done") ?? open.find(({ id }) => id === hash) ?? open.find(isMine);
    if (mine) return this.#goOn(mine);
    if (hash && !moreOf) this.#write("");
    await this.#begin.show(moreOf);
  }

  async #look() {
    try {
      this.#known = await requests.teachings();
      const open = this.#known.filter(({ state }) => state !== "done");
      if (!this.#teaching) this.#begin.offer(open);
      return open;
    } catch {
      return []; // the head of the page says that the server is away
    }
  }

  #goOn(body) {
    this.#say("");
    this.#teaching?.close();
    this.#teaching = new Teaching(body, { onchange: () => this.#changed(), onended: (words) => this.#restart(words) });
    if (body.state !== "done") {
      this.#phase("showing");
      this.#showing.begin(this.#teaching);
    }
    if (!this.#isShown) return this.#showing.rest(); // the camera started while another view was looked at
    this.#write(`#${encodeURIComponent(body.id)}`);
    this.#changed();
    window.scrollTo(0, 0);
  }

  /** Which teaching is shown, into the address; `hash` with its #, or "". */
  #write(hash) {
    history.replaceState(null, "", hash || location.pathname + location.search);
  }

  #changed() {
    if (this.#teaching.body.state === "done") this.#finish();
    else if (this.#isShown) this.#showing.render();
  }

  #finish() {
    if (!this.#isShown) return;
    const { body } = this.#teaching;
    this.#showing.end();
    this.#phase("result");
    this.#result.show(body);
    this.#station.lookAtStreams();
    this.#station.lookAtRecipes();
  }

  #restart(problem = "") {
    this.#putAside();
    this.#result.hide();
    if (this.#isShown) this.#write("");
    this.#phase("begin");
    this.#begin.show();
    this.#say(problem);
    if (this.#isShown) this.#root.querySelector(".view-title").focus();
  }

  // Another one is wanted: this one goes on in the server, and can be gone on with here.
  #putAside() {
    this.#teaching?.close();
    this.#teaching = null;
    this.#showing.end();
  }

  #phase(phase) {
    this.#root.dataset.phase = phase;
    this.#find("teach-begin").hidden = phase !== "begin";
    this.#find("teach-head").hidden = phase !== "begin";
    if (phase !== "showing") this.#find("teach-showing").hidden = true;
    if (phase !== "result") this.#result.hide();
  }

  #say(words) {
    const told = this.#find("teach-told");
    told.dataset.kind = words ? "problem" : "none";
    write(told, words);
  }

  #find(id) {
    return this.#root.querySelector(`#${id}`);
  }
}

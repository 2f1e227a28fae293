// Regions while they are drawn: what they are, the way back, and the way forth again. No DOM.

import { MOST_POLYGONS, problemOf } from "../../shared/polygon.js";

const MOST_STEPS = 200;

/** `kind` is include or ignore; a region is `{ kind, corners }`. */
export class Drawing {
  regions = [];
  #saved = "";
  #past = [];
  #future = [];

  /** Begin with what a recipe has: `{ include, ignore }`. */
  begin({ include, ignore }) {
    this.regions = [...include.map((corners) => ({ kind: "include", corners })), ...ignore.map((corners) => ({ kind: "ignore", corners }))];
    this.#saved = JSON.stringify(this.toRegions());
    this.#past = [];
    this.#future = [];
  }

  get isChanged() {
    return JSON.stringify(this.toRegions()) !== this.#saved;
  }

  get canUndo() {
    return this.#past.length > 0;
  }

  get canRedo() {
    return this.#future.length > 0;
  }

  get isFull() {
    return this.regions.length >= MOST_POLYGONS;
  }

  toRegions() {
    const of = (kind) => this.regions.filter((region) => region.kind === kind).map(({ corners }) => corners);
    return { include: of("include"), ignore: of("ignore") };
  }

  /** Add a region; answers why not, or "". */
  add(kind, corners) {
    if (this.isFull) return `A recipe has ${MOST_POLYGONS} regions at the most.`;
    return this.#change(corners, () => this.regions.push({ kind, corners }));
  }

  /** Give a region other corners; answers why not, or "". */
  reshape(at, corners) {
    return this.#change(corners, () => (this.regions[at] = { ...this.regions[at], corners }));
  }

  addCorner(at, after, corner) {
    const corners = this.regions[at].corners.slice();
    corners.splice(after + 1, 0, corner);
    return this.reshape(at, corners);
  }

  removeCorner(at, number) {
    return this.reshape(at, this.regions[at].corners.filter((_, i) => i !== number));
  }

  setKind(at, kind) {
    return this.#change(this.regions[at].corners, () => (this.regions[at] = { ...this.regions[at], kind }));
  }

  remove(at) {
    this.#note();
    this.regions = this.regions.filter((_, i) => i !== at);
  }

  undo() {
    if (!this.canUndo) return;
    this.#future.push(this.regions);
    this.regions = this.#past.pop();
  }

  redo() {
    if (!this.canRedo) return;
    this.#past.push(this.regions);
    this.regions = this.#future.pop();
  }

  #change(corners, change) {
    const problem = problemOf(corners);
    if (!problem) {
      this.#note();
      this.regions = this.regions.slice();
      change();
    }
    return problem;
  }

  #note() {
    this.#past = [...this.#past, this.regions].slice(-MOST_STEPS);
    this.#future = [];
  }
}

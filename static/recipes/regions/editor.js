// Regions drawn and edited on a picture: by finger, mouse and keyboard. Nothing is kept before `save` is pressed.

import { InspectedArea } from "../../shared/inspected_area.js";
import { count } from "../../shared/count.js";
import { element, write } from "../../shared/elements.js";
import { Drawing } from "./drawing.js";
import { Handles } from "./handles.js";
import { isInside, middle, moved, onFrame, openProblemOf, problemOf } from "../../shared/polygon.js";

const NAMES = { include: "Inspect only here", ignore: "Ignore" };
const CLOSES_WITHIN_PX = 24;
const DRAGGED_PX = 8;

/** `onchange()` is called whenever something was drawn; `regions` is what the drawing says then. */
export class RegionsEditor {
  #root;
  #surface;
  #area = new InspectedArea();
  #drawing = new Drawing();
  #handles;
  #region = null; // of the model
  #chosen = 0;
  #editing = false;
  #pen = null; // while a new region is drawn: { kind, corners, from }
  #drag = null; // { begin, shape(point) }
  #trial = null; // the region's corners while they are dragged
  #onchange;

  /** `root` holds the editor's controls, and `surface`, which lies exactly on the picture. */
  constructor(root, { onchange }) {
    this.#root = root;
    this.#onchange = onchange;
    this.#surface = root.querySelector(".surface");
    this.#surface.prepend(this.#area.root);
    this.#handles = new Handles(root.querySelector(".handles"), {
      grab: (corner, event) => this.#grab(corner, event),
      split: (corner, event) => this.#split(corner, event),
      nudge: (corner, by) => this.#nudge(corner, by),
      drop: (corner) => this.#do(() => this.#drawing.removeCorner(this.#chosen, corner)),
      add: (corner) => this.#addCorner(corner),
    });
    this.#surface.addEventListener("pointerdown", (event) => this.#press(event));
    this.#surface.addEventListener("pointermove", (event) => this.#move(event));
    this.#surface.addEventListener("pointerup", (event) => this.#release(event));
    this.#surface.addEventListener("pointercancel", () => this.#giveUpDrag());
    root.addEventListener("keydown", (event) => this.#key(event));
    this.#when("add-include", () => this.#takePen("include"));
    this.#when("add-ignore", () => this.#takePen("ignore"));
    this.#when("undo", () => this.#step("undo"));
    this.#when("redo", () => this.#step("redo"));
    this.#when("place", () => this.#placeByKey());
    this.#when("put-down", () => this.#putDownPen());
    this.#when("close-shape", () => this.#closeShape());
    this.#render();
  }

  get regions() {
    return this.#drawing.toRegions();
  }

  get isChanged() {
    return this.#drawing.isChanged;
  }

  get isEditing() {
    return this.#editing;
  }

  /** The picture's size: what is drawn takes its shape. */
  shapeTo(width, height) {
    this.#area.shapeTo(width, height);
    this.#render();
  }

  /** Show what a recipe has; whatever was drawn and not saved is gone. `region` is what its model looks at. */
  show(regions, region) {
    this.#region = region;
    this.#drawing.begin(regions);
    this.#chosen = 0;
    this.#pen = this.#drag = this.#trial = null;
    this.#say("");
    this.#render();
  }

  /** Draw these regions on top of what is saved, as an edit. */
  redraw(regions) {
    const drawn = new Drawing();
    drawn.begin(regions);
    for (let i = this.#drawing.regions.length - 1; i >= 0; i -= 1) this.#drawing.remove(i);
    for (const { kind, corners } of drawn.regions) this.#drawing.add(kind, corners);
    this.#render();
  }

  edit(on) {
    this.#editing = on;
    this.#pen = null;
    this.#say("");
    this.#render();
  }

  // ---- the pen: a new region ------------------------------------------------------------------------------------------

  #takePen(kind) {
    if (this.#drawing.isFull) return this.#say("There are as many regions as a recipe may have.", true);
    this.#pen = { kind, corners: [] };
    this.#say("Drag a box over the place, or tap corner after corner.");
    this.#render();
    this.#button("put-down").focus();
  }

  #putDownPen() {
    this.#pen = null;
    this.#say("");
    this.#render();
    this.#button("add-ignore").focus();
  }

  #placeByKey() {
    const kind = this.#pen.kind;
    this.#pen = null;
    const shift = (this.#drawing.regions.length % 5) * 0.04;
    const [low, high] = [0.35 + shift, 0.6 + shift];
    this.#add(kind, [[low, low], [high, low], [high, high], [low, high]]);
    this.#handles.focus(0);
  }

  #closeShape() {
    const { kind, corners } = this.#pen;
    if (this.#add(kind, corners)) this.#pen = null;
    this.#render();
  }

  #add(kind, corners) {
    const problem = this.#drawing.add(kind, corners);
    if (!problem) this.#chosen = this.#drawing.regions.length - 1;
    this.#changed(problem);
    return !problem;
  }

  // ---- fingers and mouse ----------------------------------------------------------------------------------------------

  #press(event) {
    if (!this.#editing || event.button > 0 || this.#drag) return;
    const point = this.#pointOf(event);
    if (this.#pen) {
      this.#begin(event, { pen: true, from: point });
      return;
    }
    const hit = this.#drawing.regions.findLastIndex(({ corners }) => isInside(point, corners));
    if (hit < 0) return;
    this.#chosen = hit;
    const { corners } = this.#drawing.regions[hit];
    this.#begin(event, { from: point, shape: (to) => moved(corners, [to[0] - point[0], to[1] - point[1]]) });
    this.#render();
  }

  #grab(corner, event) {
    if (event.button > 0) return;
    event.stopPropagation();
    event.currentTarget.focus({ preventScroll: true });
    const { corners } = this.#drawing.regions[this.#chosen];
    const from = this.#pointOf(event);
    const [dx, dy] = [corners[corner][0] - from[0], corners[corner][1] - from[1]]; // the finger need not hit the middle
    this.#begin(event, { from, shape: ([x, y]) => corners.with(corner, onFrame([x + dx, y + dy])) });
  }

  #split(edge, event) {
    if (event.button > 0) return;
    event.stopPropagation();
    const { corners } = this.#drawing.regions[this.#chosen];
    const split = corners.toSpliced(edge + 1, 0, middle(corners[edge], corners[(edge + 1) % corners.length]));
    this.#begin(event, { from: this.#pointOf(event), still: split, shape: (to) => split.with(edge + 1, onFrame(to)) });
  }

  #begin(event, drag) {
    event.preventDefault();
    this.#surface.setPointerCapture(event.pointerId);
    this.#drag = { ...drag, at: [event.clientX, event.clientY], dragged: false };
  }

  #move(event) {
    if (!this.#drag) return;
    const [x, y] = this.#drag.at;
    this.#drag.dragged ||= Math.hypot(event.clientX - x, event.clientY - y) > DRAGGED_PX;
    if (!this.#drag.dragged) return;
    const to = this.#pointOf(event);
    this.#trial = this.#drag.pen ? box(this.#drag.from, to) : this.#drag.shape(to);
    this.#say(this.#drag.pen ? "" : problemOf(this.#trial), true);
    this.#render();
  }

  #release() {
    const { pen, from, still, dragged } = this.#drag ?? {};
    const trial = this.#trial ?? still;
    const hadDrag = this.#drag !== null;
    this.#drag = this.#trial = null;
    if (!hadDrag) return;
    if (pen && !dragged) this.#tap(from);
    else if (pen) {
      if (this.#add(this.#pen.kind, trial)) this.#pen = null;
      this.#render();
    } else if (trial) this.#do(() => this.#drawing.reshape(this.#chosen, trial), "Put back: ");
    else this.#render();
  }

  #giveUpDrag() {
    this.#drag = this.#trial = null;
    this.#say("");
    this.#render();
  }

  #tap(point) {
    const { corners } = this.#pen;
    if (corners.length >= 3 && this.#pixelsBetween(point, corners[0]) < CLOSES_WITHIN_PX) return this.#closeShape();
    const next = [...corners, onFrame(point)];
    const problem = openProblemOf(next);
    if (problem) this.#say(`${problem} That corner was not set.`, true);
    else {
      this.#pen.corners = next;
      this.#say(next.length < 3 ? `Corner ${next.length} is set. Three make a region.` : "Tap the first corner, or press Close the shape.");
    }
    this.#render();
  }

  // ---- keyboard -------------------------------------------------------------------------------------------------------

  #nudge(corner, [dx, dy]) {
    const { corners } = this.#drawing.regions[this.#chosen];
    const [x, y] = corners[corner];
    this.#do(() => this.#drawing.reshape(this.#chosen, corners.with(corner, onFrame([x + dx, y + dy]))), "Not moved: ");
  }

  #addCorner(corner) {
    const { corners } = this.#drawing.regions[this.#chosen];
    this.#do(() => this.#drawing.addCorner(this.#chosen, corner, middle(corners[corner], corners[(corner + 1) % corners.length])));
    this.#handles.focus(corner + 1);
  }

  #key(event) {
    if (!this.#editing) return;
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") {
      event.preventDefault();
      this.#step(event.shiftKey ? "redo" : "undo");
    } else if (event.key === "Escape" && this.#pen) this.#putDownPen();
    else if (event.key === "Escape" && this.#drag) this.#giveUpDrag();
  }

  // ---- steps ----------------------------------------------------------------------------------------------------------

  #step(way) {
    if (way === "undo" && this.#pen?.corners.length) this.#pen.corners.pop();
    else this.#drawing[way]();
    this.#chosen = Math.min(this.#chosen, Math.max(0, this.#drawing.regions.length - 1));
    this.#changed("");
    if (document.activeElement === document.body) this.#button(this.#drawing.canUndo ? "undo" : "redo").focus(); // the corner it was on is gone
  }

  #do(step, before = "") {
    const problem = step();
    this.#changed(problem && `${before}${before ? problem[0].toLowerCase() + problem.slice(1) : problem}`);
  }

  #changed(problem) {
    this.#say(problem, true);
    this.#render();
    this.#onchange();
  }

  #render() {
    const regions = this.#drawing.regions.map(({ kind, corners }, i) => ({
      kind,
      corners: this.#trial && !this.#drag?.pen && i === this.#chosen ? this.#trial : corners,
    }));
    const drawn = this.#pen ? [...regions, ...(this.#drag?.pen && this.#trial ? [{ kind: this.#pen.kind, corners: this.#trial }] : [])] : regions;
    const of = (wanted) => drawn.filter(({ kind }) => kind === wanted).map(({ corners }) => corners);
    this.#area.show({ region: this.#region, include: of("include"), ignore: of("ignore") });
    this.#surface.dataset.editing = String(this.#editing);
    this.#surface.dataset.pen = this.#pen?.kind ?? "";
    this.#root.dataset.editing = String(this.#editing);
    const chosen = regions[this.#chosen];
    if (this.#editing && chosen && !this.#pen) {
      this.#handles.show(chosen.corners, this.#nameOf(this.#chosen));
    } else this.#handles.clear();
    this.#drawPen();
    this.#renderList();
    for (const [name, on] of Object.entries({
      undo: this.#drawing.canUndo || this.#pen?.corners.length > 0,
      redo: this.#drawing.canRedo,
      "add-include": !this.#pen,
      "add-ignore": !this.#pen,
    })) this.#button(name).disabled = !on;
    for (const name of ["place", "put-down"]) this.#button(name).hidden = !this.#pen;
    this.#button("close-shape").hidden = !this.#pen;
    this.#button("close-shape").disabled = !(this.#pen?.corners.length >= 3);
  }

  #drawPen() {
    const dots = (this.#pen?.corners ?? []).map(([x, y], i) => {
      const dot = element("span", { className: "pen-corner", data: { first: String(i === 0) } });
      dot.style.left = `${x * 100}%`;
      dot.style.top = `${y * 100}%`;
      return dot;
    });
    this.#root.querySelector(".pen").replaceChildren(...dots);
    const line = this.#root.querySelector(".pen-line polyline");
    line.setAttribute("points", (this.#pen?.corners ?? []).map(([x, y]) => `${x * 100},${y * 100}`).join(" "));
  }

  #renderList() {
    const list = this.#root.querySelector(".regions-list");
    const focused = list.contains(document.activeElement) ? document.activeElement.dataset.focus : null;
    list.replaceChildren(
      ...this.#drawing.regions.map(({ kind, corners }, i) =>
        element(
          "li",
          { data: { chosen: String(this.#editing && i === this.#chosen) } },
          element(
            "button",
            { type: "button", className: "region-name", "aria-pressed": String(this.#editing && i === this.#chosen), disabled: !this.#editing, data: { kind, focus: `choose ${i}` }, on: { click: () => this.#choose(i) } },
            `${this.#nameOf(i)} `,
            element("small", {}, count(corners.length, "corner")),
          ),
          this.#editing && element("button", { type: "button", className: "quiet", data: { focus: `turn ${i}` }, on: { click: () => this.#do(() => this.#drawing.setKind(i, other(kind))) } }, kind === "ignore" ? "Inspect it instead" : "Ignore it instead"),
          this.#editing && element("button", { type: "button", className: "quiet", "aria-label": `Delete ${this.#nameOf(i)}`, data: { focus: `delete ${i}` }, on: { click: () => this.#delete(i) } }, "Delete"),
        ),
      ),
    );
    if (focused) list.querySelector(`[data-focus="${focused}"]`)?.focus();
  }

  #choose(i) {
    this.#chosen = i;
    this.#render();
    this.#handles.focus(0);
  }

  #delete(i) {
    this.#drawing.remove(i);
    this.#chosen = Math.max(0, Math.min(this.#chosen, this.#drawing.regions.length - 1));
    this.#changed("");
    this.#button(this.#drawing.regions.length ? "undo" : "add-ignore").focus();
  }

  #nameOf(i) {
    const { kind } = this.#drawing.regions[i];
    const number = this.#drawing.regions.slice(0, i + 1).filter((region) => region.kind === kind).length;
    return `${NAMES[kind]} ${number}`;
  }

  #say(words, isProblem = false) {
    const told = this.#root.querySelector(".regions-told");
    told.dataset.problem = String(Boolean(words) && isProblem);
    write(told, words);
  }

  #pointOf(event) {
    const { left, top, width, height } = this.#surface.getBoundingClientRect();
    return onFrame([(event.clientX - left) / width, (event.clientY - top) / height]);
  }

  #pixelsBetween([x1, y1], [x2, y2]) {
    const { width, height } = this.#surface.getBoundingClientRect();
    return Math.hypot((x1 - x2) * width, (y1 - y2) * height);
  }

  #button(name) {
    return this.#root.querySelector(`[data-do="${name}"]`);
  }

  #when(name, action) {
    this.#button(name).addEventListener("click", action);
  }
}

function box([x1, y1], [x2, y2]) {
  return [[x1, y1], [x2, y1], [x2, y2], [x1, y2]];
}

function other(kind) {
  return kind === "ignore" ? "include" : "ignore";
}

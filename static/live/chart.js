// The raw scores of the last three minutes on a canvas, on an axis made of them and of the threshold, which is drawn as it was at
// each moment. Anomalies are triangles above a stem, so shape tells them apart too. Where threshold, recipe or model changed there
// is a mark.

import { count } from "../shared/count.js";
import { distance } from "./calibration/words.js";
import { shownScore } from "../shared/verdict.js";

const SPAN_MS = 180_000;
const GAP_MS = 2_500; // no line across a pause
const RECENT = 300; // results kept to say what another threshold would do
const HIGHEST = 3; // × threshold: what is above stands at the edge, or one odd frame would flatten all others
const SAME_CHANGE_MS = 3_000; // another recipe brings another threshold: one mark
const MARK_EVERY_PX = 13;
const TICKS = 4;

export class ScoreChart {
  #canvas;
  #points = [];
  #recent = []; // { raw, isAnomaly }, of one recipe, model and regions: scores of another are on another scale
  #recentOf = "";
  #regions = "";
  #changes = []; // { at, kind, words }
  #threshold = null; // in force with the last point, raw
  #proposed = null; // while the threshold is dragged
  #axis = null; // { low, high, step }, as drawn last
  #colours = {};
  #unit = 15; // the page's text size, pixels

  constructor(canvas) {
    this.#canvas = canvas;
    new ResizeObserver(() => this.#fit()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#readColours());
    this.#readColours();
  }

  clear() {
    this.#points = [];
    this.#recent = [];
    this.#changes = [];
    this.#threshold = this.#proposed = this.#axis = null;
  }

  /** A result that came at `now`, milliseconds; `isMarked`: as an alarm if it is one, which it is not between parts. */
  add(result, now, { isMarked = true } = {}) {
    const { raw_score: raw, threshold, is_anomaly: isAnomaly } = result;
    if (this.#threshold !== null && this.#threshold !== threshold) this.#mark(now, "threshold", `Threshold ${distance(this.#threshold)} → ${distance(threshold)}`);
    this.#threshold = threshold;
    this.#points.push({ at: now, raw, threshold, isAnomaly, isMarked: isMarked && isAnomaly, shown: shownScore(result) });
    this.#keepRecent(result);
    let old = 0;
    while (now - this.#points[old].at > SPAN_MS) old += 1;
    if (old > 0) this.#points.splice(0, old);
    this.#changes = this.#changes.filter(({ at }) => now - at <= SPAN_MS);
  }

  /** A verdict on a part that came at `now`: one that was rejected is marked. */
  addPart({ verdict, raw_score: raw, threshold }, now) {
    const last = this.#points.at(-1);
    if (verdict === "ANOMALY" && last) this.#points.push({ ...last, at: now, raw, threshold, isAnomaly: true, isMarked: true });
  }

  /** A message that something changed, docs/protocol.md, that came at `now`. */
  noteChange({ what, recipe_name: name, recipe_version: version }, now) {
    if (what === "recipe") this.#mark(now, "recipe", `${name}, version ${version}`);
    else if (what === "model") this.#mark(now, "model", "Model");
    else this.#mark(now, "threshold", "Threshold");
  }

  /** In force with the last result, raw; null before the first. */
  get threshold() {
    return this.#threshold;
  }

  /** Where is inspected from now on: what was scored elsewhere says nothing of a threshold here. */
  useRegions(regions) {
    const used = JSON.stringify(regions);
    if (used !== this.#regions) this.#recent = [];
    this.#regions = used;
  }

  /** What of the last results would be another with this threshold: `{ of, toNormal, toAnomaly }`. */
  flips(threshold) {
    return {
      of: this.#recent.length,
      toNormal: this.#recent.filter(({ raw, isAnomaly }) => isAnomaly && raw <= threshold).length,
      toAnomaly: this.#recent.filter(({ raw, isAnomaly }) => !isAnomaly && raw > threshold).length,
    };
  }

  /** A threshold that is drawn beside the one in force; null: none. */
  propose(raw) {
    this.#proposed = raw;
  }

  /** The axis as it was drawn last, `{ low, high }`, raw; null before the first result. */
  get axis() {
    return this.#axis;
  }

  /** Where a raw score stands, pixels from the top of the canvas, and the other way round. */
  y(raw) {
    const { top, bottom } = this.#margin();
    const { low, high } = this.#axis;
    const share = Math.min(1, Math.max(0, (raw - low) / (high - low)));
    return this.#canvas.clientHeight - bottom - share * (this.#canvas.clientHeight - top - bottom);
  }

  rawAt(y) {
    const { top, bottom } = this.#margin();
    const { low, high } = this.#axis;
    const share = (this.#canvas.clientHeight - bottom - y) / (this.#canvas.clientHeight - top - bottom);
    return low + Math.min(1, Math.max(0, share)) * (high - low);
  }

  /** What the chart shows, in words. */
  describe() {
    const results = this.#points.length;
    if (results === 0) return "Chart of the scores; nothing inspected yet";
    const anomalies = this.#points.filter(({ isAnomaly }) => isAnomaly).length;
    const { shown, raw } = this.#points[results - 1];
    const thresholds = this.#changes.filter(({ kind }) => kind === "threshold").length;
    const others = this.#changes.filter(({ kind }) => kind !== "threshold").map(({ words }) => words);
    const changed = thresholds === 0 ? "" : `; the threshold changed ${thresholds === 1 ? "once" : `${thresholds} times`}`;
    const also = others.length === 0 ? "" : `; changed to ${others.join(", ")}`;
    return `Chart of the scores of the last 3 minutes: ${count(results, "result")}, ${anomalies} above the threshold, the latest ${shown}, raw ${distance(raw)}, threshold ${distance(this.#threshold)}${changed}${also}`;
  }

  draw(now) {
    const context = this.#canvas.getContext("2d");
    const [width, height] = [this.#canvas.clientWidth, this.#canvas.clientHeight];
    context.clearRect(0, 0, width, height);
    if (width <= 0 || height <= 0) return;
    this.#unit = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const { left, right } = this.#margin();
    const x = (at) => width - right - ((now - at) / SPAN_MS) * (width - left - right);
    if (this.#proposed === null || this.#axis === null) this.#axis = this.#measure();
    context.font = `${0.8 * this.#unit}px ${getComputedStyle(this.#canvas).fontFamily}`;
    context.textBaseline = "middle";
    this.#drawFrame(context, width, height);
    if (!this.#axis) return;
    this.#drawChanges(context, x, height);
    this.#drawThreshold(context, x);
    this.#drawScores(context, this.#columns(x));
    this.#drawChangeWords(context, x, width);
    this.#drawProposed(context, width);
  }

  #keepRecent({ raw_score: raw, is_anomaly: isAnomaly, recipe, model }) {
    const of = JSON.stringify([recipe, model]);
    if (of !== this.#recentOf) this.#recent = [];
    this.#recentOf = of;
    this.#recent.push({ raw, isAnomaly });
    if (this.#recent.length > RECENT) this.#recent.shift();
  }

  #mark(at, kind, words) {
    const near = this.#changes.find((change) => Math.abs(at - change.at) < SAME_CHANGE_MS);
    if (!near) this.#changes.push({ at, kind, words });
    else if (near.kind === "threshold" && kind !== "threshold") Object.assign(near, { kind, words });
    else if (near.kind === kind && words.length > near.words.length) near.words = words; // the one that says more
  }

  #margin() {
    const unit = this.#unit;
    return { left: 2.9 * unit, right: 3.9 * unit, top: 0.9 * unit, bottom: 1.6 * unit };
  }

  #measure() {
    if (this.#points.length === 0) return null;
    const thresholds = this.#points.map(({ threshold }) => threshold);
    const most = HIGHEST * Math.max(...thresholds);
    const values = [...this.#points.map(({ raw }) => Math.min(raw, most)), ...thresholds];
    const [lowest, highest] = [Math.min(...values), Math.max(...values)];
    const spread = Math.max(highest - lowest, Math.abs(highest) * 0.2, 1e-6);
    const step = niceStep((spread * 1.2) / TICKS);
    return { low: Math.max(0, Math.floor((lowest - spread * 0.08) / step) * step), high: Math.ceil((highest + spread * 0.12) / step) * step, step };
  }

  #fit() {
    const ratio = devicePixelRatio || 1;
    const [width, height] = [this.#canvas.clientWidth, this.#canvas.clientHeight];
    Object.assign(this.#canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
    this.#canvas.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0);
  }

  #readColours() {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["ink", "muted", "line", "anomaly-ink", "limit", "ground"]) this.#colours[name] = style.getPropertyValue(`--${name}`).trim();
  }

  #drawFrame(context, width, height) {
    const { left, right, bottom } = this.#margin();
    context.fillStyle = this.#colours.muted;
    context.strokeStyle = this.#colours.line;
    context.lineWidth = 1;
    context.textAlign = "right";
    if (this.#axis) {
      const { low, high, step } = this.#axis;
      const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
      for (let n = Math.round(low / step); n * step <= high + step / 1000; n += 1) {
        line(context, left, this.y(n * step), width - right, this.y(n * step));
        context.fillText((n * step).toFixed(digits), left - 0.5 * this.#unit, this.y(n * step));
      }
    } else {
      line(context, left, height - bottom, width - right, height - bottom);
    }
    for (const [minutes, align] of [[3, "left"], [2, "center"], [1, "center"], [0, "right"]]) {
      context.textAlign = align;
      context.fillText(minutes ? `−${minutes} min` : "now", width - right - (minutes / 3) * (width - left - right), height - bottom + 0.95 * this.#unit);
    }
  }

  // As it was at each moment, and on to the right edge, where it can be taken hold of.
  #drawThreshold(context, x) {
    context.strokeStyle = this.#colours.limit;
    context.lineWidth = 1.5;
    context.setLineDash([6, 4]);
    context.beginPath();
    let previous = null;
    for (const { at, threshold } of this.#points) {
      if (previous === null) context.moveTo(x(at), this.y(threshold));
      else if (threshold !== previous) context.lineTo(x(at), this.y(previous));
      if (threshold !== previous) context.lineTo(x(at), this.y(threshold));
      previous = threshold;
    }
    context.lineTo(this.#canvas.clientWidth - this.#margin().right, this.y(previous));
    context.stroke();
    context.setLineDash([]);
  }

  #drawProposed(context, width) {
    if (this.#proposed === null) return;
    const { left, right } = this.#margin();
    context.strokeStyle = this.#colours.ink;
    context.lineWidth = 2;
    line(context, left, this.y(this.#proposed), width - right, this.y(this.#proposed));
  }

  #drawChanges(context, x, height) {
    const { top, bottom } = this.#margin();
    context.strokeStyle = this.#colours.ink;
    context.lineWidth = 1;
    context.setLineDash([2, 3]);
    for (const { at } of this.#changes) {
      const place = Math.round(x(at)) + 0.5;
      context.beginPath();
      context.moveTo(place, top);
      context.lineTo(place, height - bottom);
      context.stroke();
    }
    context.setLineDash([]);
  }

  // Of neighbours, the newest has its words. A rim keeps scores behind them from swallowing them.
  #drawChangeWords(context, x, width) {
    let free = width;
    for (const { at, words } of [...this.#changes].reverse()) {
      const place = x(at);
      const long = context.measureText(words).width + 0.6 * this.#unit;
      const leftwards = place + long > free;
      if (leftwards && (place > free || place - long < 0)) continue;
      context.textAlign = leftwards ? "right" : "left";
      context.lineWidth = 4;
      context.strokeStyle = this.#colours.ground;
      context.fillStyle = this.#colours.ink;
      const at_x = place + (leftwards ? -0.35 : 0.35) * this.#unit;
      context.strokeText(words, at_x, 0.75 * this.#unit);
      context.fillText(words, at_x, 0.75 * this.#unit);
      free = leftwards ? place - long : place;
    }
  }

  // One column for each pixel: 3 minutes at 30 a second are more results than pixels.
  #columns(x) {
    const columns = [];
    for (const { at, raw, isMarked, threshold } of this.#points) {
      const place = Math.round(x(at));
      let column = columns[columns.length - 1];
      if (!column || column.place !== place) {
        column = { place, from: at, to: at, low: raw, high: raw, last: raw, threshold, isMarked: false };
        columns.push(column);
      }
      column.to = at;
      column.last = raw;
      column.low = Math.min(column.low, raw);
      column.high = Math.max(column.high, raw);
      column.isMarked ||= isMarked;
    }
    return columns;
  }

  #drawScores(context, columns) {
    context.strokeStyle = this.#colours.ink;
    context.lineWidth = 1.25;
    context.lineJoin = "round";
    context.beginPath();
    let previous = null;
    for (const column of columns) {
      if (!previous || column.from - previous.to > GAP_MS) context.moveTo(column.place, this.y(column.low));
      context.lineTo(column.place, this.y(column.high));
      context.lineTo(column.place, this.y(column.low));
      context.lineTo(column.place, this.y(column.last));
      previous = column;
    }
    context.stroke();
    context.fillStyle = context.strokeStyle = this.#colours["anomaly-ink"];
    let lastMark = -Infinity;
    for (const { place, high, threshold, isMarked } of columns) {
      if (!isMarked) continue;
      context.globalAlpha = 0.35;
      line(context, place, this.y(threshold), place, this.y(high));
      context.globalAlpha = 1;
      if (place - lastMark < MARK_EVERY_PX) continue;
      lastMark = place;
      triangle(context, place, this.y(high), this.#unit / 3);
    }
  }
}

/** 1, 2 or 5 times a power of ten, at least as much as `rough`. */
export function niceStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough * 0.999);
}

function line(context, fromX, fromY, toX, toY) {
  context.beginPath();
  context.moveTo(fromX, Math.round(fromY) + 0.5);
  context.lineTo(toX, Math.round(toY) + 0.5);
  context.stroke();
}

function triangle(context, x, y, size) {
  context.beginPath();
  context.moveTo(x, y - size);
  context.lineTo(x + size, y + size * 0.8);
  context.lineTo(x - size, y + size * 0.8);
  context.fill();
}

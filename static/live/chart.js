// The scores of the last three minutes on a canvas. Anomalies are triangles above a stem, so shape tells them apart too.
// The scale is the score's own: good parts near 0.1, the threshold at 0.5. Another threshold makes another scale, so the
// line breaks there and the moment is marked.

import { shownScore } from "../shared/verdict.js";

const SPAN_MS = 180_000;
const GAP_MS = 2_500; // no line across a pause
const MARGIN = { left: 34, right: 10, top: 10, bottom: 22 };
const THRESHOLD = 0.5;
const GOOD = 0.1; // where the score puts the mean of the good parts
const MARK_EVERY_PX = 13;
const LABEL_PX = 120; // "New threshold", with some room

export class ScoreChart {
  #canvas;
  #points = [];
  #changes = []; // when another threshold came into force, milliseconds
  #scale = 0; // counts them
  #threshold = null; // in force with the last point: { raw, source }
  #colours = {};

  constructor(canvas) {
    this.#canvas = canvas;
    new ResizeObserver(() => this.#fit()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#readColours());
    this.#readColours();
  }

  clear() {
    this.#points = [];
    this.#changes = [];
    this.#threshold = null;
  }

  /** A result that came at `now`, milliseconds. */
  add(result, now) {
    if (this.#threshold && this.#threshold.raw !== result.threshold) {
      this.#changes.push(now);
      this.#scale += 1;
    }
    this.#threshold = { raw: result.threshold, source: result.threshold_source };
    const { score, is_anomaly: isAnomaly } = result;
    this.#points.push({ at: now, score, isAnomaly, scale: this.#scale, shown: shownScore(result) });
    let old = 0;
    while (now - this.#points[old].at > SPAN_MS) old += 1;
    if (old > 0) this.#points.splice(0, old);
    this.#changes = this.#changes.filter((at) => now - at <= SPAN_MS);
  }

  /** What the chart shows, in words. */
  describe() {
    const count = this.#points.length;
    if (count === 0) return "Chart of the scores; nothing inspected yet";
    const anomalies = this.#points.filter(({ isAnomaly }) => isAnomaly).length;
    const latest = this.#points[count - 1].shown;
    const changed = this.#changes.length === 0 ? "" : `; the threshold changed ${this.#changes.length === 1 ? "once" : `${this.#changes.length} times`}`;
    return `Chart of the scores of the last 3 minutes: ${count} results, ${anomalies} above the threshold, the latest ${latest}${changed}`;
  }

  draw(now) {
    const context = this.#canvas.getContext("2d");
    const { width, height } = this.#plotSize();
    context.clearRect(0, 0, width, height);
    if (width <= 0 || height <= 0) return;
    const x = (at) => width - MARGIN.right - ((now - at) / SPAN_MS) * (width - MARGIN.left - MARGIN.right);
    const y = (score) => height - MARGIN.bottom - score * (height - MARGIN.top - MARGIN.bottom);
    this.#drawFrame(context, x, y, width, now);
    this.#drawScores(context, this.#columns(x), y);
    this.#drawChanges(context, x, y, width);
    this.#drawLabels(context, y);
  }

  #plotSize() {
    return { width: this.#canvas.clientWidth, height: this.#canvas.clientHeight };
  }

  #fit() {
    const ratio = devicePixelRatio || 1;
    const { width, height } = this.#plotSize();
    Object.assign(this.#canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
    this.#canvas.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0);
  }

  #readColours() {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["ink", "muted", "line", "anomaly-ink", "limit", "ground"]) this.#colours[name] = style.getPropertyValue(`--${name}`).trim();
  }

  #drawFrame(context, x, y, width, now) {
    context.font = `12px ${getComputedStyle(this.#canvas).fontFamily}`;
    context.textBaseline = "middle";
    context.lineWidth = 1;
    for (const score of [0, GOOD, 1]) {
      context.strokeStyle = this.#colours.line;
      context.setLineDash(score === GOOD ? [1, 4] : []);
      line(context, MARGIN.left, y(score), width - MARGIN.right, y(score));
    }
    context.setLineDash([]);
    context.fillStyle = this.#colours.muted;
    context.textAlign = "right";
    for (const score of [0, THRESHOLD, 1]) context.fillText(score.toFixed(1), MARGIN.left - 8, y(score));
    for (const [minutes, align] of [[3, "left"], [2, "center"], [1, "center"], [0, "right"]]) {
      context.textAlign = align;
      context.fillText(minutes ? `−${minutes} min` : "now", x(now - minutes * 60_000), y(0) + 13);
    }
    context.strokeStyle = this.#colours.limit;
    context.setLineDash([6, 4]);
    line(context, MARGIN.left, y(THRESHOLD), width - MARGIN.right, y(THRESHOLD));
    context.setLineDash([]);
  }

  #drawLabels(context, y) {
    this.#label(context, "Threshold", MARGIN.left + 4, y(THRESHOLD) - 9, "left");
    if (this.#threshold && this.#threshold.source !== "uncalibrated") this.#label(context, "Good parts", MARGIN.left + 4, y(GOOD) - 9, "left");
  }

  #drawChanges(context, x, y, width) {
    let labelled = Infinity; // of neighbours, the newest
    for (const at of [...this.#changes].reverse()) {
      const place = Math.round(x(at)) + 0.5;
      context.strokeStyle = this.#colours.ink;
      context.lineWidth = 1;
      context.setLineDash([2, 3]);
      context.beginPath();
      context.moveTo(place, y(0));
      context.lineTo(place, y(1));
      context.stroke();
      context.setLineDash([]);
      if (labelled - place < LABEL_PX) continue;
      labelled = place;
      const left = place > width - LABEL_PX;
      this.#label(context, "New threshold", place + (left ? -5 : 5), y(THRESHOLD) + 10, left ? "right" : "left"); // above are the alarms
    }
  }

  // With a rim, so that scores behind the words do not swallow them.
  #label(context, words, x, y, align) {
    context.textAlign = align;
    context.lineWidth = 4;
    context.strokeStyle = this.#colours.ground;
    context.strokeText(words, x, y);
    context.fillStyle = this.#colours.muted;
    context.fillText(words, x, y);
  }

  // One column for each pixel: 3 minutes at 30 a second are more results than pixels.
  #columns(x) {
    const columns = [];
    for (const { at, score, isAnomaly, scale } of this.#points) {
      const place = Math.round(x(at));
      let column = columns[columns.length - 1];
      if (!column || column.place !== place || column.scale !== scale) {
        column = { place, scale, from: at, to: at, low: score, high: score, last: score, isAnomaly: false };
        columns.push(column);
      }
      column.to = at;
      column.last = score;
      column.low = Math.min(column.low, score);
      column.high = Math.max(column.high, score);
      column.isAnomaly ||= isAnomaly;
    }
    return columns;
  }

  #drawScores(context, columns, y) {
    context.strokeStyle = this.#colours.ink;
    context.lineWidth = 1.25;
    context.lineJoin = "round";
    context.beginPath();
    let previous = null;
    for (const column of columns) {
      if (!previous || column.from - previous.to > GAP_MS || column.scale !== previous.scale) context.moveTo(column.place, y(column.low));
      context.lineTo(column.place, y(column.high));
      context.lineTo(column.place, y(column.low));
      context.lineTo(column.place, y(column.last));
      previous = column;
    }
    context.stroke();
    context.fillStyle = context.strokeStyle = this.#colours["anomaly-ink"];
    let lastMark = -Infinity;
    for (const { place, high, isAnomaly } of columns) {
      if (!isAnomaly) continue;
      context.globalAlpha = 0.35;
      line(context, place, y(THRESHOLD), place, y(high));
      context.globalAlpha = 1;
      if (place - lastMark < MARK_EVERY_PX) continue;
      lastMark = place;
      triangle(context, place, y(high));
    }
  }
}

function line(context, fromX, fromY, toX, toY) {
  context.beginPath();
  context.moveTo(fromX, Math.round(fromY) + 0.5);
  context.lineTo(toX, Math.round(toY) + 0.5);
  context.stroke();
}

function triangle(context, x, y) {
  context.beginPath();
  context.moveTo(x, y - 5);
  context.lineTo(x + 5, y + 4);
  context.lineTo(x - 5, y + 4);
  context.fill();
}

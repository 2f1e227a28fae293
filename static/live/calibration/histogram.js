// Raw scores captured against those that teaching knew, with the thresholds as lines. Bars and an outline, solid and dashed:
// the shapes tell them apart, not the colours.

import { shape } from "../../shared/svg.js";
import { count } from "../../shared/count.js";
import { distance } from "./words.js";

const HEIGHT = 212;
const PLOT = { left: 8, right: 8, top: 60, bottom: 30 };
const LABEL_ROW = 17;
const CHARACTER_PX = 7.8; // of a label, on average
const TICKS = 5;

/** Draws a judgement's scores into an SVG element, again whenever its place has another width. */
export class Histogram {
  #svg;
  #shown = null; // { judgement, suspects }

  constructor(svg) {
    this.#svg = svg;
    new ResizeObserver(() => this.#draw()).observe(svg.parentElement);
  }

  /** `suspects` are `{ raw_score, leftOut }`. */
  show(judgement, suspects) {
    this.#shown = { judgement, suspects };
    this.#svg.setAttribute("aria-label", describe(judgement, suspects));
    this.#draw();
  }

  #draw() {
    const width = this.#svg.parentElement.clientWidth;
    if (!this.#shown || width <= PLOT.left + PLOT.right) return;
    const { judgement, suspects } = this.#shown;
    const { edges, captured, taught } = judgement.histogram;
    const lines = thresholdLines(judgement);
    const [low, high] = span([...edges, ...lines.map(({ at }) => at), ...suspects.map(({ raw_score: raw }) => raw)]);
    const x = (raw) => PLOT.left + ((raw - low) / (high - low)) * (width - PLOT.left - PLOT.right);
    const floor = HEIGHT - PLOT.bottom;
    this.#svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.#svg.replaceChildren(
      ...ticks(low, high).flatMap((raw) => tick(x(raw), floor, raw)),
      ...bars(edges, captured, x, floor),
      outline(edges, taught, x, floor),
      shape("path", { class: "histogram-axis", d: `M${PLOT.left} ${floor + 0.5}H${width - PLOT.right}` }),
      ...suspects.map(({ raw_score: raw, leftOut }) => suspectMark(x(raw), floor, leftOut)),
      ...lines.map(({ at, kind }, row) => thresholdLine(x(at), kind, row, floor)),
      ...lines.map(({ at, name, kind }, row) => thresholdLabel(`${name} ${distance(at)}`, x(at), kind, row, width)),
    );
  }
}

/** The picture in words. */
function describe(judgement, suspects) {
  const { edges, captured, taught } = judgement.histogram;
  const parts = [`Histogram of raw scores. ${where("Captured", edges, captured)} ${where("Good parts of teaching", edges, taught)}`];
  parts.push(...thresholdLines(judgement).map(({ at, name }) => `${name} ${distance(at)}.`));
  const out = suspects.filter(({ leftOut }) => leftOut).length;
  if (suspects.length > 0) parts.push(`${count(suspects.length, "suspect frame")}, ${out} left out.`);
  return parts.join(" ");
}

function where(name, edges, counts) {
  const taken = counts.map((n, bin) => [n, bin]).filter(([n]) => n > 0);
  if (taken.length === 0) return `${name}: none.`;
  const [first, last] = [taken[0][1], taken.at(-1)[1]];
  const most = taken.reduce((best, next) => (next[0] > best[0] ? next : best))[1];
  return `${name}: ${sum(counts)} from ${distance(edges[first])} to ${distance(edges[last + 1])}, most near ${distance((edges[most] + edges[most + 1]) / 2)}.`;
}

function thresholdLines({ refused, threshold, threshold_without_suspects: without, in_force: inForce }) {
  const lines = [
    { at: refused ? null : threshold, name: "New threshold", kind: "new" },
    { at: inForce, name: "In force", kind: "old" },
    { at: without, name: "Without suspects", kind: "without" },
  ];
  return lines.filter(({ at }) => at != null);
}

function span(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const margin = (high - low || Math.abs(high) || 1) * 0.04;
  return [low - margin, high + margin];
}

function sum(counts) {
  return counts.reduce((a, b) => a + b, 0);
}

// Each as high as its own largest, so that 20 captured can be compared with 200 taught.
function heights(counts, floor) {
  const most = Math.max(...counts, 1);
  return counts.map((n) => (n / most) * (floor - PLOT.top));
}

function bars(edges, counts, x, floor) {
  return heights(counts, floor).flatMap((height, bin) => {
    if (height === 0) return [];
    const [from, to] = [x(edges[bin]), x(edges[bin + 1])];
    return [shape("rect", { class: "histogram-captured", x: from + 0.5, y: floor - height, width: Math.max(to - from - 1, 1), height })];
  });
}

function outline(edges, counts, x, floor) {
  if (sum(counts) === 0) return shape("path", {});
  const steps = heights(counts, floor).map((height, bin) => `V${floor - height}H${x(edges[bin + 1])}`);
  return shape("path", { class: "histogram-taught", d: `M${x(edges[0])} ${floor}${steps.join("")}V${floor}` });
}

function thresholdLine(x, kind, row, floor) {
  return shape("path", { class: `histogram-line ${kind}`, d: `M${x} ${3 + row * LABEL_ROW}V${floor}` });
}

function thresholdLabel(words, x, kind, row, width) {
  const leftwards = x + 6 + words.length * CHARACTER_PX > width - PLOT.right;
  const label = shape("text", { class: `histogram-label ${kind}`, x: x + (leftwards ? -6 : 6), y: 14 + row * LABEL_ROW, "text-anchor": leftwards ? "end" : "start" });
  label.textContent = words;
  return label;
}

function suspectMark(x, floor, leftOut) {
  return shape("path", { class: leftOut ? "histogram-suspect out" : "histogram-suspect", d: `M${x} ${floor - 9}l5 8h-10z` });
}

function tick(x, floor, raw) {
  const label = shape("text", { class: "histogram-tick", x, y: floor + 17, "text-anchor": "middle" });
  label.textContent = String(Number(raw.toPrecision(4)));
  return [label, shape("path", { class: "histogram-axis", d: `M${Math.round(x) + 0.5} ${floor}v4` })];
}

function ticks(low, high) {
  const rough = (high - low) / TICKS;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const found = [];
  for (let n = Math.ceil(low / step); n * step <= high; n += 1) found.push(n * step);
  return found;
}

// From the 8-bit anomaly map of a result to colours. The scale is absolute: 128 is the threshold, so good parts stay clear.

import { bytesOf } from "./base64.js";

const AT_THRESHOLD = 128;
const COLD_UP_TO = 0.8; // × threshold: below this nothing is painted; with two scales, good parts reach .6 almost anywhere
const HOT_FROM = 1.6;
const AMBER = [255, 170, 0];
const RED = [214, 18, 24];
const DRAWN_SIDE = 288;
const OUTLINE_WIDTH = 1.5; // cells of the enlarged map

const palette = makePalette();

/** 256 × RGBA: transparent up to 0.8 × threshold, amber at the threshold, red well above it. */
export function makePalette() {
  const colours = new Uint8ClampedArray(256 * 4);
  for (let value = 0; value < 256; value += 1) {
    const ratio = value / AT_THRESHOLD;
    const warm = clamp((ratio - COLD_UP_TO) / (1 - COLD_UP_TO));
    const hot = clamp((ratio - 1) / (HOT_FROM - 1));
    for (let channel = 0; channel < 3; channel += 1) {
      colours[value * 4 + channel] = AMBER[channel] + hot * (RED[channel] - AMBER[channel]);
    }
    colours[value * 4 + 3] = 255 * (0.6 * warm * warm + 0.35 * hot);
  }
  return colours;
}

function clamp(value) {
  return Math.min(1, Math.max(0, value));
}

/** `{ width, height, values }` enlarged by a whole factor, bilinear, with the centres of the cells kept in place. */
export function enlarge({ width, height, values }, factor) {
  const columns = neighbours(width, factor);
  const rows = neighbours(height, factor);
  const out = new Float32Array(columns.length * rows.length);
  let i = 0;
  for (const row of rows) {
    const above = row.low * width;
    const below = row.high * width;
    for (const { low, high, share } of columns) {
      const top = values[above + low] + (values[above + high] - values[above + low]) * share;
      const bottom = values[below + low] + (values[below + high] - values[below + low]) * share;
      out[i++] = top + (bottom - top) * row.share;
    }
  }
  return { width: columns.length, height: rows.length, values: out };
}

// For each enlarged cell: the two source cells it lies between, and how far it is towards the second.
function neighbours(length, factor) {
  return Array.from({ length: length * factor }, (_, i) => {
    const at = Math.min(length - 1, Math.max(0, (i + 0.5) / factor - 0.5));
    const low = Math.floor(at);
    return { low, high: Math.min(length - 1, low + 1), share: at - low };
  });
}

/** The ImageData of a result's `heatmap`, with a pale line around what lies above the threshold. */
export function paint({ width, height, data }) {
  const factor = Math.max(1, Math.round(DRAWN_SIDE / Math.max(width, height)));
  const map = enlarge({ width, height, values: bytesOf(data) }, factor);
  const image = new ImageData(map.width, map.height);
  const pixels = image.data;
  for (let i = 0; i < map.values.length; i += 1) {
    const value = Math.round(map.values[i]);
    if (value < AT_THRESHOLD * COLD_UP_TO) continue;
    const line = outline(map, i);
    for (let channel = 0; channel < 4; channel += 1) {
      const colour = palette[value * 4 + channel];
      pixels[i * 4 + channel] = colour + (255 - colour) * line;
    }
  }
  return image;
}

// 0..1: how much of a cell the line at the threshold covers, from the cell's distance to it along the slope.
function outline({ width, values }, i) {
  const across = (values[i + 1] ?? values[i]) - (values[i - 1] ?? values[i]);
  const down = (values[i + width] ?? values[i]) - (values[i - width] ?? values[i]);
  const slope = Math.hypot(across, down) / 2;
  const away = Math.abs(values[i] - AT_THRESHOLD) / Math.max(slope, 1e-3);
  return clamp(OUTLINE_WIDTH / 2 + 0.5 - away);
}

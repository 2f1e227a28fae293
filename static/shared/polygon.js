// What may be a region or a marked place, by the server's own rules (server/recipes/recipe.py). Corners are [x, y], 0 to 1 of the frame.

export const MOST_POLYGONS = 16;
export const MOST_CORNERS = 64;
export const SMALLEST_AREA = 1e-4;

/** Why the corners are no region, one sentence; or "" when they are one. */
export function problemOf(corners) {
  if (corners.length < 3) return "A region needs three corners at the least.";
  if (corners.length > MOST_CORNERS) return `A region has ${MOST_CORNERS} corners at the most.`;
  if (!corners.every(([x, y]) => x >= 0 && x <= 1 && y >= 0 && y <= 1)) return "A region lies on the picture, not beside it.";
  const edges = edgesOf(corners);
  if (edges.some(([here, there]) => same(here, there))) return "Two corners lie on the same spot.";
  if (crosses(corners)) return "The region’s edges would cross each other.";
  if (Math.abs(area(corners)) < SMALLEST_AREA) return "The region is too small to show anything.";
  return "";
}

/** The same of corners that are still being set, one after another: the last edge is not closed yet. */
export function openProblemOf(corners) {
  const [last, before] = [corners.at(-1), corners.at(-2)];
  if (corners.slice(0, -1).some((corner) => same(corner, last))) return "Two corners lie on the same spot.";
  const edges = edgesOf(corners).slice(0, -2);
  if (edges.slice(0, -1).some((edge) => touch(edge, [before, last]))) return "The region’s edges would cross each other.";
  return corners.length > MOST_CORNERS ? `A region has ${MOST_CORNERS} corners at the most.` : "";
}

/** Share of the frame; its sign says which way the corners run. */
export function area(corners) {
  return edgesOf(corners).reduce((sum, [[x1, y1], [x2, y2]]) => sum + x1 * y2 - x2 * y1, 0) / 2;
}

export function isInside([x, y], corners) {
  let inside = false;
  for (const [[x1, y1], [x2, y2]] of edgesOf(corners)) {
    if (y1 > y !== y2 > y && x < ((x2 - x1) * (y - y1)) / (y2 - y1) + x1) inside = !inside;
  }
  return inside;
}

export function onFrame([x, y]) {
  const within = (value) => Math.min(1, Math.max(0, value));
  return [within(x), within(y)];
}

export function middle([x1, y1], [x2, y2]) {
  return [(x1 + x2) / 2, (y1 + y2) / 2];
}

/** Moved as a whole, as far as the frame reaches. */
export function moved(corners, [dx, dy]) {
  const shift = (values, by) => Math.min(1 - Math.max(...values), Math.max(-Math.min(...values), by));
  const across = shift(corners.map(([x]) => x), dx);
  const down = shift(corners.map(([, y]) => y), dy);
  return corners.map(([x, y]) => onFrame([x + across, y + down]));
}

function edgesOf(corners) {
  return corners.map((corner, i) => [corner, corners[(i + 1) % corners.length]]);
}

/** Whether any two edges that have no corner in common touch. */
export function crosses(corners) {
  const edges = edgesOf(corners);
  return edges.some((edge, i) => edges.some((other, j) => j >= i + 2 && !(i === 0 && j === edges.length - 1) && touch(edge, other)));
}

function touch([a, b], [c, d]) {
  const sides = [side(a, b, c), side(a, b, d), side(c, d, a), side(c, d, b)];
  if (sides[0] * sides[1] < 0 && sides[2] * sides[3] < 0) return true;
  return [[a, b, c], [a, b, d], [c, d, a], [c, d, b]].some((points, i) => sides[i] === 0 && isBetween(...points));
}

/** Above 0 where r lies on one side of the line from p to q, below 0 on the other. */
export function side(p, q, r) {
  return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]);
}

function isBetween(p, q, r) {
  const within = (i) => Math.min(p[i], q[i]) <= r[i] && r[i] <= Math.max(p[i], q[i]);
  return within(0) && within(1);
}

function same([x1, y1], [x2, y2]) {
  return x1 === x2 && y1 === y2;
}

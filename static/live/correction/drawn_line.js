// A line drawn by a finger or a mouse as a polygon, corners from 0 to 1 of the picture.

import { SMALLEST_AREA, area, crosses, side } from "../../shared/polygon.js";

const MOST_CORNERS = 40;

/** A drawn line as a polygon the server takes: few corners, none crossing; null where it encloses nothing. */
export function polygonOf(line) {
  let corners = line.filter(([x, y], i) => i === 0 || x !== line[i - 1][0] || y !== line[i - 1][1]);
  for (let tolerance = 0.003; corners.length > MOST_CORNERS; tolerance *= 1.6) corners = simplified(corners, tolerance);
  if (corners.length >= 3 && crosses(corners)) corners = hull(corners);
  return corners.length < 3 || Math.abs(area(corners)) < SMALLEST_AREA ? null : corners;
}

// Ramer, Douglas and Peucker.
function simplified(line, tolerance) {
  if (line.length < 3) return line;
  const [first, last] = [line[0], line[line.length - 1]];
  let [farthest, most] = [0, 0];
  for (let i = 1; i < line.length - 1; i += 1) {
    const away = distance(line[i], first, last);
    if (away > most) [farthest, most] = [i, away];
  }
  if (most <= tolerance) return [first, last];
  return [...simplified(line.slice(0, farthest + 1), tolerance).slice(0, -1), ...simplified(line.slice(farthest), tolerance)];
}

function distance([x, y], [ax, ay], [bx, by]) {
  const long = Math.hypot(bx - ax, by - ay);
  return long === 0 ? Math.hypot(x - ax, y - ay) : Math.abs((bx - ax) * (ay - y) - (ax - x) * (by - ay)) / long;
}

// Andrew's monotone chain.
function hull(corners) {
  const sorted = [...corners].sort(([ax, ay], [bx, by]) => ax - bx || ay - by);
  const half = (points) => {
    const chain = [];
    for (const point of points) {
      while (chain.length > 1 && side(chain[chain.length - 2], chain[chain.length - 1], point) <= 0) chain.pop();
      chain.push(point);
    }
    return chain.slice(0, -1);
  };
  return [...half(sorted), ...half(sorted.reverse())];
}

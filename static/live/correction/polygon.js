// Polygons of a finger or a mouse, corners from 0 to 1 of the picture, as a recipe or a correction takes them.

const MOST_CORNERS = 40;
const SMALLEST_AREA = 1e-4;

/** A drawn line as a polygon the server takes: few corners, none crossing; null where it encloses nothing. */
export function polygonOf(line) {
  let corners = line.filter(([x, y], i) => i === 0 || x !== line[i - 1][0] || y !== line[i - 1][1]);
  for (let tolerance = 0.003; corners.length > MOST_CORNERS; tolerance *= 1.6) corners = simplified(corners, tolerance);
  if (corners.length >= 3 && crosses(corners)) corners = hull(corners);
  return corners.length < 3 || area(corners) < SMALLEST_AREA ? null : corners;
}

export function area(corners) {
  return Math.abs(edges(corners).reduce((sum, [[x1, y1], [x2, y2]]) => sum + x1 * y2 - x2 * y1, 0)) / 2;
}

function edges(corners) {
  return corners.map((corner, i) => [corner, corners[(i + 1) % corners.length]]);
}

function crosses(corners) {
  const all = edges(corners);
  return all.some(([a, b], i) => all.slice(i + 2, i === 0 ? -1 : undefined).some(([c, d]) => side(a, b, c) * side(a, b, d) <= 0 && side(c, d, a) * side(c, d, b) <= 0));
}

function side([ax, ay], [bx, by], [cx, cy]) {
  return (bx - ax) * (cy - ay) - (by - ay) * (cx - ax);
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

// Shapes in image pixels: rings filled as workbench/masks/polygons.py fills them, brush strokes, outlines, simplification.
//
// The pixel in column x and row y covers x..x+1 and y..y+1; it belongs to a shape when its centre does.

/** @typedef {import("./rle.js").Region} Region */
/** @typedef {[number, number]} Point */

/** The box of whole pixels that a shape can touch, cut to the image. @returns {import("./rle.js").Box} */
export function boxAround(points, margin, width, height) {
  let [x0, y0, x1, y1] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [x, y] of points) {
    x0 = Math.min(x0, x);
    y0 = Math.min(y0, y);
    x1 = Math.max(x1, x);
    y1 = Math.max(y1, y);
  }
  const cut = (value, limit) => Math.min(Math.max(value, 0), limit);
  return [
    cut(Math.floor(x0 - margin), width),
    cut(Math.floor(y0 - margin), height),
    cut(Math.ceil(x1 + margin), width),
    cut(Math.ceil(y1 + margin), height),
  ];
}

/**
 * Pixels whose centres lie inside the ring (even-odd), as a region of 0 and 1.
 * The arithmetic is that of `workbench.masks.polygons.fill`, so both sides give the same mask.
 * @param {Point[]} ring @param {import("./rle.js").Box} box @returns {Region}
 */
export function fillRing(ring, [x0, y0, x1, y1]) {
  const w = x1 - x0;
  const h = y1 - y0;
  const flips = new Uint8Array((w + 1) * h);
  for (let k = 0; k < ring.length; k++) {
    let [xa, ya] = ring[(k || ring.length) - 1];
    let [xb, yb] = ring[k];
    if (ya > yb) [xa, ya, xb, yb] = [xb, yb, xa, ya];
    const stop = Math.min(Math.ceil(yb - 0.5), y1);
    for (let y = Math.max(Math.ceil(ya - 0.5), y0); y < stop; y++) {
      const x = xa + ((y + 0.5 - ya) * (xb - xa)) / (yb - ya);
      flips[(y - y0) * (w + 1) + Math.min(Math.max(Math.ceil(x - 0.5), x0), x1) - x0] ^= 1;
    }
  }
  const bits = new Uint8Array(w * h);
  for (let y = 0; y < h; y++) {
    for (let x = 0, inside = 0; x < w; x++) {
      inside ^= flips[y * (w + 1) + x];
      bits[y * w + x] = inside;
    }
  }
  return { x0, y0, w, h, bits };
}

/** Whether two edges of a ring cross, other than at a corner they share. @param {Point[]} ring */
export function crossesItself(ring) {
  const n = ring.length;
  for (let i = 0; i < n; i++) {
    for (let j = i + 2; j < n; j++) {
      if (i === 0 && j === n - 1) continue; // neighbours
      if (cross(ring[i], ring[i + 1], ring[j], ring[(j + 1) % n])) return true;
    }
  }
  return false;
}

function cross(a, b, c, d) {
  const side = (p, q, r) => Math.sign((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]));
  return side(a, b, c) * side(a, b, d) < 0 && side(c, d, a) * side(c, d, b) < 0;
}

/**
 * Pixels whose centres are at most `radius` from the segment; of a segment without length, a disc.
 * @param {Point} a @param {Point} b @param {number} radius px @param {import("./rle.js").Box} box @returns {Region}
 */
export function capsule(a, b, radius, [x0, y0, x1, y1]) {
  const w = x1 - x0;
  const h = y1 - y0;
  const bits = new Uint8Array(w * h);
  const dx = b[0] - a[0];
  const dy = b[1] - a[1];
  const squared = dx * dx + dy * dy;
  const limit = radius * radius;
  for (let y = 0, at = 0; y < h; y++) {
    const py = y0 + y + 0.5 - a[1];
    for (let x = 0; x < w; x++, at++) {
      const px = x0 + x + 0.5 - a[0];
      const share = squared ? Math.min(1, Math.max(0, (px * dx + py * dy) / squared)) : 0;
      const ex = px - share * dx;
      const ey = py - share * dy;
      if (ex * ex + ey * ey <= limit) bits[at] = 1;
    }
  }
  return { x0, y0, w, h, bits };
}

// by direction right, down, left, up: the step, and the pixels ahead on the right and on the left of a corner
const STEP = [[1, 0], [0, 1], [-1, 0], [0, -1]];
const RIGHT = [[0, 0], [-1, 0], [-1, -1], [0, -1]];
const LEFT = [[0, -1], [0, 0], [-1, 0], [-1, -1]];

/**
 * The outlines of a region along the edges of its pixels, flat x, y lists in image px; only corners are listed.
 * Outer rings run clockwise on the screen and holes the other way, so that the non-zero rule fills many masks at once.
 * @param {Region} region @returns {number[][]}
 */
export function outlines({ x0, y0, w, h, bits }) {
  const is = (x, y) => x >= 0 && y >= 0 && x < w && y < h && (bits[y * w + x] & 1) === 1;
  const seen = new Uint8Array(w * h);
  const rings = [];
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      if (seen[y * w + x] || !is(x, y) || is(x, y - 1)) continue;
      rings.push(walk(x, y, is, seen, w, x0, y0));
    }
  }
  return rings;
}

/** Follow one ring from the upper left corner of a pixel with nothing above; marks the upper edges on the way. */
function walk(x, y, is, seen, w, x0, y0) {
  const ring = [];
  let direction = 0;
  let [cx, cy] = [x, y];
  do {
    if (direction === 0) seen[cy * w + cx] = 1;
    cx += STEP[direction][0];
    cy += STEP[direction][1];
    const [rx, ry] = RIGHT[direction];
    const [lx, ly] = LEFT[direction];
    let turn = 0;
    if (!is(cx + rx, cy + ry)) turn = 1;
    else if (is(cx + lx, cy + ly)) turn = 3;
    if (turn) ring.push(cx + x0, cy + y0);
    direction = (direction + turn) % 4;
  } while (cx !== x || cy !== y || direction !== 0);
  return ring;
}

/**
 * The ring with fewer points, none of those left out farther than the tolerance from the new outline.
 * Source: Douglas and Peucker 1973, on the two halves between the first point and the one farthest from it.
 * @param {number[]} ring flat x, y @param {number} tolerance px @returns {number[]}
 */
export function simplify(ring, tolerance) {
  const count = ring.length / 2;
  if (count < 4 || tolerance <= 0) return ring;
  let far = 0;
  let widest = -1;
  for (let i = 1; i < count; i++) {
    const d = (ring[2 * i] - ring[0]) ** 2 + (ring[2 * i + 1] - ring[1]) ** 2;
    if (d > widest) [far, widest] = [i, d];
  }
  const keep = new Uint8Array(count + 1);
  keep[0] = keep[far] = 1;
  const spans = [0, far, far, count];
  while (spans.length) {
    const stop = spans.pop();
    const start = spans.pop();
    const middle = farthest(ring, start, stop, count, tolerance * tolerance);
    if (middle) {
      keep[middle] = 1;
      spans.push(start, middle, middle, stop);
    }
  }
  const out = [];
  for (let i = 0; i < count; i++) if (keep[i]) out.push(ring[2 * i], ring[2 * i + 1]);
  return out.length >= 6 ? out : ring;
}

/** The point between two others that is farthest from their segment, 0 when none is over the limit. */
function farthest(ring, start, stop, count, limit) {
  const ax = ring[2 * start];
  const ay = ring[2 * start + 1];
  const dx = ring[2 * (stop % count)] - ax;
  const dy = ring[2 * (stop % count) + 1] - ay;
  const squared = dx * dx + dy * dy;
  let found = 0;
  for (let i = start + 1; i < stop; i++) {
    const px = ring[2 * i] - ax;
    const py = ring[2 * i + 1] - ay;
    const share = squared ? Math.min(1, Math.max(0, (px * dx + py * dy) / squared)) : 0;
    const d = (px - share * dx) ** 2 + (py - share * dy) ** 2;
    if (d > limit) [found, limit] = [i, d];
  }
  return found;
}

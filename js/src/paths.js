// Outlines of masks as Path2D, cached for a level of zoom: exact pixel edges close up, fewer points far away.

import { outlines, simplify } from "./geometry.js";
import { pixels } from "./rle.js";

const EXACT = 3; // CSS px an image pixel from which its edges are drawn as they are
const SMOOTH_PX = 0.75; // a staircase of single pixels becomes a line

/** @type {WeakMap<object, {rings: number[][], level: string, path: Path2D}>} */
const cache = new WeakMap();

function levelOf(zoom) {
  return zoom >= EXACT ? "exact" : String(Math.floor(Math.log2(zoom)));
}

/** @param {{ends: Uint32Array, box: number[]}} mask @param {number} height of the image @param {number} zoom */
export function pathOf(mask, height, zoom) {
  const level = levelOf(zoom);
  let entry = cache.get(mask);
  if (!entry) {
    const [x0, y0, x1, y1] = mask.box;
    const rings = x1 > x0 && y1 > y0 ? outlines(pixels(mask.ends, height, mask.box)) : [];
    entry = { rings, level: "", path: new Path2D() };
    cache.set(mask, entry);
  }
  if (entry.level !== level) {
    const tolerance = level === "exact" ? 0 : Math.max(SMOOTH_PX, 0.7 / 2 ** (Number(level) + 1));
    entry.path = pathOfRings(entry.rings.map((ring) => simplify(ring, tolerance)));
    entry.level = level;
  }
  return entry.path;
}

/** @param {number[][]} rings flat x, y */
export function pathOfRings(rings) {
  const path = new Path2D();
  for (const ring of rings) {
    path.moveTo(ring[0], ring[1]);
    for (let i = 2; i < ring.length; i += 2) path.lineTo(ring[i], ring[i + 1]);
    path.closePath();
  }
  return path;
}

// Which masks lie under a point or in a box: a grid of boxes, then the exact test on run lengths. Smallest mask first.

import { contains } from "./rle.js";

/** @typedef {{box: number[], ends: Uint32Array, area_px: number}} Indexed */

export class MaskIndex {
  /** @param {number} width @param {number} height of the image */
  constructor(width, height) {
    this.width = width;
    this.height = height;
    this.cell = Math.max(32, Math.ceil(Math.max(width, height) / 48));
    this.across = Math.max(1, Math.ceil(width / this.cell));
    this.down = Math.max(1, Math.ceil(height / this.cell));
    /** @type {Set<Indexed>[]} */
    this.cells = Array.from({ length: this.across * this.down }, () => new Set());
  }

  /** @param {Indexed} mask */
  add(mask) {
    this.#each(mask.box, (cell) => cell.add(mask));
  }

  /** @param {Indexed} mask */
  remove(mask) {
    this.#each(mask.box, (cell) => cell.delete(mask));
  }

  /** @returns {Indexed[]} masks that hold the pixel under (x, y), smallest first */
  at(x, y) {
    const px = Math.floor(x);
    const py = Math.floor(y);
    if (!(px >= 0 && py >= 0 && px < this.width && py < this.height)) return [];
    const cell = this.cells[Math.floor(py / this.cell) * this.across + Math.floor(px / this.cell)];
    const found = [];
    for (const mask of cell) {
      const [x0, y0, x1, y1] = mask.box;
      if (px >= x0 && px < x1 && py >= y0 && py < y1 && contains(mask.ends, this.height, px, py)) found.push(mask);
    }
    return found.sort((a, b) => a.area_px - b.area_px);
  }

  /** @returns {Set<Indexed>} masks whose box meets a box */
  within([x0, y0, x1, y1]) {
    const found = new Set();
    this.#each([x0, y0, x1, y1], (cell) => {
      for (const mask of cell) {
        const b = mask.box;
        if (b[0] < x1 && b[2] > x0 && b[1] < y1 && b[3] > y0) found.add(mask);
      }
    });
    return found;
  }

  #each([x0, y0, x1, y1], call) {
    if (x1 <= x0 || y1 <= y0) return;
    const last = (value, count) => Math.min(Math.floor((value - 1e-9) / this.cell), count - 1);
    for (let j = Math.max(0, Math.floor(y0 / this.cell)); j <= last(y1, this.down); j++) {
      for (let i = Math.max(0, Math.floor(x0 / this.cell)); i <= last(x1, this.across); i++) {
        call(this.cells[j * this.across + i]);
      }
    }
  }
}

/**
 * The mask that a click chooses: the smallest under the point, and on a click at the same place the one underneath.
 * @template T @param {T[]} under smallest first @param {T|null} selected @param {boolean} again the click before was here
 * @returns {T|null}
 */
export function choose(under, selected, again) {
  if (!under.length) return null;
  const place = selected && again ? under.indexOf(selected) : -1;
  return under[(place + 1) % under.length];
}

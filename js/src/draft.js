// An unfinished drawing: pixels of a region that grows, what the hand did, and the prompts so far.

import { boxAround, capsule, fillRing } from "./geometry.js";
import { Strokes } from "./history.js";
import { boxOf, paint, runsOfRegion, stringOfRuns } from "./rle.js";

const MASK = 1; // lowest bit: the pixel is in the mask
const HAND = 2; // set by brush, eraser or polygon: the model's later answers leave it alone
const ROOM = 128; // px around what is drawn

/** @typedef {import("./rle.js").Region} Region */

export class Draft {
  strokes = new Strokes();
  /** @type {Region} */
  region = { x0: 0, y0: 0, w: 0, h: 0, bits: new Uint8Array(0) };
  /** prompts of the model: clicks [x, y, 1 inside or 0 outside] and a box */
  points = [];
  box = null;
  /** corners of a polygon that is not closed yet @type {[number, number][]} */
  corners = [];
  /** tools used, the last one first */
  tools = [];
  polygons = [];
  changed = 0;

  /**
   * @param {number} width @param {number} height of the image
   * @param {{mode?: "new"|"edit"|"replace", mask?: object|null, label?: string}} given
   */
  constructor(width, height, { mode = "new", mask = null, label = "" } = {}) {
    Object.assign(this, { width, height, mode, mask, label });
    if (mode === "edit" && mask) {
      this.#grow(mask.box);
      paint(mask.ends, height, this.region, MASK);
    }
  }

  get empty() {
    return !this.region.bits.some((b) => b & MASK);
  }

  /** Anything that would be lost by dropping it. */
  get begun() {
    return this.strokes.done.length > 0 || this.corners.length > 0;
  }

  /** Add a part or take it away; one stroke to undo. */
  apply(part, adds, tool) {
    const close = this.open(tool);
    this.put(part, adds);
    close();
  }

  /** Begin a stroke of many parts. @returns {() => void} ends it */
  open(tool) {
    const before = this.#snapshot();
    return () => this.#commit(before, tool);
  }

  /** Put pixels of a part, inside an open stroke. */
  put(part, adds) {
    if (!part.w || !part.h) return;
    this.#grow([part.x0, part.y0, part.x0 + part.w, part.y0 + part.h]);
    const { x0, y0, w, bits } = this.region;
    const value = adds ? HAND | MASK : HAND;
    for (let y = 0, at = 0; y < part.h; y++) {
      let to = (part.y0 - y0 + y) * w + part.x0 - x0;
      for (let x = 0; x < part.w; x++, at++, to++) if (part.bits[at]) bits[to] = value;
    }
    this.changed += 1;
  }

  /** One step of the brush. */
  brush(a, b, radius, adds) {
    this.put(capsule(a, b, radius, boxAround([a, b], radius, this.width, this.height)), adds);
  }

  /** Close the polygon. @returns {boolean} whether it holds any pixel */
  closePolygon(adds = true) {
    const ring = this.corners;
    this.corners = [];
    if (ring.length < 3) return false;
    const part = fillRing(ring, boxAround(ring, 0, this.width, this.height));
    if (!part.bits.includes(1)) return false;
    this.strokes.done = this.strokes.done.filter((s) => !s.corner); // the corners are now one stroke
    this.strokes.undone = [];
    this.polygons.push({ points: ring, adds });
    this.apply(part, adds, "polygon");
    return true;
  }

  addCorner(point) {
    this.corners.push(point);
    this.strokes.add({
      corner: true,
      undo: () => this.corners.pop(),
      redo: () => this.corners.push(point),
    });
    this.changed += 1;
  }

  /** The corners of an open polygon are dropped. */
  dropCorners() {
    this.corners = [];
    this.strokes.done = this.strokes.done.filter((s) => !s.corner);
    this.strokes.undone = [];
    this.changed += 1;
  }

  /** A click or a box for the model; undone together with its answer. */
  addPrompt({ point = null, box = null }, tool) {
    const close = this.open(tool);
    if (point) this.points = [...this.points, point];
    if (box) this.box = box;
    close();
  }

  /** The model's answer: its mask, but for what the hand has drawn. It belongs to the last prompt. */
  answer(ends) {
    this.#grow(boxOf(ends, this.height));
    const { bits } = this.region;
    const said = { ...this.region, bits: new Uint8Array(bits.length) };
    paint(ends, this.height, said, MASK);
    for (let i = 0; i < bits.length; i++) if (!(bits[i] & HAND)) bits[i] = said.bits[i];
    this.changed += 1;
    this.strokes.done.at(-1)?.renew?.();
  }

  undo() {
    this.changed += 1;
    return this.strokes.undo();
  }

  redo() {
    this.changed += 1;
    return this.strokes.redo();
  }

  /** @returns {{rle: string, runs: number[], tool: string, prompts: object, label: string}} */
  result() {
    const runs = runsOfRegion(this.region, this.width, this.height);
    const prompts = {};
    if (this.points.length) prompts.points = this.points;
    if (this.box) prompts.box = this.box;
    if (this.polygons.length) prompts.polygons = this.polygons;
    const used = [...new Set(this.strokes.done.map((s) => s.tool).filter(Boolean))];
    if (used.length > 1) prompts.tools = used;
    return { rle: stringOfRuns(runs), runs, tool: used.at(-1) ?? "brush", prompts, label: this.label };
  }

  #snapshot() {
    const { points, box } = this;
    const { x0, y0, w, h } = this.region;
    return { region: { x0, y0, w, h }, packed: pack(this.region.bits), points, box, polygons: [...this.polygons] };
  }

  #restore({ region, packed, points, box, polygons }) {
    this.region = { ...region, bits: unpack(packed, region.w * region.h) };
    Object.assign(this, { points, box, polygons: [...polygons] });
    this.changed += 1;
  }

  #commit(before, tool) {
    let after = this.#snapshot();
    this.tools.push(tool);
    this.strokes.add({
      tool,
      undo: () => this.#restore(before),
      redo: () => this.#restore(after),
      renew: () => (after = this.#snapshot()),
    });
  }

  /** Make the region hold a box, with room for what comes. */
  #grow([x0, y0, x1, y1]) {
    if (x1 <= x0 || y1 <= y0) return;
    const old = this.region;
    const inside = x0 >= old.x0 && y0 >= old.y0 && x1 <= old.x0 + old.w && y1 <= old.y0 + old.h;
    if (old.w && inside) return;
    if (old.w) {
      [x0, y0] = [Math.min(x0, old.x0), Math.min(y0, old.y0)];
      [x1, y1] = [Math.max(x1, old.x0 + old.w), Math.max(y1, old.y0 + old.h)];
    }
    x0 = Math.max(0, Math.floor(x0 - ROOM));
    y0 = Math.max(0, Math.floor(y0 - ROOM));
    const w = Math.min(this.width, Math.ceil(x1 + ROOM)) - x0;
    const h = Math.min(this.height, Math.ceil(y1 + ROOM)) - y0;
    const bits = new Uint8Array(w * h);
    for (let y = 0; y < old.h; y++) {
      bits.set(old.bits.subarray(y * old.w, (y + 1) * old.w), (y + old.y0 - y0) * w + old.x0 - x0);
    }
    this.region = { x0, y0, w, h, bits };
  }
}

/** Pairs of value and count: a stroke that is kept for undo takes kilobytes, not megabytes. */
function pack(bits) {
  const pairs = [];
  for (let i = 0; i < bits.length; ) {
    const from = i;
    while (i < bits.length && bits[i] === bits[from]) i++;
    pairs.push(bits[from], i - from);
  }
  return Uint32Array.from(pairs);
}

function unpack(pairs, length) {
  const bits = new Uint8Array(length);
  for (let i = 0, at = 0; i < pairs.length; i += 2) bits.fill(pairs[i], at, (at += pairs[i + 1]));
  return bits;
}

// The image that is open: its masks, what holds for each now, and what is shown before the kernel has answered.

import { Gestures } from "./history.js";
import { MaskIndex } from "./index.js";
import { areaOf, boxOf, endsOfRuns, runsOfString } from "./rle.js";

/**
 * @typedef {object} Mask
 * @property {string} id
 * @property {number} number place in the image's list, from 1, for people
 * @property {"auto_accepted"|"flagged"|"discarded"|"drawn"|""} outcome
 * @property {"none"|"accept"|"reject"} verdict
 * @property {string} source @property {boolean} bulk
 * @property {number|null} predicted_iou @property {number|null} jitter_stability @property {number|null} stability_score
 * @property {number} area_px @property {string[]} reasons @property {string} label
 * @property {"none"|"accept"|"reject"} suggested @property {string} by
 * @property {boolean} superseded @property {Uint32Array} ends @property {number[]} box
 */

const DEFAULTS = {
  outcome: "flagged",
  verdict: "none",
  bulk: false,
  source: "automatic",
  predicted_iou: null,
  jitter_stability: null,
  stability_score: null,
  area_px: 0,
  reasons: [],
  label: "",
  suggested: "none",
  by: "",
  superseded: false,
};

/** The groups that are coloured, listed and shown or hidden together. */
export const GROUPS = ["flagged", "accepted", "drawn", "rejected", "discarded"];

/** @param {Mask} mask */
export function groupOf(mask) {
  if (mask.verdict === "reject") return "rejected";
  if (mask.outcome === "drawn" || mask.source === "manual" || mask.source === "edited") return "drawn";
  if (mask.verdict === "accept" || mask.outcome === "auto_accepted") return "accepted";
  return mask.outcome === "discarded" ? "discarded" : "flagged";
}

/** Whether it waits for a person. */
export function isOpen(mask) {
  return groupOf(mask) === "flagged";
}

export class Session {
  /** @type {Mask[]} */
  masks = [];
  /** @type {Map<string, Mask>} by id; a mask just drawn is found by both of its names */
  byId = new Map();
  gestures = new Gestures();
  /** what a gesture of this page changed, to take it back: gesture -> changes @type {Map<string, object[]>} */
  changes = new Map();
  view = { mode: "empty", image: null, labels: [], reasons: {}, settings: {}, progress: {}, message: "" };
  index = new MaskIndex(1, 1);
  /** groups that masks had when they were last drawn @type {Map<Mask, string>} */
  left = new Map();

  /** @param {object} view the trait @param {{ends: Uint32Array[], height: number}} wire the masks of the trait `masks` */
  load(view, wire) {
    const again = view.token === this.view.token || (view.image?.name && view.image.name === this.view.image?.name);
    this.view = { labels: [], reasons: {}, settings: {}, progress: {}, message: "", ...view };
    const { width = 1, height = 1 } = view.image ?? {};
    this.index = new MaskIndex(width, height);
    this.masks = [];
    this.byId = new Map();
    this.changes = new Map();
    this.left = new Map();
    const columns = view.masks ?? {};
    (columns.id ?? []).forEach((id, i) => {
      const mask = { ...DEFAULTS };
      for (const name of Object.keys(DEFAULTS)) mask[name] = columns[name]?.[i] ?? DEFAULTS[name];
      this.#insert(mask, id, wire.ends[i]);
    });
    this.gestures.load(view.history ?? [], !again);
  }

  get width() {
    return this.view.image?.width ?? 0;
  }

  get height() {
    return this.view.image?.height ?? 0;
  }

  get audit() {
    return this.view.mode === "audit";
  }

  /** Masks that are in play: not superseded by an edit. */
  get present() {
    return this.masks.filter((m) => !m.superseded);
  }

  /** @returns {Record<string, number>} masks of each group */
  counts() {
    const counts = Object.fromEntries(GROUPS.map((g) => [g, 0]));
    for (const mask of this.masks) if (!mask.superseded) counts[groupOf(mask)] += 1;
    return counts;
  }

  /** What accept all accepts: shown for review or accepted by itself, and without a verdict. Discarded ones are not. */
  acceptable() {
    return this.present.filter((m) => m.verdict === "none" && ["flagged", "accepted"].includes(groupOf(m)));
  }

  /**
   * Show a gesture's effect at once and remember what was before.
   * @param {string} gesture @param {string} kind @param {{mask: Mask, to: object}[]} steps
   * @returns {Mask[]} that changed
   */
  apply(gesture, kind, steps) {
    const kept = steps.map(({ mask, to }) => ({ mask, to, from: pick(mask, Object.keys(to)) }));
    this.changes.set(gesture, kept);
    this.gestures.add(gesture, kind);
    for (const { mask, to } of kept) this.#set(mask, to);
    return kept.map((s) => s.mask);
  }

  /** Undo (or redo) before the kernel answers, for gestures of this page. @returns {Mask[]} that changed */
  turn(gesture, undone) {
    this.gestures.mark(gesture, undone);
    const steps = this.changes.get(gesture) ?? [];
    for (const { mask, to, from } of steps) this.#set(mask, undone ? from : to);
    return steps.map((s) => s.mask);
  }

  /** The kernel refused a gesture. @returns {Mask[]} that changed back */
  revert(gesture) {
    const steps = this.changes.get(gesture) ?? [];
    this.changes.delete(gesture);
    this.gestures.drop(gesture);
    for (const { mask, to, from } of steps) {
      const untouched = Object.entries(to).every(([name, value]) => mask[name] === value);
      if (untouched) this.#set(mask, from);
    }
    return steps.map((s) => s.mask);
  }

  /** A mask drawn here, under a name of its own until the kernel names it. @returns {Mask} */
  draw(gesture, runs, { source, label, by = "" }) {
    const mask = { ...DEFAULTS, outcome: "drawn", source, label, by, superseded: true };
    return this.#insert(mask, `g:${gesture}`, endsOfRuns(runs));
  }

  /** What the kernel says holds now. @returns {Set<Mask>} that changed */
  settle(reply, pendingIds = new Set()) {
    const changed = new Set();
    for (const row of reply.added ?? []) changed.add(this.#added(row));
    for (const [id, to] of Object.entries(reply.changes ?? {})) {
      const mask = this.byId.get(id);
      if (!mask || pendingIds.has(mask.id)) continue; // a later gesture on it is still under way
      this.#set(mask, pick(to, Object.keys(DEFAULTS)));
      changed.add(mask);
    }
    for (const id of reply.removed ?? []) {
      const mask = this.byId.get(id);
      if (mask) this.#set(mask, { superseded: true });
      if (mask) changed.add(mask);
    }
    if (reply.progress) this.view.progress = reply.progress;
    if (reply.history) this.gestures.load(reply.history);
    return changed;
  }

  #added(row) {
    const known = this.byId.get(row.id) ?? this.byId.get(row.temp);
    const told = { superseded: false, ...pick(row, Object.keys(DEFAULTS)) };
    if (!known) return this.#insert({ ...DEFAULTS, ...told }, row.id, endsOfRuns(runsOfString(row.rle)));
    this.byId.set(row.id, known);
    known.id = row.id;
    this.#set(known, told);
    return known;
  }

  #insert(mask, id, ends) {
    mask.id = id;
    mask.ends = ends;
    mask.box = boxOf(ends, this.height);
    mask.area_px ||= areaOf(ends);
    mask.number = this.masks.length + 1;
    this.masks.push(mask);
    this.byId.set(id, mask);
    if (!mask.superseded) this.index.add(mask);
    return mask;
  }

  #set(mask, to) {
    const was = mask.superseded;
    const group = groupOf(mask);
    if (!this.left.has(mask)) this.left.set(mask, group);
    Object.assign(mask, to);
    if (was && !mask.superseded) this.index.add(mask);
    if (!was && mask.superseded) this.index.remove(mask);
  }
}

function pick(from, names) {
  return Object.fromEntries(names.filter((n) => from[n] !== undefined).map((n) => [n, from[n]]));
}

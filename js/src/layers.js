// The masks on the screen: for each group a canvas of fills and one of lines, at the resolution of the stage.
//
// Showing, hiding and opacity are left to the compositor. While the camera moves, the canvases move with it as they are;
// they are drawn afresh in slices of a few milliseconds and exchanged when complete, so that no frame waits for 1,000 masks.
// A canvas is as large as the stage, and the browser holds it more than once: what shows nothing has none.

import { pathOf } from "./paths.js";
import { GROUPS, groupOf } from "./session.js";
import { STYLES, strokeAs } from "./styles.js";

const SLICE_MS = 6;
const FIRST_MS = 40; // of an image just opened: nothing moves yet, so it had better be there soon
const CALM_MS = 90; // without moving, before the masks are drawn for the new view
const MANY = 40; // more boxes than these cost more than all masks afresh
const AT_ONCE = 60; // so few masks are drawn in the same frame

export class Layers {
  /** @param {HTMLElement} holder @param {import("./camera.js").Camera} camera @param {import("./frames.js").Frames} frames */
  constructor(holder, camera, frames) {
    Object.assign(this, { holder, camera, frames });
    this.session = null;
    this.shown = new Set(["flagged", "accepted", "drawn", "rejected"]);
    this.fills = true;
    this.opacity = 0.35;
    this.visible = true;
    this.ratio = 1;
    this.job = null;
    this.slice_ms = SLICE_MS;
    this.onDone = () => {};
    /** @type {Record<string, {fill: HTMLCanvasElement, line: HTMLCanvasElement, drawn: object|null, stale: boolean}>} */
    this.sheets = {};
    for (const group of GROUPS.toReversed()) {
      const [fill, line] = [0, 1].map(() => {
        const canvas = document.createElement("canvas");
        canvas.className = "wb-sheet";
        canvas.width = canvas.height = 0;
        holder.append(canvas);
        return canvas;
      });
      this.sheets[group] = { fill, line, drawn: null, stale: true };
    }
    this.scratch = [document.createElement("canvas"), document.createElement("canvas")];
  }

  load(session) {
    this.session = session;
    this.slice_ms = FIRST_MS;
    this.redraw();
  }

  /** Draw all groups that are shown afresh. */
  redraw() {
    for (const sheet of Object.values(this.sheets)) sheet.stale = true;
    this.restyle();
  }

  /** What is shown has changed. */
  restyle() {
    for (const [group, { fill, line }] of Object.entries(this.sheets)) {
      const on = this.visible && this.shown.has(group);
      fill.style.visibility = on && this.fills && STYLES[group].fills ? "" : "hidden"; // needs no layout, as display does
      line.style.visibility = on ? "" : "hidden";
      fill.style.opacity = String(this.opacity);
    }
    this.#start();
  }

  /** The camera moved: move what is there, then draw it anew. */
  moved() {
    for (const sheet of Object.values(this.sheets)) this.#place(sheet);
    clearTimeout(this.waits);
    this.waits = setTimeout(() => this.#start(), CALM_MS);
  }

  /**
   * Some masks changed what they are: only the boxes around them are drawn again, in the group left and the one entered.
   * @param {object[]} masks @param {string[]} before their groups before
   */
  touch(masks, before = []) {
    if (masks.length > MANY || this.job || Object.values(this.sheets).some((sheet) => sheet.drawn && !this.#current(sheet))) {
      this.redraw();
      return;
    }
    masks.forEach((mask, i) => {
      for (const group of new Set([before[i] ?? groupOf(mask), groupOf(mask)])) {
        const sheet = this.sheets[group];
        if (sheet.drawn) this.#patch(group, sheet, mask.box);
      }
    });
    this.#start();
  }

  stop() {
    clearTimeout(this.waits);
    this.job = null;
  }

  /** Move what was drawn for another view of the camera to where it belongs now. */
  #place({ fill, line, drawn }) {
    if (!drawn) return;
    const { camera } = this;
    const s = camera.scale / drawn.scale;
    const same = s === 1 && camera.x === drawn.x && camera.y === drawn.y;
    const shift = `translate(${camera.x - drawn.x * s}px, ${camera.y - drawn.y * s}px) scale(${s})`;
    for (const canvas of [fill, line]) canvas.style.transform = same ? "" : shift;
  }

  #current({ drawn, stale }) {
    if (!drawn || stale) return false;
    const now = this.#now();
    return Object.keys(now).every((name) => now[name] === drawn[name]);
  }

  #now() {
    const { scale, x, y, width, height } = this.camera;
    return { scale, x, y, width, height, ratio: this.ratio };
  }

  #start() {
    if (!this.session) return;
    const groups = GROUPS.filter((group) => this.shown.has(group) && !this.#current(this.sheets[group]));
    this.job = null;
    if (!groups.length || !this.visible) return;
    const { camera } = this;
    const [x0, y0] = camera.toImage(0, 0);
    const [x1, y1] = camera.toImage(camera.width, camera.height);
    const inSight = [...this.session.index.within([x0, y0, x1, y1])];
    const view = this.#now();
    const masksOf = (group) => inSight.filter((m) => groupOf(m) === group);
    this.job = { view, groups: groups.map((group) => ({ group, masks: masksOf(group) })), at: 0 };
    if (inSight.length <= AT_ONCE) this.#work(Infinity);
    else this.frames.ask("masks", () => this.#work(this.slice_ms));
  }

  /** Draw masks of the job for so many milliseconds. */
  #work(budget) {
    const { job } = this;
    if (!job) return;
    const until = performance.now() + budget;
    while (job.groups.length) {
      const { group, masks } = job.groups[0];
      if (job.at === 0 && masks.length) this.#size(this.scratch, job.view);
      const [fill, line] = this.scratch.map((c) => this.#context(c, job.view));
      while (job.at < masks.length) {
        this.#draw(fill, line, group, masks[job.at++], job.view.scale);
        if (job.at % 8 === 0 && performance.now() > until) {
          this.frames.ask("masks", () => this.#work(budget));
          return;
        }
      }
      this.#exchange(group, masks.length > 0, job.view);
      job.groups.shift();
      job.at = 0;
    }
    this.job = null;
    empty(this.scratch);
    this.slice_ms = SLICE_MS;
    this.onDone();
  }

  #exchange(group, any, view) {
    const sheet = this.sheets[group];
    if (any) {
      const pairs = [[sheet.line, this.scratch[1]], ...(STYLES[group].fills ? [[sheet.fill, this.scratch[0]]] : [])];
      this.#size(pairs.map(([canvas]) => canvas), view);
      for (const [canvas, drawn] of pairs) {
        const context = canvas.getContext("2d");
        context.setTransform(1, 0, 0, 1, 0, 0);
        context.drawImage(drawn, 0, 0);
      }
    } else empty([sheet.fill, sheet.line]);
    sheet.drawn = view;
    sheet.stale = false;
    this.#place(sheet);
  }

  #size(canvases, { width, height, ratio }) {
    for (const canvas of canvases) {
      const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
      if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
      else {
        const context = canvas.getContext("2d");
        context.setTransform(1, 0, 0, 1, 0, 0);
        context.clearRect(0, 0, w, h);
      }
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height}px`;
    }
  }

  #context(canvas, { scale, x, y, ratio }) {
    const context = canvas.getContext("2d");
    context.setTransform(ratio * scale, 0, 0, ratio * scale, ratio * x, ratio * y);
    return context;
  }

  #draw(fill, line, group, mask, zoom) {
    const style = STYLES[group];
    const path = pathOf(mask, this.session.height, zoom);
    if (style.fills) {
      fill.fillStyle = style.color;
      fill.fill(path);
    }
    strokeAs(line, style, path, zoom);
  }

  /** Draw one box of a group again. */
  #patch(group, sheet, [x0, y0, x1, y1]) {
    const margin = 6 / this.camera.scale;
    const box = [x0 - margin, y0 - margin, x1 + margin, y1 + margin];
    const masks = [...this.session.index.within(box)].filter((m) => groupOf(m) === group);
    const canvases = STYLES[group].fills ? [sheet.line, sheet.fill] : [sheet.line];
    if (!sheet.line.width) {
      if (!masks.length) return;
      this.#size(canvases, sheet.drawn); // the first mask of its group in sight
      this.#place(sheet);
    }
    const contexts = canvases.map((canvas) => this.#context(canvas, sheet.drawn));
    for (const context of contexts) {
      context.save();
      context.beginPath();
      context.rect(box[0], box[1], box[2] - box[0], box[3] - box[1]);
      context.clip();
      context.clearRect(box[0], box[1], box[2] - box[0], box[3] - box[1]);
    }
    for (const mask of masks) this.#draw(contexts[1], contexts[0], group, mask, sheet.drawn.scale);
    for (const context of contexts) context.restore();
  }
}

/** Give the pixels of canvases back. */
function empty(canvases) {
  for (const canvas of canvases) canvas.width = canvas.height = 0;
}

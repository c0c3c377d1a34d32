// A stand-in for the kernel's side: the traits of PROTOCOL.md, a journal that survives a reload, answers after a delay.

import { capsule, boxAround } from "../src/geometry.js";
import { areaOf, boxOf, endsOfRuns, runsOfRegion, runsOfString } from "../src/rle.js";
import { makeScene, paintScene } from "./scene.js";

const RECORDED = new Set(["verdict", "accept_all", "draw", "edit", "label", "undo", "redo", "complete", "skip", "answer"]);

export class Model {
  #values = {};
  #listeners = new Map();
  comm_live = true;

  get(name) {
    return this.#values[name];
  }

  set(name, value) {
    this.#values[name] = value;
  }

  save_changes() {
    this.changed?.();
  }

  on(event, call) {
    this.#listeners.set(event, [...(this.#listeners.get(event) ?? []), call]);
  }

  off(event, call) {
    this.#listeners.set(event, (this.#listeners.get(event) ?? []).filter((c) => c !== call));
  }

  /** What the kernel sets: all values first, then the events. */
  tell(values) {
    Object.assign(this.#values, values);
    for (const name of Object.keys(values)) for (const call of this.#listeners.get(`change:${name}`) ?? []) call();
  }

  get listening() {
    return [...this.#listeners.values()].reduce((n, calls) => n + calls.length, 0);
  }
}

export class Kernel {
  /** every journaled message, once a gesture */
  journal = [];
  /** every message that came, with repeats */
  received = [];
  dead = false;
  refuse = ""; // words with which the next gesture is refused
  n = 0;

  constructor(model, options) {
    Object.assign(this, { model, options });
    this.image = 0;
    model.changed = () => this.#soon();
    model.tell({ acked: {}, replies: [], outbox: [], heard: {}, fault: "", live: null, picture: null, masks: null, view: {} });
  }

  async open(number) {
    const { count, width, height, images, mode } = this.options;
    this.image = number;
    const scene = makeScene({ count, width, height, seed: number + 1, name: `made-${number + 1}.png` });
    this.scene = scene;
    this.history = [];
    const labels = [{ key: "1", name: "cell" }, { key: "2", name: "nucleus" }, { key: "3", name: "<b>debris</b>" }];
    const reasons = { borderline_score: "score just below the threshold", unusual_shape: "unusual shape", overlaps: "overlaps another mask", touches_border: "touches the border of the image", ambiguous: "the model's three masks of this point disagree" };
    const view = { ...scene.view, mode, labels, reasons, settings: { idle_s: 30 }, progress: this.#progress(), history: [], queue: { kind: "flagged", expires_in_s: 600 }, message: "" };
    if (mode === "audit") for (const column of ["outcome", "verdict", "by"]) view.masks[column] = view.masks[column].map(() => (column === "verdict" ? "none" : ""));
    if (mode === "audit") for (const column of ["predicted_iou", "jitter_stability", "stability_score"]) view.masks[column] = view.masks[column].map(() => null);
    if (mode === "audit") view.masks.reasons = view.masks.reasons.map(() => []);
    if (number >= images || mode === "empty") return this.model.tell({ view: { ...view, ...nothing(this.options.held), mode: "empty", image: null, masks: null }, masks: new ArrayBuffer(0), picture: new ArrayBuffer(0) });
    const picture = await paintScene(scene);
    this.model.tell({ view, masks: new DataView(scene.masks), picture });
  }

  #progress() {
    return { images_done: 847 + this.image, images: 1000, masks_done: 21_340 + this.journal.length, masks: 26_000 };
  }

  #soon() {
    if (!this.dead) setTimeout(() => this.#handle(), this.options.delay);
  }

  #handle() {
    if (this.dead) return;
    const { model } = this;
    const acked = { ...model.get("acked") };
    const replies = model.get("replies").filter((r) => !((model.get("heard") ?? {})[r.client] >= r.n));
    const todo = model.get("outbox").filter((m) => m.seq > (acked[m.client] ?? 0));
    if (!todo.length) return;
    for (const message of todo) {
      this.received.push(message);
      acked[message.client] = message.seq;
      const reply = this.#answer(message);
      if (reply) replies.push({ n: ++this.n, client: message.client, to: message.seq, gesture: message.gesture_id, ...reply });
    }
    model.tell({ acked, replies });
  }

  #answer(message) {
    if (!RECORDED.has(message.kind)) return this.#unrecorded(message);
    if (this.refuse) {
      const error = this.refuse;
      this.refuse = "";
      return { ok: false, error };
    }
    const again = this.journal.some((m) => m.gesture_id === message.gesture_id);
    if (!again) this.journal.push(message);
    const { kind } = message;
    const entry = this.history.find((g) => g.gesture === message.gesture);
    if (kind === "undo" && entry) entry.undone = true;
    else if (kind === "redo" && entry) entry.undone = false;
    else if (!again && kind !== "answer") this.history.push({ gesture: message.gesture_id, kind: kind === "accept_all" ? "verdict" : kind, undone: false });
    const reply = { ok: true, changes: {}, added: [], removed: [], progress: this.#progress(), history: this.history.map((g) => ({ ...g })) };
    if (kind === "verdict") reply.changes[message.mask] = { verdict: message.verdict };
    if (kind === "label") reply.changes[message.mask] = { label: message.label };
    if (kind === "draw" || kind === "edit") this.#drawn(message, reply);
    if (kind === "complete") this.#complete(message, reply);
    if (kind === "skip") setTimeout(() => this.open(this.image + 1));
    return reply;
  }

  #drawn(message, reply) {
    const ends = endsOfRuns(runsOfString(message.rle));
    const id = `d${message.gesture_id.slice(0, 8)}`;
    reply.added.push({ temp: `g:${message.gesture_id}`, id, outcome: "drawn", verdict: "none", bulk: false, source: message.kind === "edit" ? "edited" : "manual", area_px: areaOf(ends), reasons: [], label: message.label, suggested: "none", by: "a1", rle: message.rle });
    if (message.kind === "edit") reply.changes[message.mask] = { superseded: true };
    if (this.options.overlap) {
      reply.dialog = { kind: "overlap", text: "The new mask and mask 1 share 64 % of the smaller one.", mask: id, other: "m1", iou: 0.41, smaller: 0.64, choices: [{ key: "k", choice: "keep", text: "Keep both" }, { key: "z", choice: "undo", text: "Undo the new mask" }] };
    }
  }

  #complete(message, reply) {
    if (!message.confirmed && this.options.coverage) {
      const { width, height } = this.options;
      const box = [Math.round(width * 0.55), Math.round(height * 0.15), Math.round(width * 0.9), Math.round(height * 0.5)];
      reply.dialog = { kind: "coverage", text: "Significant unmasked region detected. Continue annotating?", box, rle: null, choices: [{ key: "c", choice: "continue", text: "Continue annotating" }, { key: "y", choice: "complete", text: "It is complete" }] };
    } else setTimeout(() => this.open(this.image + 1));
  }

  #unrecorded(message) {
    if (message.kind === "open") {
      const next = message.which === "previous" ? Math.max(0, this.image - 1) : this.image + 1;
      setTimeout(() => this.open(message.which === "image" ? 0 : next));
    }
    if (message.kind === "prompt") this.#live(message);
    if (message.kind === "refresh" && this.options.mode === "empty") setTimeout(() => this.open(this.image));
    return null;
  }

  /** A disc around the last click, or an ellipse in the box. */
  #live(message) {
    const { width, height } = this.options;
    const inside = message.points.filter((p) => p[2] === 1);
    const [x, y] = inside.at(-1) ?? (message.box ? [(message.box[0] + message.box[2]) / 2, (message.box[1] + message.box[3]) / 2] : [10, 10]);
    const radius = message.box ? (message.box[2] - message.box[0]) / 2.4 : 30 + 12 * message.points.length;
    const region = capsule([x, y], [x, y], radius, boxAround([[x, y]], radius, width, height));
    const runs = runsOfRegion(region, width, height);
    const header = { token: message.token, prompt_id: message.prompt_id, predicted_iou: 0.93, area_px: areaOf(endsOfRuns(runs)) };
    if (this.options.live_error) header.error = "The model is not loaded: run project.load_sam first.";
    let text = JSON.stringify(header);
    text += " ".repeat((4 - (text.length % 4)) % 4);
    const bytes = new Uint8Array(4 + text.length + 4 * runs.length);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, text.length, true);
    bytes.set(new TextEncoder().encode(text), 4);
    runs.forEach((r, i) => view.setUint32(4 + text.length + 4 * i, r, true));
    setTimeout(() => this.model.tell({ live: view }), this.options.live_ms);
  }
}

/** What is said where no image can be opened, as long as others hold some, and then. */
function nothing(held) {
  if (held === null) return {};
  const [free, others] = held ? [0, held] : [1, 0];
  return { queue: { kind: "", free, others, elsewhere: 0 }, message: held ? `no image is free now: ${held} with other annotators` : "1 image is free now" };
}

export { boxOf };

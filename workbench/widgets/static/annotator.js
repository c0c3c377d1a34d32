// Built from js/src by `npm run build` in js/. Do not edit.

// src/annotator.css
var annotator_default = '.wb {\n  --wb-back: var(--jp-layout-color1, #ffffff);\n  --wb-soft-back: var(--jp-layout-color2, #f3f4f6);\n  --wb-line: var(--jp-border-color2, #d7dae0);\n  --wb-text: var(--jp-ui-font-color1, #1c2024);\n  --wb-soft: var(--jp-ui-font-color2, #5f6670);\n  --wb-brand: var(--jp-brand-color1, #0b6bcb);\n  --wb-stage: #e4e6ea;\n  --wb-font: var(--jp-ui-font-family, system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif);\n  box-sizing: border-box;\n  display: flex;\n  flex-direction: column;\n  height: clamp(440px, var(--wb-height, 78vh), 1100px);\n  min-width: 0;\n  border: 1px solid var(--wb-line);\n  border-radius: 8px;\n  overflow: hidden;\n  background: var(--wb-back);\n  color: var(--wb-text);\n  font: 13px/1.4 var(--wb-font);\n  container-type: inline-size;\n  color-scheme: light;\n}\n.wb:fullscreen { height: 100vh; border: 0; border-radius: 0; }\n.wb *, .wb *::before { box-sizing: border-box; }\n.wb [hidden] { display: none !important; }\n.wb:focus { outline: none; }\n.wb:focus-visible, .wb:focus-within { border-color: var(--wb-brand); box-shadow: 0 0 0 1px var(--wb-brand); }\n.wb button:focus-visible, .wb input:focus-visible, .wb select:focus-visible, .wb-scroller:focus-visible {\n  outline: 2px solid var(--wb-brand);\n  outline-offset: 1px;\n}\n@media (prefers-color-scheme: dark) {\n  .wb {\n    --wb-back: var(--jp-layout-color1, #16181c);\n    --wb-soft-back: var(--jp-layout-color2, #22252b);\n    --wb-line: var(--jp-border-color2, #353a43);\n    --wb-text: var(--jp-ui-font-color1, #e6e8eb);\n    --wb-soft: var(--jp-ui-font-color2, #a0a7b1);\n    --wb-brand: var(--jp-brand-color1, #5aa9f8);\n    --wb-stage: #0e0f12;\n    color-scheme: dark;\n  }\n}\nbody[data-jp-theme-light="true"] .wb { --wb-stage: #e4e6ea; color-scheme: light; }\nbody[data-jp-theme-light="false"] .wb { --wb-stage: #0e0f12; color-scheme: dark; }\n\n.wb kbd { /* themes of notebooks style keys too, the dark one so wide that they cover what they do */\n  font: 11px/1 var(--wb-font) !important;\n  padding: 2px 5px !important;\n  border: 1px solid var(--wb-line) !important;\n  border-radius: 4px;\n  background: var(--wb-soft-back) !important;\n  color: var(--wb-soft) !important;\n  white-space: nowrap;\n}\n.wb-head, .wb-foot { display: flex; align-items: center; gap: 8px; padding: 6px 10px; min-width: 0; }\n.wb-head { border-bottom: 1px solid var(--wb-line); }\n.wb-foot { border-top: 1px solid var(--wb-line); flex-wrap: wrap; }\n.wb-name { font-weight: 600; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; max-width: 30cqw; }\n.wb-chip { padding: 1px 8px; border-radius: 10px; background: var(--wb-brand); color: var(--wb-back); font-size: 12px; white-space: nowrap; }\n.wb-progress { display: flex; align-items: center; gap: 8px; min-width: 0; overflow: hidden; }\n.wb-progress-text { overflow: hidden; text-overflow: ellipsis; }\n.wb-progress-text, .wb-zoom { color: var(--wb-soft); font-variant-numeric: tabular-nums; white-space: nowrap; }\n.wb-meter { width: 90px; height: 6px; border-radius: 3px; background: var(--wb-line); overflow: hidden; flex: none; }\n.wb-meter > span { display: block; height: 100%; background: var(--wb-brand); }\n.wb-spring { flex: 1; }\n.wb-icon {\n  position: relative;\n  display: inline-grid;\n  place-items: center;\n  width: 32px;\n  height: 30px;\n  padding: 0;\n  border: 0;\n  border-radius: 6px;\n  background: none;\n  color: var(--wb-text);\n  cursor: pointer;\n  flex: none;\n}\n.wb-icon:hover { background: var(--wb-soft-back); }\n.wb-icon:disabled { opacity: 0.35; cursor: default; background: none; }\n.wb-icon[aria-pressed="true"] { background: var(--wb-brand); color: var(--wb-back); }\n.wb-banner { padding: 8px 12px; background: #a4341a; color: #fff; }\n.wb-body { flex: 1; display: flex; min-height: 0; }\n\n.wb-tools { display: flex; flex-direction: column; gap: 2px; padding: 6px; border-right: 1px solid var(--wb-line); width: 46px; }\n.wb-tools .wb-icon { width: 34px; height: 40px; align-content: center; gap: 1px; }\n.wb-tools .wb-icon kbd { border: 0 !important; padding: 0 !important; background: none !important; font-size: 9px !important; color: inherit !important; opacity: 0.7; }\n.wb-size { display: flex; flex-direction: column; align-items: center; gap: 4px; padding-top: 6px; border-top: 1px solid var(--wb-line); }\n.wb-size input { writing-mode: vertical-lr; direction: rtl; width: 18px; height: 80px; margin: 0; }\n.wb-size-text { font-size: 10px; color: var(--wb-soft); white-space: nowrap; }\n\n.wb-stage { position: relative; flex: 1; min-width: 0; overflow: hidden; background: var(--wb-stage); touch-action: none; user-select: none; }\n.wb-sheet { position: absolute; left: 0; top: 0; transform-origin: 0 0; pointer-events: none; }\n.wb-sheets { position: absolute; inset: 0; pointer-events: none; }\n.wb-stage.wb-space { cursor: grab !important; }\n.wb-stage.wb-panning { cursor: grabbing !important; }\n.wb-tip {\n  position: absolute;\n  left: 0;\n  top: 0;\n  max-width: 250px;\n  padding: 6px 9px;\n  border-radius: 6px;\n  background: rgba(20, 22, 26, 0.92);\n  color: #f2f3f5;\n  font-size: 12px;\n  pointer-events: none;\n  z-index: 2;\n}\n.wb-tip-head { font-weight: 600; }\n.wb-tip ul { margin: 3px 0 0; padding-left: 16px; }\n.wb-empty { position: absolute; inset: 0; display: grid; place-content: center; justify-items: center; gap: 4px; text-align: center; padding: 20px; color: var(--wb-text); }\n.wb[data-mode="empty"] :is(.wb-tools, .wb-side, .wb-foot) { display: none; }\n.wb-empty-title { font-size: 18px; font-weight: 600; }\n.wb-empty-title::first-letter { text-transform: uppercase; }\n.wb-empty p { margin: 0 0 8px; color: var(--wb-soft); }\n\n.wb-side { width: 284px; flex: none; display: flex; flex-direction: column; min-height: 0; overflow: hidden auto; scrollbar-width: thin; border-left: 1px solid var(--wb-line); }\n.wb-no-side .wb-side { display: none; }\n.wb-side section { padding: 8px 12px; border-bottom: 1px solid var(--wb-line); }\n.wb-side section:last-child { border-bottom: 0; }\n.wb-section-head { display: flex; align-items: center; gap: 8px; min-height: 20px; }\n.wb h4 { margin: 0; font-size: 12px; font-weight: 600; }\n.wb-count { margin-left: auto; flex: none; padding-left: 8px; color: var(--wb-soft); font-size: 12px; font-variant-numeric: tabular-nums; }\n.wb-soft { margin: 4px 0 0; color: var(--wb-soft); font-size: 12px; }\n.wb-details { min-height: 128px; flex: none; }\n.wb-score { display: grid; grid-template-columns: 102px 1fr 34px; align-items: center; gap: 8px; font-size: 12px; margin-top: 3px; }\n.wb-bar { height: 5px; border-radius: 3px; background: var(--wb-line); overflow: hidden; }\n.wb-bar > span { display: block; height: 100%; background: var(--wb-brand); }\n.wb-value { text-align: right; font-variant-numeric: tabular-nums; }\n.wb-reasons { margin: 6px 0 0; padding-left: 16px; font-size: 12px; }\n.wb-buttons { display: flex; flex-wrap: wrap; gap: 6px; margin-top: 8px; }\n.wb-layers { flex: none; }\n.wb-layer { display: flex; align-items: center; gap: 7px; min-height: 20px; font-size: 12px; cursor: pointer; }\n.wb-layer-name { flex: 0 1 auto; min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }\n.wb-layer label { display: flex; align-items: center; gap: 7px; }\n.wb-layer input { margin: 0; accent-color: var(--wb-brand); }\n.wb-fills { margin-left: auto; min-width: 0; }\n.wb-fills input[type="range"] { width: 92px; min-width: 0; }\n.wb-labels { display: flex; flex-wrap: wrap; gap: 5px; }\n.wb-labels:not(:empty) { margin-top: 6px; }\n.wb-label { display: inline-flex; align-items: center; gap: 5px; padding: 2px 8px 2px 4px; border: 1px solid var(--wb-line); border-radius: 12px; background: none; color: inherit; font: inherit; font-size: 12px; cursor: pointer; max-width: 100%; }\n.wb-label span { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }\n.wb-label[aria-pressed="true"] { background: var(--wb-brand); border-color: var(--wb-brand); color: var(--wb-back); }\n.wb-list { flex: 1 0 150px; display: flex; flex-direction: column; padding-bottom: 0 !important; }\n.wb-list-tools { display: flex; gap: 6px; margin: 6px 0; }\n.wb-select { flex: 1; width: 100%; min-width: 0; height: 26px; padding: 0 4px; text-overflow: ellipsis; border: 1px solid var(--wb-line); border-radius: 5px; background: var(--wb-back); color: inherit; font: inherit; font-size: 12px; }\n.wb-scroller { flex: 1; min-height: 0; overflow-y: auto; position: relative; margin: 0 -12px; border-top: 1px solid var(--wb-line); contain: strict; }\n.wb-rows { position: relative; }\n.wb-row { position: absolute; left: 0; right: 0; top: 0; height: 28px; display: flex; align-items: center; gap: 7px; padding: 0 12px; cursor: pointer; font-size: 12px; contain: strict; }\n.wb-row:hover { background: var(--wb-soft-back); }\n.wb-row[aria-selected="true"] { background: color-mix(in srgb, var(--wb-brand) 18%, transparent); box-shadow: inset 3px 0 var(--wb-brand); }\n.wb-mark { display: flex; }\n.wb-number { min-width: 26px; color: var(--wb-soft); font-variant-numeric: tabular-nums; }\n.wb-row-text { flex: 1; min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }\n\n.wb-button { display: inline-flex; align-items: center; gap: 7px; height: 30px; padding: 0 8px 0 11px; border: 1px solid var(--wb-line); border-radius: 6px; background: var(--wb-back); color: inherit; font: inherit; cursor: pointer; white-space: nowrap; }\n.wb-button:hover { background: var(--wb-soft-back); }\n.wb-button:disabled { opacity: 0.45; cursor: default; }\n.wb-small { height: 26px; font-size: 12px; padding: 0 6px 0 8px; }\n.wb-accept { border-color: #2f8fcb; box-shadow: inset 3px 0 #56b4e9; }\n.wb-reject { border-color: #d55e00; box-shadow: inset 3px 0 #d55e00; }\n.wb-main { background: var(--wb-brand); border-color: var(--wb-brand); color: var(--wb-back); }\n.wb-main:hover { background: color-mix(in srgb, var(--wb-brand) 88%, var(--wb-text)); }\n.wb-main kbd { background: transparent !important; color: inherit !important; border-color: color-mix(in srgb, currentColor 45%, transparent) !important; }\n.wb-message { flex: 1; min-width: 120px; color: var(--wb-soft); font-size: 12px; overflow: hidden; display: -webkit-box; -webkit-line-clamp: 2; -webkit-box-orient: vertical; }\n.wb-message[data-kind="error"] { color: #d5481e; font-weight: 600; }\n.wb-message[data-kind="done"] { color: var(--wb-text); }\n\n.wb-dialog {\n  position: absolute;\n  left: 50%;\n  bottom: 14px;\n  transform: translateX(-50%);\n  width: min(460px, calc(100% - 24px));\n  max-height: calc(100% - 28px);\n  overflow-y: auto;\n  padding: 14px 16px;\n  border: 1px solid var(--wb-line);\n  border-radius: 10px;\n  background: var(--wb-back);\n  color: var(--wb-text);\n  box-shadow: 0 8px 30px rgba(0, 0, 0, 0.35);\n  z-index: 3;\n  user-select: text;\n}\n.wb-dialog:focus { outline: none; }\n.wb-wide { width: min(1040px, calc(100% - 24px)); bottom: auto; top: 12px; max-height: calc(100% - 24px); }\n.wb-dialog-title { font-size: 15px; font-weight: 600; }\n.wb-dialog p { margin: 6px 0 0; }\n.wb-dialog input { width: 100%; height: 30px; margin-top: 10px; padding: 0 8px; border: 1px solid var(--wb-line); border-radius: 6px; background: var(--wb-back); color: inherit; font: inherit; }\n.wb-choices { display: flex; flex-wrap: wrap; gap: 8px; margin-top: 12px; }\n.wb-help { columns: 3 236px; column-gap: 20px; margin-top: 8px; }\n.wb-help section { margin-bottom: 10px; }\n.wb-help h4 { margin-bottom: 3px; color: var(--wb-soft); break-after: avoid; }\n.wb-help-row { break-inside: avoid; display: grid; grid-template-columns: 96px 1fr; gap: 8px; align-items: baseline; padding: 1px 0; font-size: 12px; }\n.wb-help-row kbd { justify-self: start; }\n\n@container (max-width: 860px) {\n  .wb-meter, .wb-zoom { display: none; }\n  .wb-side { width: 220px; }\n  .wb-score { grid-template-columns: 84px 1fr 34px; }\n  .wb-foot .wb-button { padding: 0 6px 0 8px; }\n}\n@media (prefers-reduced-motion: no-preference) {\n  .wb-meter > span { transition: width 0.2s; }\n}\n';

// src/protocol.js
var UNRECORDED = /* @__PURE__ */ new Set(["open", "prompt", "renew", "refresh"]);
var RESEND_MS = 2e3;
var SILENT_MS = 5e3;
var PREFIX = "workbench:";
function uuid() {
  if (globalThis.crypto?.randomUUID) return globalThis.crypto.randomUUID();
  const bytes = globalThis.crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
}
var Post = class {
  /**
   * @param {object} model get, set, save_changes
   * @param {object} on called back
   * @param {(message: Message|undefined, reply: object) => void} on.reply
   * @param {(state: {silent: boolean, waiting: number}) => void} on.state
   * @param {{storage?: Storage|null, now?: () => number, elapsed?: () => number}} given
   */
  constructor(model, on, { storage: storage2 = null, now = () => Date.now(), elapsed = () => 0 } = {}) {
    Object.assign(this, { model, on, storage: storage2, now, elapsed });
    this.client = uuid();
    this.seq = 0;
    this.token = "";
    this.image = "";
    this.store_key = "";
    this.pending = [];
    this.asked = /* @__PURE__ */ new Map();
    this.heard = 0;
    this.sent_at = 0;
    this.tries = 0;
    this.state = "";
    this.timer = null;
  }
  /** An image was opened: later messages carry its token, and what an earlier page left unsent goes first. */
  open({ token, store_key, image }) {
    this.token = token ?? "";
    this.image = image?.name ?? "";
    if (store_key && store_key !== this.store_key) {
      this.store_key = store_key;
      this.#adopt();
    }
  }
  /** @returns {Message} as it was queued */
  send(kind, fields = {}, { phase = "verdict", gesture_id = uuid() } = {}) {
    const elapsed_ms = UNRECORDED.has(kind) ? 0 : this.elapsed();
    const told = { gesture_id, token: this.token, image: this.image, kind, phase, elapsed_ms, ...fields };
    const message = this.#queue(told, []);
    this.#keep();
    this.#push();
    return message;
  }
  /** `acked` changed: what the kernel has is no longer kept. */
  acknowledged() {
    const upto = (this.model.get("acked") ?? {})[this.client] ?? 0;
    const done = this.pending.filter(({ message }) => message.seq <= upto);
    if (!done.length) return this.#tell();
    this.pending = this.pending.filter(({ message }) => message.seq > upto);
    for (const { from } of done) for (const key of from) this.#forget(key);
    this.tries = 0;
    this.#keep();
    this.#tell();
  }
  /** `replies` changed: each of ours is handed on once, in order. */
  replied() {
    const mine = (this.model.get("replies") ?? []).filter((r) => r.client === this.client && r.n > this.heard);
    if (!mine.length) return;
    mine.sort((a, b) => a.n - b.n);
    for (const reply of mine) {
      this.heard = reply.n;
      const message = this.asked.get(reply.to);
      this.asked.delete(reply.to);
      this.on.reply(message, reply);
    }
    this.model.set("heard", { ...this.model.get("heard") ?? {}, [this.client]: this.heard });
    this.model.save_changes();
  }
  /** Called every half second: sends again what was not acknowledged, and says so when nobody answers. */
  tick() {
    if (this.pending.length && this.now() - this.sent_at >= RESEND_MS) {
      this.tries += 1;
      this.#push();
    }
    this.#tell();
  }
  start() {
    this.timer = setInterval(() => this.tick(), 500);
  }
  close() {
    clearInterval(this.timer);
  }
  /** Gestures that the kernel does not have yet. */
  get waiting() {
    return this.pending.filter(({ message }) => !UNRECORDED.has(message.kind)).length;
  }
  #queue(told, from) {
    const message = { ...told, client: this.client, seq: ++this.seq };
    this.pending.push({ message, since: this.now(), from });
    this.asked.set(message.seq, message);
    return message;
  }
  /** Write the outbox: ours, and what other views of this widget still have in it. */
  #push() {
    const acked = this.model.get("acked") ?? {};
    const others = (this.model.get("outbox") ?? []).filter(
      (m) => m.client !== this.client && m.seq > (acked[m.client] ?? 0)
    );
    const ours = this.pending.map(({ message }) => this.tries ? { ...message, tries: this.tries } : message);
    this.sent_at = this.now();
    this.model.set("outbox", [...others, ...ours]);
    this.model.save_changes();
  }
  #tell() {
    const oldest = this.pending[0]?.since ?? Infinity;
    const silent = this.now() - oldest >= SILENT_MS || this.model.comm_live === false;
    const state = { silent, waiting: this.waiting };
    const text = JSON.stringify(state);
    if (text !== this.state) {
      this.state = text;
      this.on.state(state);
    }
  }
  get #key() {
    return `${PREFIX}${this.store_key}:${this.client}`;
  }
  #keep() {
    if (!this.storage || !this.store_key) return;
    const kept = this.pending.map(({ message }) => message).filter((m) => !UNRECORDED.has(m.kind));
    try {
      if (kept.length) this.storage.setItem(this.#key, JSON.stringify(kept));
      else this.storage.removeItem(this.#key);
    } catch {
    }
  }
  #forget(key) {
    try {
      this.storage?.removeItem(key);
    } catch {
    }
  }
  /** Take over what pages before this one could not deliver. Gesture ids stay, so nothing is recorded twice. */
  #adopt() {
    if (!this.storage) return;
    const before = this.pending;
    this.pending = [];
    const start = `${PREFIX}${this.store_key}:`;
    for (const key of this.#keys().filter((k) => k.startsWith(start) && k !== this.#key)) {
      const kept = this.#read(key);
      kept.forEach((message, i) => {
        const { tries: _, ...told } = message;
        this.#queue(told, i === kept.length - 1 ? [key] : []);
      });
      if (!kept.length) this.#forget(key);
    }
    for (const entry of before) {
      this.asked.delete(entry.message.seq);
      this.#queue(entry.message, entry.from);
    }
    if (this.pending.length) {
      this.#keep();
      this.#push();
    }
  }
  #keys() {
    try {
      return Array.from({ length: this.storage.length }, (_, i) => this.storage.key(i) ?? "");
    } catch {
      return [];
    }
  }
  #read(key) {
    try {
      const kept = JSON.parse(this.storage.getItem(key) ?? "[]");
      return Array.isArray(kept) ? kept.filter((m) => m && typeof m.gesture_id === "string") : [];
    } catch {
      return [];
    }
  }
};

// src/history.js
var Gestures = class {
  /** @type {Gesture[]} */
  list = [];
  /** sent but not in the kernel's list yet @type {Set<string>} */
  unseen = /* @__PURE__ */ new Set();
  /** undo or redo under way: gesture -> undone @type {Map<string, boolean>} */
  wanted = /* @__PURE__ */ new Map();
  /** @param {Gesture[]} list @param {boolean} afresh another image was opened */
  load(list, afresh = false) {
    if (afresh) {
      this.unseen.clear();
      this.wanted.clear();
    }
    const known = new Set(list.map((g) => g.gesture));
    for (const gesture of known) this.unseen.delete(gesture);
    const later = this.list.filter((g) => this.unseen.has(g.gesture));
    this.list = [...list.map((g) => ({ ...g })), ...later];
  }
  /** A new gesture; what was undone before it can no longer be redone. */
  add(gesture, kind) {
    this.unseen.add(gesture);
    this.list.push({ gesture, kind, undone: false });
  }
  /** The kernel refused it. */
  drop(gesture) {
    this.unseen.delete(gesture);
    this.wanted.delete(gesture);
    this.list = this.list.filter((g) => g.gesture !== gesture);
  }
  /** Mark as undone or not before the kernel answers. */
  mark(gesture, undone) {
    this.wanted.set(gesture, undone);
  }
  /** The kernel has answered; its list says what holds now. */
  settle(gesture) {
    this.wanted.delete(gesture);
  }
  #undone(g) {
    return this.wanted.get(g.gesture) ?? g.undone;
  }
  /** @returns {Gesture|undefined} the last gesture that is in force */
  get last() {
    return this.list.findLast((g) => !this.#undone(g));
  }
  /** @returns {Gesture|undefined} the one to redo: the first undone after the last in force */
  get next() {
    const from = this.list.findLastIndex((g) => !this.#undone(g)) + 1;
    return this.list[from];
  }
};
var Strokes = class {
  /** @type {{undo: () => void, redo: () => void}[]} */
  done = [];
  /** @type {{undo: () => void, redo: () => void}[]} */
  undone = [];
  add(stroke) {
    this.done.push(stroke);
    this.undone = [];
  }
  undo() {
    const stroke = this.done.pop();
    if (!stroke) return false;
    stroke.undo();
    this.undone.push(stroke);
    return true;
  }
  redo() {
    const stroke = this.undone.pop();
    if (!stroke) return false;
    stroke.redo();
    this.done.push(stroke);
    return true;
  }
};

// src/rle.js
function runsOfString(text) {
  const runs = [];
  for (let p = 0; p < text.length; ) {
    let value = 0;
    let weight = 1;
    let more = true;
    while (more) {
      const code = text.charCodeAt(p++) - 48;
      if (!(code >= 0 && code < 64)) throw new Error(`mask: the string is damaged at character ${p}`);
      value += (code & 31) * weight;
      weight *= 32;
      more = (code & 32) !== 0;
      if (!more && code & 16) value -= weight;
    }
    if (runs.length > 2) value += runs[runs.length - 2];
    if (value < 0) throw new Error("mask: the string is damaged, a run is negative");
    runs.push(value);
  }
  return runs;
}
function stringOfRuns(runs) {
  let text = "";
  for (let i = 0; i < runs.length; i++) {
    let value = i > 2 ? runs[i] - runs[i - 2] : runs[i];
    let more = true;
    while (more) {
      const next = Math.floor(value / 32);
      let code = value - next * 32;
      value = next;
      more = code & 16 ? value !== -1 : value !== 0;
      if (more) code |= 32;
      text += String.fromCharCode(code + 48);
    }
  }
  return text;
}
function endsOfRuns(runs) {
  const ends = new Uint32Array(runs.length);
  for (let i = 0, sum = 0; i < runs.length; i++) ends[i] = sum += runs[i];
  return ends;
}
function areaOf(ends) {
  let area = 0;
  for (let i = 1; i < ends.length; i += 2) area += ends[i] - ends[i - 1];
  return area;
}
function contains(ends, height, x, y) {
  const place = x * height + y;
  let low2 = 0;
  let high = ends.length;
  while (low2 < high) {
    const middle = low2 + high >> 1;
    if (ends[middle] <= place) low2 = middle + 1;
    else high = middle;
  }
  return (low2 & 1) === 1 && low2 < ends.length;
}
function boxOf(ends, height) {
  let x0 = Infinity;
  let y0 = Infinity;
  let x1 = 0;
  let y1 = 0;
  for (let i = 1; i < ends.length; i += 2) {
    const start = ends[i - 1];
    const last = ends[i] - 1;
    if (last < start) continue;
    const left = Math.floor(start / height);
    const right = Math.floor(last / height);
    if (left < x0) x0 = left;
    if (right + 1 > x1) x1 = right + 1;
    const spans = right > left;
    const top = spans ? 0 : start - left * height;
    const bottom = spans ? height : last - left * height + 1;
    if (top < y0) y0 = top;
    if (bottom > y1) y1 = bottom;
  }
  return x1 ? [x0, y0, x1, y1] : [0, 0, 0, 0];
}
function paint(ends, height, region, value = 1) {
  const { x0, y0, w, h: h2, bits } = region;
  for (let i = 1; i < ends.length; i += 2) {
    let place = ends[i - 1];
    while (place < ends[i]) {
      const x = Math.floor(place / height);
      const stop = Math.min(ends[i], (x + 1) * height);
      if (x >= x0 && x < x0 + w) {
        const top = Math.max(place - x * height, y0);
        const bottom = Math.min(stop - x * height, y0 + h2);
        for (let y = top, at = (top - y0) * w + x - x0; y < bottom; y++, at += w) bits[at] = value;
      }
      place = stop;
    }
  }
}
function pixels(ends, height, [x0, y0, x1, y1]) {
  const region = { x0, y0, w: x1 - x0, h: y1 - y0, bits: new Uint8Array((x1 - x0) * (y1 - y0)) };
  paint(ends, height, region);
  return region;
}
function runsOfRegion({ x0, y0, w, h: h2, bits }, width, height) {
  const runs = [];
  let inside = 0;
  let start = 0;
  const turn = (place) => {
    runs.push(place - start);
    start = place;
    inside ^= 1;
  };
  for (let x = 0; x < w; x++) {
    const column = (x0 + x) * height;
    if (inside && y0 > 0) turn(column);
    for (let y = 0, at = x; y < h2; y++, at += w) {
      if ((bits[at] & 1) !== inside) turn(column + y0 + y);
    }
    if (inside && y0 + h2 < height) turn(column + y0 + h2);
  }
  if (inside && (x0 + w) * height < width * height) turn((x0 + w) * height);
  if (start < width * height) runs.push(width * height - start);
  return runs;
}

// src/index.js
var MaskIndex = class {
  /** @param {number} width @param {number} height of the image */
  constructor(width, height) {
    this.width = width;
    this.height = height;
    this.cell = Math.max(32, Math.ceil(Math.max(width, height) / 48));
    this.across = Math.max(1, Math.ceil(width / this.cell));
    this.down = Math.max(1, Math.ceil(height / this.cell));
    this.cells = Array.from({ length: this.across * this.down }, () => /* @__PURE__ */ new Set());
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
    const found = /* @__PURE__ */ new Set();
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
};
function choose(under, selected, again) {
  if (!under.length) return null;
  const place = selected && again ? under.indexOf(selected) : -1;
  return under[(place + 1) % under.length];
}

// src/session.js
var DEFAULTS = {
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
  superseded: false
};
var GROUPS = ["flagged", "accepted", "drawn", "rejected", "discarded"];
function groupOf(mask) {
  if (mask.verdict === "reject") return "rejected";
  if (mask.outcome === "drawn" || mask.source === "manual" || mask.source === "edited") return "drawn";
  if (mask.verdict === "accept" || mask.outcome === "auto_accepted") return "accepted";
  return mask.outcome === "discarded" ? "discarded" : "flagged";
}
function isOpen(mask) {
  return groupOf(mask) === "flagged";
}
var Session = class {
  /** @type {Mask[]} */
  masks = [];
  /** @type {Map<string, Mask>} by id; a mask just drawn is found by both of its names */
  byId = /* @__PURE__ */ new Map();
  gestures = new Gestures();
  /** what a gesture of this page changed, to take it back: gesture -> changes @type {Map<string, object[]>} */
  changes = /* @__PURE__ */ new Map();
  view = { mode: "empty", image: null, labels: [], reasons: {}, settings: {}, progress: {}, message: "" };
  index = new MaskIndex(1, 1);
  /** groups that masks had when they were last drawn @type {Map<Mask, string>} */
  left = /* @__PURE__ */ new Map();
  /** @param {object} view the trait @param {{ends: Uint32Array[], height: number}} wire the masks of the trait `masks` */
  load(view, wire) {
    const again = view.token === this.view.token || view.image?.name && view.image.name === this.view.image?.name;
    this.view = { labels: [], reasons: {}, settings: {}, progress: {}, message: "", ...view };
    const { width = 1, height = 1 } = view.image ?? {};
    this.index = new MaskIndex(width, height);
    this.masks = [];
    this.byId = /* @__PURE__ */ new Map();
    this.changes = /* @__PURE__ */ new Map();
    this.left = /* @__PURE__ */ new Map();
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
  settle(reply, pendingIds = /* @__PURE__ */ new Set()) {
    const changed = /* @__PURE__ */ new Set();
    for (const row of reply.added ?? []) changed.add(this.#added(row));
    for (const [id, to] of Object.entries(reply.changes ?? {})) {
      const mask = this.byId.get(id);
      if (!mask || pendingIds.has(mask.id)) continue;
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
};
function pick(from, names) {
  return Object.fromEntries(names.filter((n) => from[n] !== void 0).map((n) => [n, from[n]]));
}

// src/actions.js
var Actions = class {
  constructor(app) {
    this.app = app;
  }
  /** Queue a message; `phase` by what the person is doing. */
  send(kind, fields = {}, { phase = "verdict", gesture_id = uuid() } = {}) {
    return this.app.post.send(kind, fields, { phase, gesture_id });
  }
  /** @param {"accept"|"reject"|"none"} verdict @param {object|null} mask */
  verdict(verdict, mask = this.app.selected) {
    const { app } = this;
    if (app.draft) return app.say("Save the drawing with Enter or drop it with Esc first.");
    if (!mask) return app.say("No mask is chosen: click one, or N for the next to review.");
    const next = verdict === "none" ? mask : this.#toReview(mask, 1);
    if (mask.verdict !== verdict) {
      const gesture_id = uuid();
      this.#show(gesture_id, "verdict", [{ mask, to: { verdict, bulk: false } }]);
      this.send("verdict", { mask: mask.id, verdict }, { gesture_id });
    }
    if (verdict === "none") return;
    app.select(next);
    const asked = this.#asked;
    if (!next) app.say("Nothing is left to review here. Draw what is missing, or Enter completes the image.", "done");
    else if (asked.includes(mask) && asked.every((m) => m.verdict !== "none"))
      app.say("What this image was opened for has its verdicts. Page Down opens the next image.", "done");
  }
  acceptAll() {
    const { app } = this;
    if (app.draft) return app.say("Save the drawing with Enter or drop it with Esc first.");
    if (app.session.audit) return app.say("In an audit each mask is judged on its own.");
    const masks = app.session.acceptable();
    if (!masks.length) return app.say("No mask is left to accept.");
    const gesture_id = uuid();
    this.#show(gesture_id, "verdict", masks.map((mask) => ({ mask, to: { verdict: "accept", bulk: true } })));
    this.send("accept_all", { masks: masks.map((m) => m.id) }, { gesture_id });
    app.say(`${masks.length.toLocaleString("en")} masks accepted. Ctrl+Z takes it back.`);
  }
  /** Next (1) or previous (-1) mask to review, in the order of the list. */
  step(direction) {
    const { app } = this;
    const next = this.#toReview(app.selected, direction);
    if (next) app.select(next);
    else app.say("Nothing is left to review here. Draw what is missing, or Enter completes the image.", "done");
  }
  stepList(direction) {
    const { app } = this;
    const next = this.#following(app.selected, direction, (m) => app.list.holds(m));
    if (next) app.select(next);
  }
  /** What the image was opened for first; then of what the list's filter lets through; then of all. */
  #toReview(mask, direction) {
    const asked = this.#asked.filter((m) => m.verdict === "none");
    return this.#following(mask, direction, (m) => asked.includes(m)) ?? this.#following(mask, direction, (m) => isOpen(m) && this.app.list.holds(m)) ?? this.#following(mask, direction, isOpen);
  }
  /** Masks that the image was opened for, as those drawn to verify. */
  get #asked() {
    const meant = new Set(this.app.session.view.choose ?? []);
    return this.app.session.present.filter((m) => meant.has(m.id));
  }
  #following(mask, direction, wanted) {
    const order = this.app.list.order;
    const from = mask ? order.indexOf(mask) : direction > 0 ? -1 : order.length;
    for (let i = 1; i <= order.length; i++) {
      const next = order[(from + direction * i + order.length * 2) % order.length];
      if (next !== mask && !next.superseded && wanted(next)) return next;
    }
    return null;
  }
  enter() {
    const { app } = this;
    if (app.draft) app.drafting.save();
    else this.complete();
  }
  complete() {
    const { app } = this;
    if (app.session.view.mode === "empty") return;
    const left = app.session.present.filter(isOpen).length;
    const go = () => {
      this.send("complete", {}, { phase: "check" });
      app.say("Completing…");
    };
    if (left) app.dialogs.undecided(left, go);
    else go();
  }
  skip() {
    this.#leave(() => this.app.dialogs.skip());
  }
  open(which, image) {
    this.#leave(() => this.send("open", image ? { which, image } : { which }));
  }
  #leave(go) {
    if (this.app.draft?.begun) this.app.dialogs.unfinished(go);
    else go();
  }
  label(name) {
    const { app } = this;
    const { draft, selected } = app;
    if (app.session.audit) return app.say("In an audit masks are judged, not labelled.");
    if (draft) draft.label = draft.label === name ? "" : name;
    else if (selected && app.tool.name === "select") {
      const label = selected.label === name ? "" : name;
      const gesture_id = uuid();
      this.#show(gesture_id, "label", [{ mask: selected, to: { label } }]);
      this.send("label", { mask: selected.id, label }, { gesture_id });
    } else app.label = app.label === name ? "" : name;
    app.changed();
  }
  edit() {
    const { app } = this;
    if (app.draft) return app.use("eraser");
    const mask = app.selected;
    if (!mask) return app.say("Choose the mask to edit first.");
    if (mask.verdict === "reject") return this.redraw();
    app.drafting.edit(mask);
    if (app.draft) app.use("brush");
  }
  /** Reject the mask, if it is not yet, and draw it anew in its place. */
  redraw() {
    const { app } = this;
    const mask = app.selected;
    if (app.draft) return app.say("Save the drawing with Enter or drop it with Esc first.");
    if (!mask) return app.say("Choose the mask to draw anew first.");
    if (mask.verdict !== "reject") {
      const gesture_id = uuid();
      this.#show(gesture_id, "verdict", [{ mask, to: { verdict: "reject", bulk: false } }]);
      this.send("verdict", { mask: mask.id, verdict: "reject" }, { gesture_id });
    }
    app.drafting.redraw(mask);
    if (app.tool.name === "select") app.use("click");
  }
  /** @param {import("./draft.js").Draft} draft */
  saveDraft(draft) {
    const { app } = this;
    const { rle, runs, tool, prompts, label } = draft.result();
    const gesture_id = uuid();
    const edits = draft.mode === "edit";
    const mask = app.session.draw(gesture_id, runs, { source: edits ? "edited" : "manual", label });
    const steps = [{ mask, to: { superseded: false } }];
    if (edits) steps.push({ mask: draft.mask, to: { superseded: true } });
    this.#show(gesture_id, edits ? "edit" : "draw", steps);
    const given = { rle, tool, prompts, label };
    if (edits) this.send("edit", { mask: draft.mask.id, ...given }, { phase: "draw", gesture_id });
    else if (draft.mode === "replace") this.send("draw", { ...given, replaces: draft.mask.id }, { phase: "draw", gesture_id });
    else this.send("draw", given, { phase: "draw", gesture_id });
    if (draft.mode === "new") app.select(null);
    else {
      app.use("select");
      app.select(mask, { reveal: false });
    }
  }
  escape() {
    const { app } = this;
    if (app.draft?.corners.length) {
      app.draft.dropCorners();
      app.drafting.changed();
    } else if (app.draft?.begun && !app.dropping) {
      app.dropping = app.draft;
      app.say("Esc again drops the drawing; Enter saves it.");
    } else if (app.draft) app.drafting.drop();
    else if (app.tool.name !== "select") app.use("select");
    else app.select(null);
  }
  undo() {
    const { app } = this;
    if (app.drafting.undo()) return;
    if (app.draft) return app.drafting.drop();
    const gesture = app.session.gestures.last;
    if (!gesture) return app.say("There is nothing to undo.");
    this.#turn(gesture, true);
  }
  redo() {
    const { app } = this;
    if (app.drafting.redo()) return;
    const gesture = app.session.gestures.next;
    if (!gesture) return app.say("There is nothing to do again.");
    this.#turn(gesture, false);
  }
  #turn({ gesture, kind }, undone) {
    const { app } = this;
    const masks = app.session.turn(gesture, undone);
    app.touched(masks);
    this.send(undone ? "undo" : "redo", { gesture }, { phase: kind === "draw" || kind === "edit" ? "draw" : "verdict" });
    const [shown2, ...others] = masks.filter((m) => !m.superseded);
    if (shown2 && !others.length) app.select(shown2);
    app.say(`${undone ? "Undone" : "Done again"}: ${WORDS[kind] ?? kind}.`);
  }
  /** @param {object} dialog of the kernel @param {string} choice @param {string} gesture that it was about */
  answer(dialog, choice, gesture) {
    const phase = dialog.kind === "coverage" ? "check" : "draw";
    const about = dialog.kind === "overlap" ? { mask: dialog.mask, other: dialog.other } : {};
    this.send("answer", { dialog: dialog.kind, choice, ...about }, { phase });
    if (dialog.kind === "coverage" && choice === "complete") this.send("complete", { confirmed: true }, { phase });
    if (dialog.kind === "overlap" && choice === "undo") {
      const drawn = dialog.gesture ?? gesture;
      this.#turn({ gesture: drawn, kind: "draw" }, true);
    }
  }
  fullSize() {
    const { stage } = this.app;
    stage.zoom(1 / (stage.camera.scale * stage.ratio));
  }
  zoomTo() {
    const { app } = this;
    if (!app.selected) return app.say("Choose a mask to zoom to.");
    app.stage.camera.show(app.selected.box);
    app.stage.moved();
  }
  hideAll() {
    const { layers } = this.app.stage;
    layers.visible = !layers.visible;
    layers.restyle();
    this.app.changed();
  }
  toggleFills() {
    const { layers } = this.app.stage;
    layers.fills = !layers.fills;
    layers.restyle();
    this.app.changed();
  }
  toggleGroup(group) {
    const { layers } = this.app.stage;
    if (!layers.shown.delete(group)) layers.shown.add(group);
    layers.restyle();
    this.app.changed();
  }
  #show(gesture, kind, steps) {
    const { app } = this;
    app.touched(app.session.apply(gesture, kind, steps));
  }
};
var WORDS = {
  verdict: "verdict",
  draw: "drawn mask",
  edit: "edit of a mask",
  label: "label",
  complete: "completing the image",
  skip: "skipping the image"
};

// src/clock.js
var Clock = class {
  /** @param {() => number} now milliseconds */
  constructor(now = () => performance.now()) {
    this.now = now;
    this.idle_ms = 6e4;
    this.last = now();
    this.active = 0;
  }
  /** The person moved, pressed or typed. */
  touch() {
    const now = this.now();
    if (now - this.last <= this.idle_ms) this.active += now - this.last;
    this.last = now;
  }
  /** @returns {number} active ms since the gesture before, which ends here */
  take() {
    this.touch();
    const taken = this.active;
    this.active = 0;
    return Math.round(taken);
  }
};

// src/dom.js
var SVG = "http://www.w3.org/2000/svg";
function h(tag, given = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (value === void 0 || value === null || value === false) continue;
    if (name === "text") element.textContent = value;
    else if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") Object.assign(element.style, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((c) => c !== null && c !== false && c !== void 0));
  return element;
}
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}
var ICONS = {
  select: ["M5 3l14 8-6 1.5L10 19z"],
  click: ["M12 3v6M12 15v6M3 12h6M15 12h6", "M12 12h.01"],
  box: ["M4 6h16v12H4z"],
  polygon: ["M12 3l8 6-3 10H7L4 9z"],
  brush: ["M14 4l6 6-8 8-6-6z", "M6 12c-3 1-2 5-4 8 4 0 7 0 8-4"],
  eraser: ["M8 20h12M5 14l8-9 6 6-8 9H9z"],
  edit: ["M4 20l1-5L16 4l4 4L9 19z"],
  fit: ["M3 5h18v14H3z", "M7.5 9h9v6h-9z"],
  undo: ["M9 7L4 12l5 5", "M4 12h10a5 5 0 0 1 0 10h-2"],
  redo: ["M15 7l5 5-5 5", "M20 12H10a5 5 0 0 0 0 10h2"],
  help: ["M9 9a3 3 0 1 1 4 3c-1 .5-1 1-1 2M12 18h.01"],
  full: ["M8 3H3v5M16 3h5v5M21 16v5h-5M3 16v5h5"],
  eye: ["M2 12c3-6 17-6 20 0-3 6-17 6-20 0z", "M12 9.5a2.5 2.5 0 1 0 .01 0z"],
  panel: ["M4 5h16v14H4zM14 5v14"]
};
function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const attributes = { viewBox: "0 0 24 24", width: 18, height: 18, fill: "none", stroke: "currentColor" };
  Object.assign(attributes, { "stroke-width": 1.8, "stroke-linejoin": "round", "stroke-linecap": "round" });
  for (const [key, value] of Object.entries(attributes)) svg.setAttribute(key, String(value));
  svg.setAttribute("aria-hidden", "true");
  for (const d of ICONS[name]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", d);
    svg.append(path);
  }
  return svg;
}
function swatch({ color, width, dash, core, fills }) {
  const svg = document.createElementNS(SVG, "svg");
  for (const [key, value] of Object.entries({ width: 26, height: 14, "aria-hidden": "true" })) svg.setAttribute(key, value);
  const line = (stroke, wide, fill) => {
    const rect = document.createElementNS(SVG, "rect");
    const attributes = { x: 3, y: 3, width: 20, height: 8, rx: 2, stroke, "stroke-width": wide, fill };
    for (const [key, value] of Object.entries(attributes)) rect.setAttribute(key, value);
    if (dash.length) rect.setAttribute("stroke-dasharray", dash.map((d) => d * 0.7).join(" "));
    svg.append(rect);
  };
  line(color, Math.min(width, 3), fills ? `${color}55` : "none");
  if (core) line(core, 1, "none");
  return svg;
}
var score = (value) => value === null || value === void 0 ? "–" : value.toFixed(2);
var counted = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;

// src/keys.js
var KEYS = [
  { part: "Verdicts", keys: ["a"], shown: "A", does: "accept the mask and go to the next one to review", run: (app) => app.actions.verdict("accept") },
  { part: "Verdicts", keys: ["r", "x", "delete"], shown: "R or X", does: "reject the mask and go to the next one to review", run: (app) => app.actions.verdict("reject") },
  { part: "Verdicts", keys: ["u"], shown: "U", does: "take the verdict back", run: (app) => app.actions.verdict("none") },
  { part: "Verdicts", keys: ["shift+a"], shown: "Shift+A", does: "accept all that are not rejected", run: (app) => app.actions.acceptAll() },
  { part: "Moving", keys: ["n", "arrowright"], shown: "N or →", does: "next mask to review", run: (app) => app.actions.step(1) },
  { part: "Moving", keys: ["p", "arrowleft"], shown: "P or ←", does: "previous mask to review", run: (app) => app.actions.step(-1) },
  { part: "Moving", keys: ["arrowdown", "j"], shown: "↓ or J", does: "next mask of the list", run: (app) => app.actions.stepList(1) },
  { part: "Moving", keys: ["arrowup"], shown: "↑", does: "mask before it in the list", run: (app) => app.actions.stepList(-1) },
  { part: "Image", keys: ["enter"], shown: "Enter", does: "save the drawing; without one, complete the image", run: (app) => app.actions.enter() },
  { part: "Image", keys: ["k"], shown: "K", does: "skip the image, with a reason", run: (app) => app.actions.skip() },
  { part: "Image", keys: [".", "pagedown"], shown: ". or Page Down", does: "open the next image; this one stays as it is", run: (app) => app.actions.open("next") },
  { part: "Image", keys: [",", "pageup"], shown: ", or Page Up", does: "open the image before", run: (app) => app.actions.open("previous") },
  { part: "Drawing", keys: ["c"], shown: "C", does: "clicks: left inside, right or Alt outside; drag a box", run: (app) => app.use("click") },
  { part: "Drawing", keys: ["o"], shown: "O", does: "box around an object", run: (app) => app.use("box") },
  { part: "Drawing", keys: ["g"], shown: "G", does: "polygon; Alt on the last click takes it away", run: (app) => app.use("polygon") },
  { part: "Drawing", keys: ["b"], shown: "B", does: "brush; right button erases", run: (app) => app.use("brush") },
  { part: "Drawing", keys: ["e"], shown: "E", does: "edit the chosen mask; while drawing, the eraser", run: (app) => app.actions.edit() },
  { part: "Drawing", keys: ["shift+r"], shown: "Shift+R", does: "reject the mask and draw it anew in its place", run: (app) => app.actions.redraw() },
  { part: "Drawing", keys: ["["], shown: "[ and ]", does: "smaller and larger brush", run: (app) => app.resizeBrush(1 / 1.25) },
  { part: "Drawing", keys: ["]"], shown: "", does: "", run: (app) => app.resizeBrush(1.25) },
  { part: "Drawing", keys: ["v"], shown: "V", does: "choose masks; drag to move the image", run: (app) => app.use("select") },
  { part: "Drawing", keys: ["escape"], shown: "Esc", does: "drop the open polygon, then the drawing, then the choice", run: (app) => app.actions.escape() },
  { part: "Undo", keys: ["ctrl+z"], shown: "Ctrl+Z", does: "undo the last stroke or gesture", run: (app) => app.actions.undo() },
  { part: "Undo", keys: ["ctrl+shift+z", "ctrl+y"], shown: "Ctrl+Shift+Z", does: "do it again", run: (app) => app.actions.redo() },
  { part: "Undo", keys: ["backspace"], shown: "Backspace", does: "while drawing, the last stroke or corner", run: (app) => app.draft && app.drafting.undo() },
  { part: "View", keys: ["f"], shown: "F", does: "whole image", run: (app) => app.stage.fit() },
  { part: "View", keys: ["shift+f"], shown: "Shift+F", does: "100 %, one image pixel a screen pixel", run: (app) => app.actions.fullSize() },
  { part: "View", keys: ["z"], shown: "Z", does: "zoom to the chosen mask", run: (app) => app.actions.zoomTo() },
  { part: "View", keys: ["+", "="], shown: "+ and −, wheel", does: "zoom; drag with Space or the middle button to move", run: (app) => app.stage.zoom(1.25) },
  { part: "View", keys: ["-", "_"], shown: "", does: "", run: (app) => app.stage.zoom(0.8) },
  { part: "View", keys: ["h"], shown: "H", does: "hide or show all masks", run: (app) => app.actions.hideAll() },
  { part: "View", keys: ["t"], shown: "T", does: "fills on or off", run: (app) => app.actions.toggleFills() },
  { part: "View", keys: ["d"], shown: "D", does: "discarded masks on or off", run: (app) => app.actions.toggleGroup("discarded") },
  { part: "View", keys: ["?"], shown: "?", does: "this help", run: (app) => app.dialogs.help() }
];
var TABLE = new Map(KEYS.flatMap((key) => key.keys.map((name) => [name, key])));
function nameOf(event) {
  const key = event.key.toLowerCase();
  const shifted = event.shiftKey && (/^[a-z]$/.test(key) || key.length > 1);
  return `${event.ctrlKey || event.metaKey ? "ctrl+" : ""}${shifted ? "shift+" : ""}${key}`;
}
function keyFor(event) {
  return event.altKey && event.key.length > 1 ? void 0 : TABLE.get(nameOf(event));
}
var isFree = (key) => !TABLE.has(String(key).toLowerCase());
var typing = (target) => target instanceof Element && target.matches("input:not([type=checkbox]):not([type=range]), textarea");
function listen(root, app, signal) {
  const on = (name, call) => root.addEventListener(name, call, { signal });
  on("keydown", (event) => {
    event.stopPropagation();
    app.clock.touch();
    if (event.isComposing) return;
    if (app.dialogs.open) return app.dialogs.key(event);
    if (typing(event.target)) {
      if (event.key === "Escape") app.focus();
      return;
    }
    if (event.key === " " && !(event.target instanceof HTMLButtonElement)) {
      event.preventDefault();
      app.setSpace(true);
      return;
    }
    pressed(event, app);
  });
  on("keyup", (event) => {
    event.stopPropagation();
    if (event.key === " ") app.setSpace(false);
  });
  on("keypress", (event) => event.stopPropagation());
}
function pressed(event, app) {
  const onControl = event.target instanceof Element && event.target.matches("button, select, input, [role=option]");
  if (onControl && ["Enter", " ", "ArrowDown", "ArrowUp", "ArrowLeft", "ArrowRight"].includes(event.key)) return;
  const name = nameOf(event);
  const label = app.session.view.labels.find((l) => String(l.key).toLowerCase() === name && isFree(l.key));
  const key = keyFor(event);
  if (name === "ctrl+s") {
    event.preventDefault();
    app.say("Everything is saved already: each gesture is, at once.");
  } else if (label || key) {
    event.preventDefault();
    if (label) app.actions.label(label.name);
    else if (app.session.view.image || name === "?") key.run(app);
  }
}

// src/dialogs.js
var SKIP_REASONS = ["The image cannot be used", "It is too blurred or too dark", "Someone with more experience should see it"];
var Dialogs = class {
  /** @type {{element: HTMLElement, choices: Choice[], region: object|null, dismiss: () => void}|null} */
  open = null;
  /** asked while another was open */
  waiting = [];
  /** @param {object} app @param {HTMLElement} holder */
  constructor(app, holder) {
    Object.assign(this, { app, holder });
  }
  /**
   * @param {{title: string, text?: string, body?: Node, choices: Choice[], region?: object|null, dismiss?: () => void, wide?: boolean}} asked
   */
  ask(asked) {
    if (this.open) {
      this.waiting.push(asked);
      return;
    }
    const { title, text, body, choices, region = null, dismiss = () => {
    }, wide = false } = asked;
    const buttons = choices.map(
      (choice) => h(
        "button",
        { type: "button", class: choice.main ? "wb-button wb-main" : "wb-button", onclick: () => this.#take(choice) },
        h("span", { text: choice.text }),
        h("kbd", { text: shown(choice.key) })
      )
    );
    const attributes = { role: "dialog", "aria-modal": "true", "aria-label": title, tabindex: "-1" };
    const element = h(
      "div",
      { class: wide ? "wb-dialog wb-wide" : "wb-dialog", ...attributes },
      h("div", { class: "wb-dialog-title", text: title }),
      text ? h("p", { text }) : null,
      body,
      h("div", { class: "wb-choices" }, ...buttons)
    );
    this.open = { element, choices, region, dismiss };
    this.holder.append(element);
    (element.querySelector("input[data-first]") ?? element).focus({ preventScroll: true });
    if (region?.box) this.app.stage.reveal(region.box);
    this.app.stage.refresh();
    this.app.root.dataset.dialog = asked.kind ?? title;
  }
  close() {
    this.open?.element.remove();
    this.open = null;
    delete this.app.root.dataset.dialog;
    this.app.focus();
    this.app.stage.refresh();
    const next = this.waiting.shift();
    if (next) this.ask(next);
  }
  /** Another image was opened: what was asked about the one before is no longer asked. */
  clear() {
    this.waiting = [];
    if (this.open) this.close();
  }
  /** @param {KeyboardEvent} event while a dialog is open */
  key(event) {
    const { choices, element, dismiss } = this.open;
    const typed = event.target instanceof HTMLInputElement;
    if (event.key === "Tab") return this.#cycle(event, element);
    if (event.key === "Escape") {
      event.preventDefault();
      const choice2 = choices.find((c) => c.key === "Escape");
      if (choice2) return this.#take(choice2);
      this.close();
      return dismiss();
    }
    if (event.target instanceof HTMLButtonElement && [" ", "Enter"].includes(event.key)) return;
    if (event.repeat || event.ctrlKey || event.metaKey || typed && event.key !== "Enter") return;
    const choice = choices.find((c) => c.key.toLowerCase() === event.key.toLowerCase()) ?? (event.key === "Enter" && choices.find((c) => c.main));
    if (!choice) return;
    event.preventDefault();
    this.#take(choice);
  }
  #take(choice) {
    if (choice.stays?.()) return;
    this.close();
    choice.run();
  }
  /** Tab stays inside. */
  #cycle(event, element) {
    const stops = [...element.querySelectorAll("button, input")];
    const active = element.getRootNode().activeElement;
    const edge = event.shiftKey ? stops[0] : stops.at(-1);
    if (active !== edge && active !== element) return;
    event.preventDefault();
    (event.shiftKey ? stops.at(-1) : stops[0])?.focus();
  }
  /** What the kernel asks: R5 on leaving an image, R6 after a mask that overlaps another. */
  fromKernel(dialog, gesture) {
    const { actions } = this.app;
    this.app.say("");
    const title = dialog.kind === "coverage" ? "Is this image complete?" : "This mask overlaps another";
    const masks = [dialog.mask, dialog.other].map((id) => this.app.session.byId.get(id)).filter(Boolean);
    const region = { box: dialog.box ?? around(masks), rle: dialog.rle, masks };
    const choices = (dialog.choices ?? []).map((c, i) => ({
      key: String(c.key ?? i + 1),
      text: c.text,
      main: i === 0,
      run: () => actions.answer(dialog, c.choice, gesture)
    }));
    const last = dialog.choices?.find((c) => ["continue", "keep"].includes(c.choice));
    const dismiss = () => last && actions.answer(dialog, last.choice, gesture);
    this.ask({ kind: dialog.kind, title, text: dialog.text, choices, region, dismiss });
  }
  skip() {
    const field = h("input", { type: "text", maxlength: "200", "aria-label": "Another reason", placeholder: "Another reason", "data-first": false });
    const send = (reason) => this.app.actions.send("skip", { reason });
    const choices = SKIP_REASONS.map((reason, i) => ({ key: String(i + 1), text: reason, run: () => send(reason) }));
    const missing = () => {
      if (field.value.trim()) return false;
      field.focus();
      return true;
    };
    choices.push({ key: "Enter", text: "Skip for the reason written above", run: () => send(field.value.trim()), stays: missing });
    choices.push({ key: "Escape", text: "Do not skip", run: () => {
    } });
    this.ask({ kind: "skip", title: "Skip this image: why?", body: field, choices });
  }
  /** Completing while masks have no verdict. */
  undecided(count, go) {
    const { actions, session } = this.app;
    const all = { key: "A", text: "Accept them all, then complete", run: () => {
      actions.acceptAll();
      go();
    } };
    const text = count === 1 ? `1 mask is still to review. Without a verdict it ${session.audit ? "stays open, for another auditor" : "is not kept"}.` : `${count.toLocaleString("en")} masks are still to review. Without a verdict they ${session.audit ? "stay open, for another auditor" : "are not kept"}.`;
    const choices = [
      { key: "N", text: "Go to the next one", main: true, run: () => actions.step(1) },
      ...session.audit ? [] : [all],
      { key: "W", text: "Complete without them", run: go },
      // not Enter: pressed twice it would lose them
      { key: "Escape", text: "Go on here", run: () => {
      } }
    ];
    this.ask({ kind: "undecided", title: "Masks are left", text, choices });
  }
  /** Leaving with an unfinished drawing. */
  unfinished(go) {
    const { drafting } = this.app;
    const choices = [
      { key: "Enter", text: "Save it and go on", main: true, run: () => drafting.save() && go() },
      { key: "D", text: "Drop it and go on", run: () => {
        drafting.drop();
        go();
      } },
      { key: "Escape", text: "Stay here", run: () => {
      } }
    ];
    this.ask({ kind: "unfinished", title: "A drawing is not finished", choices });
  }
  help() {
    const parts = Map.groupBy ? Map.groupBy(KEYS, (k) => k.part) : grouped(KEYS);
    const body = h("div", { class: "wb-help" });
    for (const [part, keys] of parts) {
      const rows = keys.filter((k) => k.shown).map((k) => h("div", { class: "wb-help-row" }, h("kbd", { text: k.shown }), h("span", { text: k.does })));
      body.append(h("section", {}, h("h4", { text: part }), ...rows));
    }
    const { labels } = this.app.session.view;
    if (labels.length) {
      const rows = labels.map((l) => h("div", { class: "wb-help-row" }, h("kbd", { text: l.key }), h("span", { text: l.name })));
      body.append(h("section", {}, h("h4", { text: "Labels" }), ...rows));
    }
    const close = () => {
    };
    this.ask({ kind: "help", title: "Keys", body, wide: true, choices: [{ key: "?", text: "Close", run: close }] });
  }
};
var shown = (key) => ({ Enter: "↵", Escape: "Esc" })[key] ?? key.toUpperCase();
function grouped(keys) {
  const parts = /* @__PURE__ */ new Map();
  for (const key of keys) parts.set(key.part, [...parts.get(key.part) ?? [], key]);
  return parts;
}
function around(masks) {
  if (!masks.length) return null;
  const side = (i, pick2) => pick2(...masks.map((m) => m.box[i]));
  return [side(0, Math.min), side(1, Math.min), side(2, Math.max), side(3, Math.max)];
}

// src/geometry.js
function boxAround(points, margin, width, height) {
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
    cut(Math.ceil(y1 + margin), height)
  ];
}
function fillRing(ring, [x0, y0, x1, y1]) {
  const w = x1 - x0;
  const h2 = y1 - y0;
  const flips = new Uint8Array((w + 1) * h2);
  for (let k = 0; k < ring.length; k++) {
    let [xa, ya] = ring[(k || ring.length) - 1];
    let [xb, yb] = ring[k];
    if (ya > yb) [xa, ya, xb, yb] = [xb, yb, xa, ya];
    const stop = Math.min(Math.ceil(yb - 0.5), y1);
    for (let y = Math.max(Math.ceil(ya - 0.5), y0); y < stop; y++) {
      const x = xa + (y + 0.5 - ya) * (xb - xa) / (yb - ya);
      flips[(y - y0) * (w + 1) + Math.min(Math.max(Math.ceil(x - 0.5), x0), x1) - x0] ^= 1;
    }
  }
  const bits = new Uint8Array(w * h2);
  for (let y = 0; y < h2; y++) {
    for (let x = 0, inside = 0; x < w; x++) {
      inside ^= flips[y * (w + 1) + x];
      bits[y * w + x] = inside;
    }
  }
  return { x0, y0, w, h: h2, bits };
}
function crossesItself(ring) {
  const n = ring.length;
  for (let i = 0; i < n; i++) {
    for (let j = i + 2; j < n; j++) {
      if (i === 0 && j === n - 1) continue;
      if (cross(ring[i], ring[i + 1], ring[j], ring[(j + 1) % n])) return true;
    }
  }
  return false;
}
function cross(a, b, c, d) {
  const side = (p, q, r) => Math.sign((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]));
  return side(a, b, c) * side(a, b, d) < 0 && side(c, d, a) * side(c, d, b) < 0;
}
function capsule(a, b, radius, [x0, y0, x1, y1]) {
  const w = x1 - x0;
  const h2 = y1 - y0;
  const bits = new Uint8Array(w * h2);
  const dx = b[0] - a[0];
  const dy = b[1] - a[1];
  const squared = dx * dx + dy * dy;
  const limit = radius * radius;
  for (let y = 0, at = 0; y < h2; y++) {
    const py = y0 + y + 0.5 - a[1];
    for (let x = 0; x < w; x++, at++) {
      const px = x0 + x + 0.5 - a[0];
      const share = squared ? Math.min(1, Math.max(0, (px * dx + py * dy) / squared)) : 0;
      const ex = px - share * dx;
      const ey = py - share * dy;
      if (ex * ex + ey * ey <= limit) bits[at] = 1;
    }
  }
  return { x0, y0, w, h: h2, bits };
}
var STEP = [[1, 0], [0, 1], [-1, 0], [0, -1]];
var RIGHT = [[0, 0], [-1, 0], [-1, -1], [0, -1]];
var LEFT = [[0, -1], [0, 0], [-1, 0], [-1, -1]];
function outlines({ x0, y0, w, h: h2, bits }) {
  const is = (x, y) => x >= 0 && y >= 0 && x < w && y < h2 && (bits[y * w + x] & 1) === 1;
  const seen = new Uint8Array(w * h2);
  const rings = [];
  for (let y = 0; y < h2; y++) {
    for (let x = 0; x < w; x++) {
      if (seen[y * w + x] || !is(x, y) || is(x, y - 1)) continue;
      rings.push(walk(x, y, is, seen, w, x0, y0));
    }
  }
  return rings;
}
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
function simplify(ring, tolerance) {
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

// src/draft.js
var MASK = 1;
var HAND = 2;
var ROOM = 128;
var Draft = class {
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
    this.strokes.done = this.strokes.done.filter((s) => !s.corner);
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
      redo: () => this.corners.push(point)
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
    const { x0, y0, w, h: h2 } = this.region;
    return { region: { x0, y0, w, h: h2 }, packed: pack(this.region.bits), points, box, polygons: [...this.polygons] };
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
      renew: () => after = this.#snapshot()
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
    const h2 = Math.min(this.height, Math.ceil(y1 + ROOM)) - y0;
    const bits = new Uint8Array(w * h2);
    for (let y = 0; y < old.h; y++) {
      bits.set(old.bits.subarray(y * old.w, (y + 1) * old.w), (y + old.y0 - y0) * w + old.x0 - x0);
    }
    this.region = { x0, y0, w, h: h2, bits };
  }
};
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
  for (let i = 0, at = 0; i < pairs.length; i += 2) bits.fill(pairs[i], at, at += pairs[i + 1]);
  return bits;
}

// src/paths.js
var EXACT = 3;
var SMOOTH_PX = 0.75;
var cache = /* @__PURE__ */ new WeakMap();
function levelOf(zoom) {
  return zoom >= EXACT ? "exact" : String(Math.floor(Math.log2(zoom)));
}
function pathOf(mask, height, zoom) {
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
function pathOfRings(rings) {
  const path = new Path2D();
  for (const ring of rings) {
    path.moveTo(ring[0], ring[1]);
    for (let i = 2; i < ring.length; i += 2) path.lineTo(ring[i], ring[i + 1]);
    path.closePath();
  }
  return path;
}

// src/styles.js
var STYLES = {
  flagged: { name: "To review", color: "#E69F00", width: 2, dash: [7, 4], fills: true },
  accepted: { name: "Accepted", color: "#56B4E9", width: 1.5, dash: [], fills: true },
  drawn: { name: "Drawn", color: "#CC79A7", width: 3.5, dash: [], fills: true, core: "#fff" },
  rejected: { name: "Rejected", color: "#D55E00", width: 1.5, dash: [9, 3, 2, 3], fills: false },
  discarded: { name: "Discarded", color: "#BBBBBB", width: 1.5, dash: [1.5, 3.5], fills: false }
};
var DRAFT = { color: "#F0E442", fill: "rgba(240, 228, 66, 0.45)" };
var POSITIVE = "#009E73";
var NEGATIVE = "#D55E00";
var FAR = 0.6;
var CASING = "rgba(0, 0, 0, 0.6)";
function strokeAs(context, style, path, zoom, { wider = 0, cased = true } = {}) {
  const fine = zoom < FAR ? 0.7 : 1;
  const width = (style.width * fine + wider) / zoom;
  context.lineJoin = "round";
  if (cased) {
    context.setLineDash([]);
    context.lineWidth = width + 1.5 * fine / zoom;
    context.strokeStyle = CASING;
    context.stroke(path);
  }
  context.setLineDash(style.dash.map((d) => d * fine / zoom));
  context.lineWidth = width;
  context.strokeStyle = style.color;
  context.stroke(path);
  if (style.core) {
    context.lineWidth = 1 / zoom;
    context.strokeStyle = style.core;
    context.stroke(path);
  }
  context.setLineDash([]);
}

// src/tools/click.js
var ClickTool = class {
  name = "click";
  cursor = "crosshair";
  from = null;
  constructor(app) {
    this.app = app;
  }
  down(e) {
    if (e.button === 0 || e.button === 2) this.from = e;
  }
  move(e, pressed2) {
    if (pressed2 && this.from && this.from.button === 0) {
      this.to = e;
      this.app.stage.refresh();
    }
  }
  up(e) {
    const { app, from } = this;
    this.from = this.to = null;
    if (!from) return;
    if (e.clicked) app.drafting.prompt({ point: [round(e.x), round(e.y), e.erase ? 0 : 1] }, "click");
    else if (from.button === 0) app.drafting.prompt({ box: boxOf2(from, e) }, "box");
    app.stage.refresh();
  }
  cancel() {
    this.from = this.to = null;
    this.app.stage.refresh();
  }
  paint(context, zoom) {
    if (this.from && this.to) paintBox(context, boxOf2(this.from, this.to), zoom);
  }
};
var BoxTool = class extends ClickTool {
  name = "box";
  up(e) {
    if (e.clicked && !this.app.draft?.box) {
      this.cancel();
      this.app.say("Drag a box around the object.");
      return;
    }
    super.up(e);
  }
};
var round = (value) => Math.round(value * 100) / 100;
function boxOf2(a, b) {
  return [Math.min(a.x, b.x), Math.min(a.y, b.y), Math.max(a.x, b.x), Math.max(a.y, b.y)].map(round);
}
function paintBox(context, [x0, y0, x1, y1], zoom) {
  context.setLineDash([]);
  context.lineWidth = 3.5 / zoom;
  context.strokeStyle = "rgba(0, 0, 0, 0.6)";
  context.strokeRect(x0, y0, x1 - x0, y1 - y0);
  context.lineWidth = 1.5 / zoom;
  context.strokeStyle = "#fff";
  context.strokeRect(x0, y0, x1 - x0, y1 - y0);
}
function paintPoints(context, points, zoom) {
  for (const [x, y, inside] of points) {
    context.beginPath();
    context.arc(x, y, 7 / zoom, 0, 2 * Math.PI);
    context.fillStyle = inside ? POSITIVE : NEGATIVE;
    context.fill();
    context.lineWidth = 2 / zoom;
    context.strokeStyle = "#fff";
    context.stroke();
    const arm = 3.5 / zoom;
    context.beginPath();
    context.moveTo(x - arm, y);
    context.lineTo(x + arm, y);
    if (inside) {
      context.moveTo(x, y - arm);
      context.lineTo(x, y + arm);
    }
    context.stroke();
  }
}

// src/drafting.js
var ANSWER_MS = 15e3;
var LINE = { color: DRAFT.color, width: 2, dash: [] };
function meets({ point, box }, { width, height }) {
  if (point) return point[0] >= 0 && point[1] >= 0 && point[0] <= width && point[1] <= height;
  return box[0] < width && box[1] < height && box[2] > 0 && box[3] > 0;
}
var Drafting = class {
  constructor(app) {
    this.app = app;
    this.prompts = 0;
    this.asked = null;
    this.again = false;
    this.live = null;
    this.gone = null;
    this.image = document.createElement("canvas");
    this.painted = -1;
  }
  /** The draft, begun if there is none: a rejected mask that is selected is redrawn in place. */
  begin() {
    const { app } = this;
    if (app.draft || !app.canDraw()) return app.draft;
    const redraws = app.selected?.verdict === "reject" && !app.session.audit ? app.selected : null;
    return this.#start(redraws ? "replace" : "new", redraws);
  }
  /** Edit a mask: what is drawn then is added to it or taken away. */
  edit(mask) {
    if (this.app.draft || !this.app.canDraw()) return;
    this.#start("edit", mask);
  }
  redraw(mask) {
    if (this.app.draft || !this.app.canDraw()) return;
    this.#start("replace", mask);
  }
  #start(mode, mask) {
    const { app } = this;
    const { width, height } = app.session;
    const label = mask?.label || app.label;
    this.gone = null;
    app.say("");
    app.draft = new Draft(width, height, { mode, mask, label });
    this.live = null;
    this.changed();
    return app.draft;
  }
  prompt(given, tool) {
    if (!meets(given, this.app.session)) return this.app.say("That is outside the image.");
    const draft = this.begin();
    if (!draft) return;
    draft.addPrompt(given, tool);
    this.changed();
    this.ask();
  }
  /** Ask the model for the mask of the prompts as they are now. One question at a time, the newest next. */
  ask() {
    const { app } = this;
    const { draft } = app;
    if (!draft || !draft.points.length && !draft.box) return;
    if (this.asked && performance.now() - this.asked.at < ANSWER_MS) {
      this.again = true;
      return;
    }
    this.again = false;
    const prompt_id = `p${++this.prompts}`;
    this.asked = { prompt_id, draft, points: draft.points, box: draft.box, at: performance.now() };
    const mask = draft.mode === "edit" ? draft.mask.id : null;
    app.post.send("prompt", { prompt_id, points: draft.points, box: draft.box, mask }, { phase: "draw" });
    app.changed();
  }
  /** `live` changed. @param {{header: object, ends: Uint32Array}} answer */
  answered({ header, ends }) {
    const { asked, app } = this;
    if (!asked || header.prompt_id !== asked.prompt_id) return;
    this.asked = null;
    const { draft } = app;
    if (draft === asked.draft) {
      if (header.error) app.say(header.error, "error");
      else if (draft.points === asked.points && draft.box === asked.box) {
        draft.answer(ends);
        this.live = header;
        performance.mark("workbench:live");
      } else this.again = true;
    }
    this.changed();
    if (this.again) this.ask();
  }
  get waits() {
    return this.asked !== null && this.asked.draft === this.app.draft;
  }
  /** Save the draft as a new mask, an edit or a redrawn one. @returns {boolean} saved */
  save() {
    const { app } = this;
    const { draft } = app;
    if (!draft) return false;
    app.say("");
    if (draft.corners.length && !app.tools.polygon.close(app.tools.polygon.erase)) return false;
    if (this.waits) {
      app.say("The model has not answered yet; its mask is saved when it is there.");
      this.saves = true;
      return false;
    }
    if (draft.empty) {
      app.say(draft.mode === "edit" ? "Nothing is left of the mask: reject it instead." : "The mask is empty.");
      return false;
    }
    app.draft = null;
    app.actions.saveDraft(draft);
    this.changed();
    return true;
  }
  drop() {
    this.app.draft = null;
    this.app.say("");
    this.saves = false;
    this.changed();
  }
  undo() {
    const { draft } = this.app;
    if (!draft?.undo()) return false;
    this.#afterTurn(draft);
    return true;
  }
  redo() {
    const draft = this.app.draft ?? this.undone;
    if (!draft?.redo()) return false;
    this.app.draft = draft;
    this.#afterTurn(draft);
    return true;
  }
  /** A drawing that was undone to nothing, as long as it is what was undone last. @returns {import("./draft.js").Draft|null} */
  get undone() {
    const { token, last, draft } = this.gone ?? {};
    const { view, gestures } = this.app.session;
    return draft && token === view.token && last === gestures.last?.gesture ? draft : null;
  }
  /** An answer that was still under way belonged to other prompts. */
  #afterTurn(draft) {
    const { view, gestures } = this.app.session;
    this.gone = null;
    if (!draft.begun && draft.mode === "new") {
      this.app.draft = null;
      this.gone = { draft, token: view.token, last: gestures.last?.gesture };
    }
    this.changed();
  }
  /** @param {boolean} whole false while a stroke is under way: only the pixels are drawn */
  changed(whole = true) {
    if (whole && this.saves && !this.waits) {
      this.saves = false;
      if (this.app.draft) this.save();
    }
    if (whole) this.rings = null;
    this.stroking = !whole;
    this.app.stage.refresh();
    if (!whole) return;
    this.app.keeping.keep();
    this.app.changed();
  }
  /** @param {CanvasRenderingContext2D} context in image px */
  paint(context, zoom) {
    const { draft } = this.app;
    if (!draft) return;
    const { region } = draft;
    if (region.w && region.h) {
      if (this.painted !== draft || this.at !== draft.changed) this.#fill(draft);
      context.imageSmoothingEnabled = zoom < 3;
      context.drawImage(this.image, region.x0, region.y0);
      if (!this.stroking) {
        this.rings ??= pathOfRings(outlines(region));
        strokeAs(context, LINE, this.rings, zoom);
      }
    }
    if (draft.box) paintBox(context, draft.box, zoom);
    paintPoints(context, draft.points, zoom);
  }
  #fill(draft) {
    const { w, h: h2, bits } = draft.region;
    if (this.image.width !== w || this.image.height !== h2) [this.image.width, this.image.height] = [w, h2];
    const data = new ImageData(w, h2);
    const colors = new Uint32Array(data.data.buffer);
    for (let i = 0; i < bits.length; i++) if (bits[i] & 1) colors[i] = 1933763824;
    this.image.getContext("2d").putImageData(data, 0, 0);
    this.painted = draft;
    this.at = draft.changed;
  }
};

// src/frames.js
var Frames = class {
  /** @type {Map<string, () => void>} */
  asked = /* @__PURE__ */ new Map();
  id = 0;
  ask(name, work) {
    this.asked.set(name, work);
    this.id ||= requestAnimationFrame(() => this.run());
  }
  run() {
    cancelAnimationFrame(this.id);
    this.id = 0;
    const now = this.asked;
    this.asked = /* @__PURE__ */ new Map();
    for (const work of now.values()) work();
  }
  stop() {
    cancelAnimationFrame(this.id);
    this.id = 0;
    this.asked.clear();
  }
};

// src/keeping.js
var PREFIX2 = "workbench-draft:";
var MODES = ["new", "edit", "replace"];
var TOOLS = ["click", "box", "polygon", "brush"];
var Keeping = class {
  /** @param {object} app @param {Storage|null} storage */
  constructor(app, storage2) {
    Object.assign(this, { app, storage: storage2 });
  }
  get #key() {
    const { store_key, image } = this.app.session.view;
    return store_key && image ? `${PREFIX2}${store_key}:${image.name}` : "";
  }
  /** Keep the drawing as it is now, or forget the one that was kept. */
  keep() {
    const { draft, session } = this.app;
    if (!this.storage || !this.#key || session.audit) return;
    try {
      if (!draft?.begun || draft.empty) this.storage.removeItem(this.#key);
      else {
        const { rle, label, tool } = draft.result();
        const { mode, mask, points, box, polygons } = draft;
        const kept = { image: session.view.image.name, mode, mask: mask?.id ?? null, rle, label, tool, points, box, polygons };
        this.storage.setItem(this.#key, JSON.stringify(kept));
      }
    } catch {
    }
  }
  /** @returns {Draft|null} the drawing kept for the image that was opened */
  found() {
    const { session } = this.app;
    if (!this.storage || !this.#key || session.audit) return null;
    try {
      const kept = JSON.parse(this.storage.getItem(this.#key) ?? "null");
      if (kept?.image !== session.view.image?.name) return null;
      return this.#draft(kept, session);
    } catch {
      return null;
    }
  }
  #draft({ mode, mask: id, rle, label, tool, points, box, polygons }, session) {
    const ends = endsOfRuns(runsOfString(rle));
    const { width, height } = session;
    const mask = id ? session.byId.get(id) : null;
    if (ends.at(-1) !== width * height || mode !== "new" && !mask) return null;
    if (!MODES.includes(mode) || !TOOLS.includes(tool)) return null;
    const draft = new Draft(width, height, { mode, mask, label: String(label ?? "") });
    const end = draft.open(tool);
    if (mode === "edit") draft.put(pixels(mask.ends, height, mask.box), false);
    draft.put(pixels(ends, height, boxOf(ends, height)), true);
    Object.assign(draft, { points: points ?? [], box: box ?? null, polygons: polygons ?? [] });
    end();
    return draft;
  }
};

// src/wire.js
var MAGIC = 827020109;
function asView(data) {
  if (!data) return new DataView(new ArrayBuffer(0));
  if (data instanceof ArrayBuffer) return new DataView(data);
  return new DataView(data.buffer, data.byteOffset, data.byteLength);
}
function words(view, from, count) {
  const out = new Uint32Array(count);
  for (let i = 0; i < count; i++) out[i] = view.getUint32(from + 4 * i, true);
  return out;
}
function readMasks(data) {
  const view = asView(data);
  if (!view.byteLength) return { width: 0, height: 0, ends: [] };
  if (view.byteLength < 16 || view.getUint32(0, true) !== MAGIC) throw new Error("the masks that arrived are damaged");
  const [, count, height, width] = words(view, 0, 4);
  const start = 16 + 4 * (count + 1);
  if (view.byteLength < start) throw new Error("the masks that arrived are cut short");
  const offsets = words(view, 16, count + 1);
  if (view.byteLength < start + 4 * offsets[count]) throw new Error("the masks that arrived are cut short");
  const ends = [];
  for (let i = 0; i < count; i++) {
    ends.push(endsOfRuns(words(view, start + 4 * offsets[i], offsets[i + 1] - offsets[i])));
  }
  return { width, height, ends };
}
function readLive(data) {
  const view = asView(data);
  if (view.byteLength < 4) return null;
  const length = view.getUint32(0, true);
  if (view.byteLength < 4 + length) throw new Error("the answer to the prompt is cut short");
  const bytes = new Uint8Array(view.buffer, view.byteOffset + 4, length);
  const header = JSON.parse(new TextDecoder().decode(bytes));
  const from = 4 + length;
  return { header, ends: endsOfRuns(words(view, from, Math.floor((view.byteLength - from) / 4))) };
}

// src/loader.js
var PATIENCE_MS = 5e3;
var LOOK_MS = 15e3;
var Loader = class {
  constructor(app) {
    this.app = app;
    this.turn = 0;
    this.bytes = null;
    this.asked = false;
  }
  /** view, masks or picture changed: they come together in notebooks and one by one in Panel. */
  load() {
    const turn = ++this.turn;
    queueMicrotask(() => {
      if (turn === this.turn) this.#open(turn).catch((error) => this.#failed(turn, error));
    });
  }
  stop() {
    this.turn += 1;
    clearTimeout(this.waits);
    clearInterval(this.looks);
  }
  async #open(turn) {
    const { app } = this;
    const { model } = app;
    const view = model.get("view") ?? {};
    clearTimeout(this.waits);
    clearInterval(this.looks);
    if (!view.mode) return;
    if (view.mode === "empty" || !view.image) return this.#nothing(view);
    performance.mark("workbench:data");
    const wire = readMasks(model.get("masks"));
    const { width, height } = view.image;
    const fits = wire.ends.length === (view.masks?.id ?? []).length && (!wire.ends.length || wire.width === width && wire.height === height);
    if (!fits) return this.#wait();
    const data = model.get("picture");
    const bytes = asView(data);
    if (!bytes.byteLength) return this.#wait();
    let { picture } = app.stage;
    if (data !== this.bytes) {
      picture = await createImageBitmap(new Blob([bytes]));
      if (turn !== this.turn) return picture.close();
      this.bytes = data;
    }
    this.#show(view, wire, picture);
  }
  #show(view, wire, picture) {
    const { app } = this;
    const same = app.session.view.image?.name === view.image.name;
    const chosen = same ? app.selected?.id : null;
    if (!same) this.#leave();
    app.session.load(view, wire);
    app.clock.idle_ms = (view.settings?.idle_s ?? 60) * 1e3;
    app.post.open({ token: view.token, store_key: view.store_key, image: view.image });
    app.empty.hidden = true;
    const meant = same ? null : (view.choose ?? []).find((id) => app.session.byId.has(id));
    app.selected = app.session.byId.get(chosen ?? meant) ?? null;
    app.hovered = null;
    if (app.draft?.mask) app.draft.mask = app.session.byId.get(app.draft.mask.id) ?? app.draft.mask;
    app.stage.load(picture, view.image, same);
    app.list.reload();
    app.stage.layers.onDone = () => performance.mark("workbench:painted");
    app.stage.layers.load(app.session);
    app.trouble("page", "");
    app.say(view.message ?? "");
    if (!same) this.#resume();
    app.zoomed(app.stage.camera.scale);
    app.changed();
    app.root.dataset.ready = view.token ?? "";
    this.#askAgain();
  }
  /** After a reload, or in a second view: `view` is from when the image was opened, gestures may have followed it. */
  #askAgain() {
    const { model, post } = this.app;
    if (!this.asked && Object.keys(model.get("acked") ?? {}).length) post.send("refresh");
    this.asked = true;
  }
  /** A drawing that a reload interrupted. */
  #resume() {
    const { app } = this;
    app.draft = app.keeping.found();
    if (!app.draft) return;
    app.use("brush");
    app.drafting.changed();
    app.say("The drawing that was not finished is here again: Enter saves it, Esc drops it.");
  }
  /** What belonged to the image before. */
  #leave() {
    const { app } = this;
    app.draft = null;
    app.selected = null;
    app.dialogs.clear();
    app.drafting.asked = null;
    if (app.tool.name !== "select") app.use("select");
  }
  #nothing(view) {
    const { app } = this;
    this.#leave();
    this.bytes = null;
    app.session.load({ ...view, mode: "empty", image: null, masks: null }, { ends: [] });
    app.post.open({ token: view.token, store_key: view.store_key, image: null });
    app.stage.load(null, null, true);
    app.stage.layers.load(app.session);
    app.list.reload();
    const { free = 0, others = 0, elsewhere = 0 } = view.queue ?? {};
    const held = others + elsewhere > 0;
    const kind = free ? "wb-button wb-main" : "wb-button";
    const again = h("button", { type: "button", class: kind, onclick: () => app.actions.open("next") }, h("span", { text: free ? "Open the next image" : "Look again" }));
    const words2 = view.message || "Nothing left to review.";
    const advice = held ? "An image is free again once it is left. This page keeps looking, and says so here." : "Images that are added later are found by looking again.";
    app.empty.replaceChildren(h("div", { class: "wb-empty-title", text: words2 }), h("p", { text: free ? "" : advice }), again);
    if (held) this.looks = setInterval(() => document.hidden || app.post.send("refresh"), LOOK_MS);
    app.empty.hidden = false;
    app.say("");
    app.changed();
    app.root.dataset.ready = view.token ?? "";
  }
  /** Some of it is still on its way. */
  #wait() {
    const words2 = "The image has not arrived whole: its masks or its picture are missing. Open it again, or run the cell again.";
    this.waits = setTimeout(() => this.app.trouble("page", words2), PATIENCE_MS);
  }
  #failed(turn, error) {
    if (turn !== this.turn) return;
    const decoding = error.name === "InvalidStateError" || error.name === "EncodingError";
    const words2 = decoding ? "the browser cannot read the picture." : error.message;
    this.app.trouble("page", `The image cannot be shown: ${words2}`);
  }
};

// src/overlay.js
var ASKED = { color: "#F0E442", width: 3, dash: [10, 5] };
function paintOver(app, context, zoom) {
  const { session, hovered, selected, draft, dialogs, tool } = app;
  const region = dialogs.open?.region;
  if (region) paintRegion(context, region, session, zoom);
  if (selected && !draft && !selected.superseded) paintSelected(context, selected, session.height, zoom);
  if (hovered && hovered !== selected && !draft && !hovered.superseded) {
    const path = pathOf(hovered, session.height, zoom);
    const style = STYLES[groupOf(hovered)];
    context.fillStyle = `${style.color}40`;
    context.fill(path);
    strokeAs(context, { ...style, core: void 0 }, path, zoom, { wider: 1.5 });
  }
  if (draft?.mode === "replace") strokeAs(context, { ...STYLES.rejected, core: void 0 }, pathOf(draft.mask, session.height, zoom), zoom);
  app.drafting.paint(context, zoom);
  tool.paint?.(context, zoom);
}
function paintSelected(context, mask, height, zoom) {
  const path = pathOf(mask, height, zoom);
  const style = STYLES[groupOf(mask)];
  context.fillStyle = `${style.color}30`;
  context.fill(path);
  context.lineJoin = "round";
  context.setLineDash([]);
  for (const [width, color] of [[7, "rgba(0, 0, 0, 0.55)"], [5, "#fff"]]) {
    context.lineWidth = width / zoom;
    context.strokeStyle = color;
    context.stroke(path);
  }
  strokeAs(context, { ...style, width: 2.5, core: void 0 }, path, zoom, { cased: false });
  paintCorners(context, mask.box, zoom);
}
function paintCorners(context, [x0, y0, x1, y1], zoom) {
  const gap = 8 / zoom;
  const arm = 8 / zoom;
  context.beginPath();
  for (const [x, y, dx, dy] of [[x0 - gap, y0 - gap, 1, 1], [x1 + gap, y0 - gap, -1, 1], [x1 + gap, y1 + gap, -1, -1], [x0 - gap, y1 + gap, 1, -1]]) {
    context.moveTo(x + dx * arm, y);
    context.lineTo(x, y);
    context.lineTo(x, y + dy * arm);
  }
  for (const [width, color] of [[4, "rgba(0, 0, 0, 0.6)"], [2, "#fff"]]) {
    context.lineWidth = width / zoom;
    context.strokeStyle = color;
    context.stroke();
  }
}
function paintRegion(context, region, session, zoom) {
  const masks = region.masks?.length ? region.masks : [region.mask ??= maskOf(region, session)].filter(Boolean);
  context.save();
  context.beginPath();
  context.rect(0, 0, session.width, session.height);
  context.fillStyle = "rgba(0, 0, 0, 0.4)";
  const dim = new Path2D();
  dim.rect(0, 0, session.width, session.height);
  for (const mask of masks) dim.addPath(pathOf(mask, session.height, zoom));
  context.fill(dim, "evenodd");
  for (const mask of masks) strokeAs(context, ASKED, pathOf(mask, session.height, zoom), zoom);
  context.restore();
}
function maskOf({ rle, box }, { height }) {
  if (rle) {
    const ends = endsOfRuns(runsOfString(rle));
    return { ends, box: boxOf(ends, height) };
  }
  if (!box) return null;
  const [x0, y0, x1, y1] = box.map(Math.round);
  const runs = [];
  for (let x = x0, at = 0; x < x1; x++) {
    runs.push(x * height + y0 - at, y1 - y0);
    at = x * height + y1;
  }
  return { ends: endsOfRuns(runs), box: [x0, y0, x1, y1] };
}

// src/panel/details.js
var SCORES = [
  ["predicted_iou", "Predicted IoU"],
  ["jitter_stability", "Jitter stability"],
  ["stability_score", "Stability"]
];
function reasonsOf(mask, session) {
  return mask.reasons.map((r) => session.view.reasons[r] ?? r.replaceAll("_", " "));
}
var Details = class {
  constructor(app) {
    this.app = app;
    this.element = h("section", { class: "wb-details", "aria-live": "polite" });
  }
  refresh() {
    const { app } = this;
    const mask = app.draft?.mask ?? app.selected;
    const state = JSON.stringify([app.session.view.token, mask?.id, mask && { ...mask, ends: 0, box: 0 }, this.#drawing(), app.session.counts().flagged]);
    if (state === this.state) return;
    this.state = state;
    const parts = app.draft ? this.#draft(app.draft) : mask ? this.#mask(mask) : this.#nothing();
    this.element.replaceChildren(...parts);
  }
  #drawing() {
    const { draft, drafting } = this.app;
    return draft && [draft.mode, draft.label, drafting.waits, drafting.live, draft.points.length, Boolean(draft.box)];
  }
  #nothing() {
    const { session } = this.app;
    const left = session.counts().flagged;
    const text = left ? `${counted(left, "mask")} to review.` : "Nothing is left to review here.";
    const advice = left ? "N goes to the next one." : "Draw what is missing, or complete the image with Enter.";
    return [h("div", { class: "wb-section-head" }, h("h4", { text: "No mask chosen" })), h("p", { class: "wb-soft", text: `${text} ${advice}` })];
  }
  #mask(mask) {
    const { session, actions } = this.app;
    const group = groupOf(mask);
    const head = h("div", { class: "wb-section-head" }, swatch(STYLES[group]), h("h4", { text: `Mask ${mask.number}` }), h("span", { class: "wb-count", text: stateOf(mask, session) }));
    const facts = [counted(mask.area_px, "px", "px"), mask.label && `label ${mask.label}`, mask.by && `by ${mask.by}`].filter(Boolean);
    const parts = [head, ...this.#scores(mask), h("p", { class: "wb-soft", text: facts.join(" · ") })];
    const reasons = reasonsOf(mask, session);
    if (reasons.length) parts.push(h("ul", { class: "wb-reasons" }, ...reasons.map((text) => h("li", { text }))));
    if (mask.suggested !== "none" && mask.verdict === "none") {
      const was = mask.suggested === "accept" ? "accepted" : "rejected";
      parts.push(h("p", { class: "wb-soft", text: `A mask like it was ${was} before.` }));
    }
    const button = (text, key, run) => h("button", { type: "button", class: "wb-button wb-small", onclick: run }, h("span", { text }), h("kbd", { text: key }));
    const drawing = [button("Edit", "E", () => actions.edit()), button("Draw anew", "⇧R", () => actions.redraw())];
    const buttons = session.audit ? [] : drawing;
    if (mask.verdict !== "none") buttons.push(button("No verdict", "U", () => actions.verdict("none")));
    parts.push(h("div", { class: "wb-buttons" }, ...buttons));
    return parts;
  }
  #scores(mask) {
    if (this.app.session.audit) return [];
    return SCORES.filter(([name]) => mask[name] !== null).map(([name, words2]) => {
      const bar = h("span", { class: "wb-bar" }, h("span", { style: { width: `${Math.max(0, Math.min(1, mask[name])) * 100}%` } }));
      return h("div", { class: "wb-score" }, h("span", { text: words2 }), bar, h("span", { class: "wb-value", text: score(mask[name]) }));
    });
  }
  #draft(draft) {
    const { app } = this;
    const titles = { new: "New mask", edit: `Editing mask ${draft.mask?.number}`, replace: `Drawing mask ${draft.mask?.number} anew` };
    const live = app.drafting.live;
    const words2 = app.drafting.waits ? "The model is asked…" : live && draft.points.length + Boolean(draft.box) ? `The model's own estimate: IoU ${score(live.predicted_iou ?? null)}.` : "Every tool works on the same mask: clicks, box, polygon, brush, eraser.";
    const button = (text, key, run, main) => h("button", { type: "button", class: `wb-button wb-small${main ? " wb-main" : ""}`, onclick: run }, h("span", { text }), h("kbd", { text: key }));
    const buttons = [button("Save", "↵", () => app.drafting.save(), true), button("Drop", "Esc", () => app.drafting.drop())];
    if (draft.mode === "replace") buttons.push(button("As a new mask", "", () => {
      draft.mode = "new";
      draft.mask = null;
      app.changed();
    }));
    const label = draft.label ? `Label: ${draft.label}` : app.session.view.labels.length ? "No label; press its key to give one." : "";
    return [
      h("div", { class: "wb-section-head" }, h("h4", { text: titles[draft.mode] })),
      h("p", { class: "wb-soft", text: words2 }),
      label ? h("p", { class: "wb-soft", text: label }) : h("span"),
      h("div", { class: "wb-buttons" }, ...buttons.map((b) => b))
    ];
  }
};
function stateOf(mask, session) {
  if (mask.verdict === "accept") return mask.bulk ? "accepted with all" : "accepted";
  if (mask.verdict === "reject") return "rejected";
  if (session.audit) return "to judge";
  if (groupOf(mask) === "drawn") return mask.source === "edited" ? "edited" : "drawn";
  return { auto_accepted: "accepted by itself", flagged: "to review", discarded: "discarded" }[mask.outcome] ?? "";
}

// src/panel/frame.js
var TOOLS2 = [
  ["select", "Choose and move", "V"],
  ["click", "Clicks: inside, outside", "C"],
  ["box", "Box", "O"],
  ["polygon", "Polygon", "G"],
  ["brush", "Brush", "B"],
  ["eraser", "Eraser", "E"]
];
var KINDS = { complete: "Check for completeness", second: "Second annotation, on your own" };
var Frame = class {
  constructor(app) {
    this.app = app;
    const { actions } = app;
    const small = (name, words2, run) => h("button", { type: "button", class: "wb-icon", title: words2, "aria-label": words2, onclick: () => {
      run();
      app.focus();
    } }, icon(name));
    this.name = h("span", { class: "wb-name" });
    this.mode = h("span", { class: "wb-chip", hidden: true });
    this.images = h("span", { class: "wb-progress-text", title: "Images that are complete or skipped, and the masks on them" });
    this.meter = h("span");
    this.bar = h("span", { class: "wb-meter", role: "progressbar", "aria-label": "Images done", "aria-valuemin": "0" }, this.meter);
    this.zoom = h("span", { class: "wb-zoom" });
    this.undo = small("undo", "Undo (Ctrl+Z)", () => actions.undo());
    this.redo = small("redo", "Do again (Ctrl+Shift+Z)", () => actions.redo());
    this.head = h(
      "header",
      { class: "wb-head" },
      this.name,
      this.mode,
      h("span", { class: "wb-progress" }, this.bar, this.images),
      h("span", { class: "wb-spring" }),
      this.zoom,
      this.undo,
      this.redo,
      small("fit", "Whole image (F)", () => app.stage.fit()),
      small("full", "Full screen", () => app.fullscreen()),
      small("panel", "Side panel", () => app.root.classList.toggle("wb-no-side")),
      small("help", "Keys (?)", () => app.dialogs.help())
    );
    this.banner = h("div", { class: "wb-banner", role: "alert", hidden: true });
    this.#tools();
    this.#foot();
  }
  #tools() {
    const { app } = this;
    this.tools = h("div", { class: "wb-tools", role: "toolbar", "aria-label": "Tools", "aria-orientation": "vertical" });
    this.buttons = {};
    for (const [name, words2, key] of TOOLS2) {
      const run = () => {
        app.use(name);
        app.focus();
      };
      const button = h("button", { type: "button", class: "wb-icon", title: `${words2} (${key})`, "aria-label": words2, "data-tool": name, onclick: run }, icon(name), h("kbd", { text: key }));
      this.buttons[name] = button;
      this.tools.append(button);
    }
    const resize = (event) => app.setBrush(Math.exp(Number(event.target.value)));
    this.size = h("input", { type: "range", min: "0.7", max: "6", step: "0.05", "aria-label": "Brush size", title: "Brush size ([ and ])", oninput: resize });
    this.sizeText = h("span", { class: "wb-size-text" });
    this.sizes = h("div", { class: "wb-size", hidden: true }, this.size, this.sizeText);
    this.tools.append(this.sizes);
  }
  #foot() {
    const { app } = this;
    const { actions } = app;
    const action = (text, key, run, kind = "") => h("button", { type: "button", class: `wb-button ${kind}`, "data-action": text.toLowerCase(), onclick: () => {
      run();
      app.focusIfFree();
    } }, h("span", { text }), h("kbd", { text: key }));
    this.message = h("span", { class: "wb-message", role: "status", "aria-live": "polite" });
    this.verdicts = [
      action("Accept", "A", () => actions.verdict("accept"), "wb-accept"),
      action("Reject", "R", () => actions.verdict("reject"), "wb-reject"),
      action("Next", "N", () => actions.step(1)),
      action("Accept all", "⇧A", () => actions.acceptAll())
    ];
    this.completing = [action("Skip…", "K", () => actions.skip()), action("Complete", "↵", () => actions.enter(), "wb-main")];
    this.foot = h("footer", { class: "wb-foot" }, ...this.verdicts, this.message, ...this.completing);
  }
  refresh() {
    const { app } = this;
    const { view, gestures } = app.session;
    const { images_done = 0, images = 0, masks_done = 0, masks = 0 } = view.progress ?? {};
    setText(this.name, view.image?.name ?? "");
    this.name.title = view.image ? `${view.image.name}, ${view.image.width} × ${view.image.height} px` : "";
    const kind = view.mode === "audit" ? "Audit: judge without scores" : KINDS[view.queue?.kind];
    this.mode.hidden = !kind;
    setText(this.mode, kind ?? "");
    const whole = `${images_done.toLocaleString("en")}/${counted(images, "image")}`;
    setText(this.images, masks ? `${whole} · ${masks_done.toLocaleString("en")}/${counted(masks, "mask")}` : whole);
    this.meter.style.width = `${images ? 100 * images_done / images : 0}%`;
    this.bar.setAttribute("aria-valuenow", String(images_done));
    this.bar.setAttribute("aria-valuemax", String(images));
    for (const [name, button] of Object.entries(this.buttons)) setAttribute(button, "aria-pressed", String(app.tool.name === name));
    this.sizes.hidden = !["brush", "eraser"].includes(app.tool.name);
    this.size.value = String(Math.log(app.brush_px));
    setText(this.sizeText, `${Math.round(app.brush_px)} px`);
    this.undo.disabled = !app.draft && !gestures.last;
    this.redo.disabled = !app.draft && !gestures.next && !app.drafting.undone;
    setText(this.completing[1].firstChild, app.draft ? "Save mask" : "Complete");
    this.verdicts[3].hidden = app.session.audit;
    for (const button of this.verdicts.slice(0, 2)) button.disabled = !app.selected || Boolean(app.draft);
  }
  zoomed(scale) {
    setText(this.zoom, `${Math.round(scale * 100)} %`);
  }
  /** @param {string} text @param {""|"error"|"done"} kind */
  say(text, kind = "") {
    setText(this.message, text);
    this.message.dataset.kind = kind;
  }
  /** @param {string[]} texts what is wrong now */
  warn(texts) {
    this.banner.hidden = !texts.length;
    this.banner.replaceChildren(...texts.map((text) => h("div", { text })));
  }
};

// src/panel/layers.js
var LayersPanel = class {
  constructor(app) {
    this.app = app;
    const { layers } = app.stage;
    this.rows = Object.fromEntries(GROUPS.map((group) => [group, this.#row(group)]));
    this.fills = h("input", { type: "checkbox", onchange: () => app.actions.toggleFills() });
    const slide = (event) => {
      layers.opacity = Number(event.target.value) / 100;
      layers.restyle();
    };
    this.opacity = h("input", { type: "range", min: "5", max: "100", value: String(layers.opacity * 100), "aria-label": "Opacity of fills", oninput: slide });
    this.labels = h("div", { class: "wb-labels" });
    this.element = h(
      "section",
      { class: "wb-layers" },
      h("div", { class: "wb-section-head" }, h("h4", { text: "Shown" }), h("label", { class: "wb-layer wb-fills" }, this.fills, h("span", { text: "Fill" }), this.opacity)),
      ...Object.values(this.rows).map((r) => r.element),
      this.labels
    );
  }
  #row(group) {
    const check = h("input", { type: "checkbox", onchange: () => this.app.actions.toggleGroup(group) });
    const name = h("span", { class: "wb-layer-name", text: STYLES[group].name });
    const count = h("span", { class: "wb-count" });
    const element = h("label", { class: "wb-layer", "data-group": group }, check, swatch(STYLES[group]), name, count);
    return { element, check, count, name };
  }
  refresh() {
    const { app } = this;
    const { layers } = app.stage;
    const counts = app.session.counts();
    for (const [group, { check, count, name, element }] of Object.entries(this.rows)) {
      check.checked = layers.visible && layers.shown.has(group);
      setText(count, counts[group].toLocaleString("en"));
      element.hidden = app.session.audit && ["discarded", "drawn"].includes(group);
      if (group === "flagged") setText(name, app.session.audit ? "To judge" : STYLES.flagged.name);
    }
    this.fills.checked = layers.fills;
    this.#labels();
  }
  #labels() {
    const { app } = this;
    const { labels } = app.session.view;
    const now = app.draft ? app.draft.label : app.tool.name === "select" && app.selected ? app.selected.label : app.label;
    const state = JSON.stringify([labels, now]);
    if (state === this.state) return;
    this.state = state;
    const buttons = labels.map(({ key, name }) => {
      const given = { type: "button", class: "wb-label", "aria-pressed": String(name === now), onclick: () => app.actions.label(name) };
      return h("button", given, isFree(key) ? h("kbd", { text: key }) : null, h("span", { text: name }));
    });
    this.labels.replaceChildren(...buttons);
  }
};

// src/panel/list.js
var ROW_PX = 28;
var SPARE = 6;
var SORTS = {
  order: ["Image order", () => 0],
  "predicted_iou+": ["IoU, lowest first", (a, b) => low(a.predicted_iou) - low(b.predicted_iou)],
  "predicted_iou-": ["IoU, highest first", (a, b) => low(b.predicted_iou) - low(a.predicted_iou)],
  "jitter_stability+": ["Jitter, lowest first", (a, b) => low(a.jitter_stability) - low(b.jitter_stability)],
  "stability_score+": ["Stability, lowest first", (a, b) => low(a.stability_score) - low(b.stability_score)],
  "area-": ["Largest first", (a, b) => b.area_px - a.area_px],
  "area+": ["Smallest first", (a, b) => a.area_px - b.area_px]
};
var low = (value) => value ?? 2;
var MaskList = class {
  /** masks in the list's order, filtered or not: what next and previous follow @type {object[]} */
  order = [];
  /** how many masks have a reason @type {Map<string, number>} */
  often = /* @__PURE__ */ new Map();
  /** @type {object[]} */
  rows = [];
  constructor(app) {
    this.app = app;
    this.filter = h("select", { "aria-label": "Show in the list", class: "wb-select", onchange: () => this.reload() });
    this.sort = h("select", { "aria-label": "Sort the list", class: "wb-select", onchange: () => this.reload() });
    for (const [value, [text]] of Object.entries(SORTS)) this.sort.append(h("option", { value, text }));
    this.count = h("span", { class: "wb-count" });
    this.inner = h("div", { class: "wb-rows" });
    this.scroller = h("div", { class: "wb-scroller", role: "listbox", "aria-label": "Masks", tabindex: "0" }, this.inner);
    this.element = h(
      "section",
      { class: "wb-list" },
      h("div", { class: "wb-section-head" }, h("h4", { text: "Masks" }), this.count),
      h("div", { class: "wb-list-tools" }, this.filter, this.sort),
      this.scroller
    );
    this.pool = [];
    const { signal } = app;
    this.scroller.addEventListener("scroll", () => app.frames.ask("rows", () => this.#paint()), { signal, passive: true });
    const observer = new ResizeObserver(() => {
      this.#paint();
      if (app.selected) this.reveal(app.selected);
    });
    observer.observe(this.scroller);
    signal.addEventListener("abort", () => observer.disconnect());
    this.inner.addEventListener("click", (event) => this.#clicked(event), { signal });
    this.inner.addEventListener("dblclick", () => app.actions.zoomTo(), { signal });
  }
  /** Another image, filter or order. */
  reload() {
    this.#options();
    const compare = SORTS[this.sort.value]?.[1] ?? SORTS.order[1];
    this.order = [...this.app.session.masks].sort(compare);
    this.refresh();
  }
  /** What masks are has changed; their order has not. */
  refresh() {
    if (this.order.length !== this.app.session.masks.length) {
      const compare = SORTS[this.sort.value]?.[1] ?? SORTS.order[1];
      this.order = [...this.app.session.masks].sort(compare);
    }
    this.rows = this.order.filter((m) => this.holds(m));
    setText(this.count, counted(this.rows.length, "mask"));
    this.inner.style.height = `${this.rows.length * ROW_PX}px`;
    this.#paint();
  }
  /** Whether the filter lets a mask through. */
  holds(mask) {
    if (mask.superseded) return false;
    const [kind, name] = this.filter.value.split(":");
    if (kind === "group") return groupOf(mask) === name;
    if (kind === "reason") return mask.reasons.includes(name);
    return groupOf(mask) !== "discarded" || this.app.stage.layers.shown.has("discarded");
  }
  /** Scroll to a mask. */
  reveal(mask) {
    const at = this.rows.indexOf(mask);
    if (at < 0) return;
    const { scrollTop, clientHeight } = this.scroller;
    if (at * ROW_PX < scrollTop) this.scroller.scrollTop = at * ROW_PX;
    else if ((at + 1) * ROW_PX > scrollTop + clientHeight) this.scroller.scrollTop = (at + 1) * ROW_PX - clientHeight;
  }
  #options() {
    const { session } = this.app;
    const before = this.filter.value;
    const reasons = /* @__PURE__ */ new Map();
    for (const mask of session.masks) for (const r of mask.reasons) reasons.set(r, (reasons.get(r) ?? 0) + 1);
    const option = (value, text) => h("option", { value, text });
    const groups = session.audit ? ["flagged", "accepted", "rejected"] : GROUPS;
    this.filter.replaceChildren(option("", "All shown"));
    for (const group of groups) this.filter.append(option(`group:${group}`, STYLES[group].name));
    for (const [name, n] of [...reasons].sort((a, b) => b[1] - a[1])) {
      this.filter.append(option(`reason:${name}`, `${session.view.reasons[name] ?? name} (${n})`));
    }
    this.often = reasons;
    this.filter.value = [...this.filter.options].some((o) => o.value === before) ? before : "";
  }
  #paint() {
    const { scrollTop, clientHeight } = this.scroller;
    const first = Math.max(0, Math.floor(scrollTop / ROW_PX) - SPARE);
    const last = Math.min(this.rows.length, Math.ceil((scrollTop + clientHeight) / ROW_PX) + SPARE);
    while (this.pool.length < last - first) this.pool.push(this.#row());
    this.pool.forEach((row, i) => {
      const mask = this.rows[first + i];
      row.element.hidden = first + i >= last;
      if (!row.element.hidden) this.#fill(row, mask, first + i);
    });
  }
  #row() {
    const parts = { mark: h("span", { class: "wb-mark" }), number: h("span", { class: "wb-number" }) };
    Object.assign(parts, { text: h("span", { class: "wb-row-text" }), value: h("span", { class: "wb-value" }) });
    const element = h("div", { class: "wb-row", role: "option" }, parts.mark, parts.number, parts.text, parts.value);
    this.inner.append(element);
    return { ...parts, element, group: "" };
  }
  #fill(row, mask, place) {
    const { session, selected } = this.app;
    const group = groupOf(mask);
    if (row.group !== group) {
      row.mark.replaceChildren(swatch(STYLES[group]));
      row.group = group;
    }
    row.element.style.transform = `translateY(${place * ROW_PX}px)`;
    setAttribute(row.element, "data-id", mask.id);
    setAttribute(row.element, "aria-selected", String(mask === selected));
    setAttribute(row.element, "aria-posinset", String(place + 1));
    setAttribute(row.element, "aria-setsize", String(this.rows.length));
    setText(row.number, String(mask.number));
    const telling = [...mask.reasons].sort((a, b) => (this.often.get(a) ?? 0) - (this.often.get(b) ?? 0));
    const reasons = reasonsOf({ reasons: telling }, session);
    const words2 = [mask.label, group === "flagged" && reasons.length ? "" : stateOf(mask, session), ...reasons].filter(Boolean).join(" · ");
    setText(row.text, words2);
    setAttribute(row.element, "title", words2);
    setText(row.value, session.audit || mask.predicted_iou === null ? "" : score(mask.predicted_iou));
  }
  #clicked(event) {
    const id = event.target.closest(".wb-row")?.dataset.id;
    const mask = this.app.session.byId.get(id);
    if (mask) this.app.select(mask);
    this.app.focus();
  }
};

// src/camera.js
var LARGEST = 64;
var Camera = class {
  scale = 1;
  x = 0;
  // where the image's corner lies on the stage
  y = 0;
  width = 1;
  // of the stage
  height = 1;
  image = { width: 1, height: 1 };
  /** @returns {[number, number]} image px of a place on the stage */
  toImage(x, y) {
    return [(x - this.x) / this.scale, (y - this.y) / this.scale];
  }
  /** @returns {[number, number]} */
  toStage(x, y) {
    return [x * this.scale + this.x, y * this.scale + this.y];
  }
  get fitScale() {
    return Math.min(this.width / this.image.width, this.height / this.image.height);
  }
  fit() {
    this.scale = this.fitScale;
    this.centre(this.image.width / 2, this.image.height / 2);
  }
  /** Put an image point into the middle of the stage. */
  centre(x, y) {
    this.x = this.width / 2 - x * this.scale;
    this.y = this.height / 2 - y * this.scale;
    this.hold();
  }
  /** Zoom so that what is under a place of the stage stays there. */
  zoom(factor, x = this.width / 2, y = this.height / 2) {
    const [ix, iy] = this.toImage(x, y);
    const smallest = Math.min(this.fitScale, 1) / 2;
    this.scale = Math.min(Math.max(this.scale * factor, smallest), LARGEST);
    this.x = x - ix * this.scale;
    this.y = y - iy * this.scale;
    this.hold();
  }
  pan(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.hold();
  }
  /** The stage has another size; its middle keeps showing the same. */
  resize(width, height) {
    const [ix, iy] = this.toImage(this.width / 2, this.height / 2);
    this.width = width;
    this.height = height;
    this.centre(ix, iy);
  }
  /** Bring a box into sight by moving, never by zooming; what is in sight, or fills the stage, stays. @returns {boolean} moved */
  reveal([x0, y0, x1, y1]) {
    const [left, top] = this.toStage(x0, y0);
    const [right, bottom] = this.toStage(x1, y1);
    const slack = 1;
    const across = left >= -slack && right <= this.width + slack || left <= 0 && right >= this.width;
    const down = top >= -slack && bottom <= this.height + slack || top <= 0 && bottom >= this.height;
    if (across && down) return false;
    this.centre((x0 + x1) / 2, (y0 + y1) / 2);
    return true;
  }
  /** Fill the stage with a box. */
  show([x0, y0, x1, y1]) {
    this.scale = Math.min(this.width * 0.7 / (x1 - x0), this.height * 0.7 / (y1 - y0), 16);
    this.centre((x0 + x1) / 2, (y0 + y1) / 2);
  }
  /** Never lose the image: some of it stays on the stage. */
  hold() {
    const keep = 40;
    const w = this.image.width * this.scale;
    const h2 = this.image.height * this.scale;
    this.x = Math.min(Math.max(this.x, keep - w), this.width - keep);
    this.y = Math.min(Math.max(this.y, keep - h2), this.height - keep);
  }
  copy() {
    return { scale: this.scale, x: this.x, y: this.y };
  }
};

// src/layers.js
var SLICE_MS = 6;
var FIRST_MS = 40;
var CALM_MS = 90;
var MANY = 40;
var AT_ONCE = 60;
var Layers = class {
  /** @param {HTMLElement} holder @param {import("./camera.js").Camera} camera @param {import("./frames.js").Frames} frames */
  constructor(holder, camera, frames) {
    Object.assign(this, { holder, camera, frames });
    this.session = null;
    this.shown = /* @__PURE__ */ new Set(["flagged", "accepted", "drawn", "rejected"]);
    this.fills = true;
    this.opacity = 0.35;
    this.visible = true;
    this.ratio = 1;
    this.job = null;
    this.slice_ms = SLICE_MS;
    this.onDone = () => {
    };
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
      fill.style.visibility = on && this.fills && STYLES[group].fills ? "" : "hidden";
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
      for (const group of /* @__PURE__ */ new Set([before[i] ?? groupOf(mask), groupOf(mask)])) {
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
      const pairs = [[sheet.line, this.scratch[1]], ...STYLES[group].fills ? [[sheet.fill, this.scratch[0]]] : []];
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
      const [w, h2] = [Math.round(width * ratio), Math.round(height * ratio)];
      if (canvas.width !== w || canvas.height !== h2) [canvas.width, canvas.height] = [w, h2];
      else {
        const context = canvas.getContext("2d");
        context.setTransform(1, 0, 0, 1, 0, 0);
        context.clearRect(0, 0, w, h2);
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
      this.#size(canvases, sheet.drawn);
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
};
function empty(canvases) {
  for (const canvas of canvases) canvas.width = canvas.height = 0;
}

// src/stage.js
var CLICK_PX = 4;
var Stage = class {
  /** @param {object} app frames, tool, signal */
  constructor(app) {
    this.app = app;
    this.camera = new Camera();
    this.picture = null;
    this.ratio = 1;
    this.space = false;
    this.pointer = null;
    this.image = h("canvas", { class: "wb-sheet" });
    this.over = h("canvas", { class: "wb-sheet" });
    const sheets = h("div", { class: "wb-sheets" });
    this.hint = h("div", { class: "wb-tip", hidden: true, role: "presentation" });
    this.element = h("div", { class: "wb-stage" }, this.image, sheets, this.over, this.hint);
    this.layers = new Layers(sheets, this.camera, app.frames);
    this.#listen();
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.element);
  }
  /** @param {ImageBitmap|null} picture @param {{width: number, height: number}|null} size @param {boolean} keep the view */
  load(picture, size, keep) {
    if (this.picture && this.picture !== picture) this.picture.close();
    if (picture !== this.picture) this.#halve(picture);
    this.picture = picture;
    this.camera.image = size ?? { width: 1, height: 1 };
    this.resize();
    if (!keep) this.fit();
  }
  /** A picture of half the size, for views from afar: drawn in a quarter of the time, and smoother. */
  #halve(picture) {
    this.half?.close();
    this.half = null;
    if (!picture) return;
    const size = { resizeWidth: Math.ceil(picture.width / 2), resizeHeight: Math.ceil(picture.height / 2), resizeQuality: "medium" };
    const keep = (half) => {
      if (this.picture === picture && !this.app.signal.aborted) this.half = half;
      else half.close();
    };
    createImageBitmap(picture, size).then(keep, () => {
    });
  }
  resize() {
    const { clientWidth: width, clientHeight: height } = this.element;
    if (!width || !height) return;
    const ratio = window.devicePixelRatio || 1;
    if (width === this.camera.width && height === this.camera.height && ratio === this.ratio) return;
    const fitted = Math.abs(this.camera.scale - this.camera.fitScale) < 1e-6;
    this.ratio = this.layers.ratio = ratio;
    this.camera.resize(width, height);
    if (fitted) this.camera.fit();
    for (const canvas of [this.image, this.over]) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height}px`;
    }
    this.#paintImage(true);
    this.moved();
  }
  fit() {
    this.camera.fit();
    this.moved();
  }
  zoom(factor, x, y) {
    this.camera.zoom(factor, x, y);
    this.moved();
  }
  /** Bring a mask or a region into sight; the zoom is kept. */
  reveal(box) {
    if (this.camera.reveal(box)) this.moved();
  }
  moved() {
    const { scale, x, y } = this.camera;
    this.app.root.dataset.camera = `${scale} ${x} ${y}`;
    this.layers.moved();
    this.app.frames.ask("image", () => this.#paintImage(false));
    clearTimeout(this.calm);
    this.calm = setTimeout(() => this.#paintImage(true), 150);
    this.refresh();
    this.app.zoomed(scale);
    if (this.pointer) this.app.pointerAt(this.#under(this.pointer));
  }
  /** Hover, selection or drawing changed. */
  refresh() {
    this.app.frames.ask("over", () => this.#paintOver());
  }
  stop() {
    this.observer.disconnect();
    clearTimeout(this.calm);
    this.layers.stop();
    this.picture?.close();
    this.half?.close();
  }
  /** Set a context to image pixels. */
  #inImage(context) {
    const { scale, x, y } = this.camera;
    context.setTransform(this.ratio * scale, 0, 0, this.ratio * scale, this.ratio * x, this.ratio * y);
  }
  #paintImage(best) {
    const context = this.image.getContext("2d", { alpha: false });
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = getComputedStyle(this.element).backgroundColor;
    context.fillRect(0, 0, this.image.width, this.image.height);
    if (!this.picture) return;
    this.#inImage(context);
    context.imageSmoothingEnabled = this.camera.scale * this.ratio < 3;
    context.imageSmoothingQuality = best ? "high" : "low";
    const { width, height } = this.camera.image;
    const small = this.camera.scale * this.ratio <= 0.5 * (this.picture.width / width);
    context.drawImage(small && this.half || this.picture, 0, 0, width, height);
  }
  #paintOver() {
    const context = this.over.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.over.width, this.over.height);
    if (!this.picture) return;
    this.#inImage(context);
    this.app.paintOver(context, this.camera.scale);
  }
  /** What tools are told of a pointer. */
  #event(event) {
    const bounds = this.element.getBoundingClientRect();
    const sx = event.clientX - bounds.left;
    const sy = event.clientY - bounds.top;
    const [x, y] = this.camera.toImage(sx, sy);
    const erase = event.altKey || event.button === 2 || (event.buttons & 2) !== 0;
    return { x, y, sx, sy, shift: event.shiftKey, erase, button: event.button };
  }
  #under({ sx, sy }) {
    const [x, y] = this.camera.toImage(sx, sy);
    return { sx, sy, x, y };
  }
  #listen() {
    const { signal } = this.app;
    const on = (name, call, options = {}) => this.element.addEventListener(name, call, { signal, ...options });
    on("pointerdown", (event) => this.#down(event));
    on("pointermove", (event) => this.#move(event));
    on("pointerup", (event) => this.#up(event));
    on("pointercancel", (event) => this.#up(event, true));
    on("pointerleave", () => {
      this.pointer = null;
      this.app.pointerLeft();
    });
    on("dblclick", (event) => this.app.tool.double?.(this.#event(event)));
    on("contextmenu", (event) => {
      event.preventDefault();
      event.stopPropagation();
    });
    on("wheel", (event) => this.#wheel(event), { passive: false });
  }
  #down(event) {
    if (event.target.closest?.(".wb-dialog")) return;
    this.app.focus();
    if (!this.picture) return;
    this.element.setPointerCapture(event.pointerId);
    const e = this.#event(event);
    const pans = event.button === 1 || this.space;
    if (event.button === 1) event.preventDefault();
    this.press = { ...e, pans, moved: false };
    if (!pans) this.app.tool.down?.(e);
  }
  #move(event) {
    const e = this.#event(event);
    const { press } = this;
    if (press && !press.moved && Math.hypot(e.sx - press.sx, e.sy - press.sy) >= CLICK_PX) {
      press.moved = true;
      if (!press.pans && this.app.tool.pans) press.pans = true;
      press.last = [press.sx, press.sy];
    }
    if (press?.pans) {
      if (press.moved) {
        this.camera.pan(e.sx - press.last[0], e.sy - press.last[1]);
        press.last = [e.sx, e.sy];
        this.element.classList.add("wb-panning");
        this.moved();
      }
      return;
    }
    const steps = press && event.getCoalescedEvents ? event.getCoalescedEvents() : [];
    for (const step of steps.length ? steps : [event]) this.app.tool.move?.(this.#event(step), Boolean(press));
    this.pointer = e;
    this.app.pointerAt(e);
  }
  #up(event, cancelled = false) {
    const { press } = this;
    this.press = null;
    this.element.classList.remove("wb-panning");
    if (!press || press.pans) return;
    const e = { ...this.#event(event), erase: press.erase, clicked: !press.moved };
    if (cancelled) this.app.tool.cancel?.();
    else this.app.tool.up?.(e);
  }
  /** The wheel zooms while the annotator has the focus (or with Ctrl); else the page scrolls as ever. */
  #wheel(event) {
    if (!this.picture || !(event.ctrlKey || this.app.focused || document.fullscreenElement)) return;
    event.preventDefault();
    const pixels2 = event.deltaY * (event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? 400 : 1);
    if (event.shiftKey) {
      const across = event.deltaX || pixels2;
      this.camera.pan(-across, 0);
      return this.moved();
    }
    const { sx, sy } = this.#event(event);
    const step = Math.max(-240, Math.min(240, pixels2)) * (event.ctrlKey ? 3 : 1);
    this.zoom(Math.exp(-step / 400), sx, sy);
  }
};

// src/tools/brush.js
var BrushTool = class {
  cursor = "none";
  stroke = null;
  at = null;
  /** @param {object} app @param {"brush"|"eraser"} name */
  constructor(app, name) {
    this.app = app;
    this.name = name;
  }
  get radius() {
    return this.app.brush_px / 2;
  }
  down(e) {
    if (e.button !== 0 && e.button !== 2) return;
    const draft = this.app.drafting.begin();
    if (!draft) return;
    const adds = this.name === "brush" ? !e.erase : e.erase;
    this.stroke = { end: draft.open("brush"), adds, last: [e.x, e.y] };
    draft.brush([e.x, e.y], [e.x, e.y], this.radius, adds);
    this.app.drafting.changed();
  }
  move(e) {
    this.at = [e.x, e.y];
    const { stroke, app } = this;
    if (stroke) {
      app.draft.brush(stroke.last, this.at, this.radius, stroke.adds);
      stroke.last = this.at;
      app.drafting.changed(false);
    }
    app.stage.refresh();
  }
  up() {
    this.stroke?.end();
    this.stroke = null;
    this.app.drafting.changed();
  }
  cancel() {
    this.up();
  }
  leave() {
    this.at = null;
  }
  paint(context, zoom) {
    if (!this.at) return;
    context.setLineDash([]);
    context.beginPath();
    context.arc(this.at[0], this.at[1], this.radius, 0, 2 * Math.PI);
    context.lineWidth = 3 / zoom;
    context.strokeStyle = "rgba(0, 0, 0, 0.6)";
    context.stroke();
    context.lineWidth = 1.5 / zoom;
    context.strokeStyle = this.name === "brush" ? "#fff" : "#D55E00";
    if (this.name === "eraser") context.setLineDash([4 / zoom, 3 / zoom]);
    context.stroke();
    context.setLineDash([]);
  }
};

// src/tools/polygon.js
var NEAR_PX = 9;
var PolygonTool = class {
  name = "polygon";
  cursor = "crosshair";
  at = null;
  constructor(app) {
    this.app = app;
  }
  up(e) {
    if (e.button !== 0 && e.button !== 2) return;
    const draft = this.app.drafting.begin();
    if (!draft) return;
    if (draft.corners.length >= 3 && this.#near(draft.corners[0], e)) return this.close(e.erase);
    this.erase = e.erase;
    draft.addCorner([Math.round(e.x * 100) / 100, Math.round(e.y * 100) / 100]);
    this.app.drafting.changed();
  }
  /** The second click of the two has set its corner already. */
  double() {
    const corners = this.app.draft?.corners ?? [];
    if (corners.length < 3) return;
    const [a, b] = corners.slice(-2);
    const { scale } = this.app.stage.camera;
    if (Math.hypot(a[0] - b[0], a[1] - b[1]) * scale < NEAR_PX) this.app.draft.undo();
    this.close(this.erase);
  }
  /** @returns {boolean} */
  close(erase = false) {
    const { draft } = this.app;
    if (!draft?.corners.length) return false;
    const crosses = crossesItself(draft.corners);
    const closed = draft.closePolygon(!erase);
    if (closed && crosses) this.app.say("The polygon crosses itself: where it covers its inside twice, that is left out.");
    if (!closed) this.app.say("That polygon holds no pixel: it needs three corners that are not on one line.");
    if (!closed) draft.dropCorners();
    this.app.drafting.changed();
    return closed;
  }
  move(e) {
    this.at = [e.x, e.y];
    if (this.app.draft?.corners.length) this.app.stage.refresh();
  }
  paint(context, zoom) {
    const corners = this.app.draft?.corners ?? [];
    if (!corners.length) return;
    const path = new Path2D();
    corners.forEach(([x, y], i) => i ? path.lineTo(x, y) : path.moveTo(x, y));
    if (this.at) path.lineTo(...this.at);
    context.setLineDash([]);
    context.fillStyle = "rgba(240, 228, 66, 0.2)";
    context.fill(path, "evenodd");
    for (const [width, color] of [[3.5, "rgba(0, 0, 0, 0.6)"], [1.5, "#F0E442"]]) {
      context.lineWidth = width / zoom;
      context.strokeStyle = color;
      context.stroke(path);
    }
    corners.forEach(([x, y], i) => {
      context.beginPath();
      context.arc(x, y, (i ? 3.5 : 5.5) / zoom, 0, 2 * Math.PI);
      context.fillStyle = i ? "#fff" : "#F0E442";
      context.fill();
      context.lineWidth = 1.5 / zoom;
      context.strokeStyle = "#000";
      context.stroke();
    });
  }
  #near([x, y], e) {
    const [sx, sy] = this.app.stage.camera.toStage(x, y);
    return Math.hypot(sx - e.sx, sy - e.sy) < NEAR_PX;
  }
};

// src/tools/select.js
var SAME_PX = 5;
var SelectTool = class {
  name = "select";
  pans = true;
  cursor = "default";
  last = null;
  constructor(app) {
    this.app = app;
  }
  up(e) {
    if (!e.clicked || e.button !== 0) return;
    const { app, last } = this;
    const under = app.masksAt(e.x, e.y);
    const again = last !== null && Math.hypot(e.sx - last.sx, e.sy - last.sy) < SAME_PX;
    this.last = { sx: e.sx, sy: e.sy };
    app.select(choose(under, app.selected, again), { reveal: false });
  }
};

// src/app.js
var RENEW_MS = 6e4;
var BRUSH = { smallest: 2, largest: 400, first: 24 };
var App = class {
  selected = null;
  hovered = null;
  /** @type {import("./draft.js").Draft|null} */
  draft = null;
  dropping = null;
  // the draft that a second Esc drops
  label = "";
  // given to new masks
  brush_px = BRUSH.first;
  focused = false;
  troubles = { fault: "", page: "", silent: "" };
  /** @param {object} model @param {HTMLElement} el @param {string} css */
  constructor(model, el, css) {
    this.model = model;
    this.stopping = new AbortController();
    this.signal = this.stopping.signal;
    this.frames = new Frames();
    this.clock = new Clock();
    this.session = new Session();
    const attributes = { tabindex: "0", role: "application", "aria-label": "Annotator", "data-lm-suppress-shortcuts": "true" };
    this.root = h("div", { class: "wb", ...attributes });
    this.actions = new Actions(this);
    this.drafting = new Drafting(this);
    this.stage = new Stage(this);
    this.tools = { select: new SelectTool(this), click: new ClickTool(this), box: new BoxTool(this), polygon: new PolygonTool(this) };
    this.tools.brush = new BrushTool(this, "brush");
    this.tools.eraser = new BrushTool(this, "eraser");
    this.tool = this.tools.select;
    this.#build(el, css);
    this.post = new Post(model, { reply: (m, r) => this.#reply(m, r), state: (s) => this.#posted(s) }, { storage: storage(), elapsed: () => this.clock.take() });
    this.keeping = new Keeping(this, storage());
    this.loader = new Loader(this);
    this.#listen();
    this.use("select");
    this.post.start();
    this.renewing = setInterval(() => this.#renew(), RENEW_MS);
    this.#fault();
    this.loader.load();
  }
  #build(el, css) {
    this.frame = new Frame(this);
    this.list = new MaskList(this);
    this.details = new Details(this);
    this.layersPanel = new LayersPanel(this);
    this.dialogs = new Dialogs(this, this.stage.element);
    this.empty = h("div", { class: "wb-empty", hidden: true });
    this.stage.element.append(this.empty);
    const side = h("aside", { class: "wb-side" }, this.details.element, this.layersPanel.element, this.list.element);
    const body = h("div", { class: "wb-body" }, this.frame.tools, this.stage.element, side);
    this.root.append(h("style", { text: css }), this.frame.head, this.frame.banner, body, this.frame.foot);
    el.append(this.root);
  }
  #listen() {
    const { root, signal, model } = this;
    listen(root, this, signal);
    root.addEventListener("focusin", () => this.focused = true, { signal });
    root.addEventListener("focusout", (event) => {
      this.focused = root.contains(event.relatedTarget);
      if (!this.focused) this.setSpace(false);
    }, { signal });
    for (const name of ["pointermove", "pointerdown", "wheel"]) root.addEventListener(name, () => this.clock.touch(), { signal, passive: true });
    window.addEventListener("error", (event) => this.#crashed(event), { signal });
    this.heard = {
      view: () => this.loader.load(),
      masks: () => this.loader.load(),
      picture: () => this.loader.load(),
      live: () => this.guard(() => this.#live()),
      acked: () => this.guard(() => this.post.acknowledged()),
      replies: () => this.guard(() => this.post.replied()),
      fault: () => this.#fault()
    };
    for (const [name, call] of Object.entries(this.heard)) model.on(`change:${name}`, call);
  }
  stop() {
    for (const [name, call] of Object.entries(this.heard)) this.model.off(`change:${name}`, call);
    this.stopping.abort();
    clearInterval(this.renewing);
    this.loader.stop();
    this.post.close();
    this.frames.stop();
    this.stage.stop();
    this.root.remove();
  }
  /** Run, and put an error into words in the widget instead of the console alone. */
  guard(work) {
    try {
      work();
    } catch (error) {
      this.trouble("page", `Something went wrong in the page: ${error.message} Reload it; nothing that was done is lost.`);
    }
  }
  /** @param {"fault"|"page"|"silent"} kind @param {string} text "" when it is over */
  trouble(kind, text) {
    this.troubles[kind] = text;
    this.frame.warn(Object.values(this.troubles).filter(Boolean));
  }
  #crashed(event) {
    if (!String(event.error?.stack ?? "").includes("workbench") && !event.filename?.includes("annotator")) return;
    this.trouble("page", `Something went wrong in the page: ${event.message}. Reload it; nothing that was done is lost.`);
  }
  #fault() {
    this.trouble("fault", this.model.get("fault") ?? "");
  }
  #posted({ silent, waiting }) {
    this.root.dataset.waiting = String(waiting);
    const kept = waiting === 1 ? "1 gesture is kept here and will be sent again." : `${waiting} gestures are kept here and will be sent again.`;
    this.trouble("silent", silent ? `The kernel does not answer. ${waiting ? kept : "Is it running?"}` : "");
  }
  #renew() {
    const idle = performance.now() - this.clock.last;
    if (this.session.view.image && idle < RENEW_MS) this.post.send("renew");
  }
  #live() {
    const answer = readLive(this.model.get("live"));
    if (answer && (!answer.header.token || answer.header.token === this.session.view.token)) this.drafting.answered(answer);
  }
  #reply(message, reply) {
    const gesture = message?.gesture_id ?? reply.gesture;
    const aim = ["undo", "redo"].includes(message?.kind) ? message.gesture : null;
    if (aim) this.session.gestures.settle(aim);
    if (!reply.ok) {
      this.say(reply.error ?? "The kernel refused that.", "error");
      if (message?.kind === "prompt") this.drafting.asked = null;
      if (aim) this.touched(this.session.turn(aim, message.kind === "redo"));
      this.session.gestures.settle(aim);
      this.touched(this.session.revert(gesture));
      return;
    }
    if (message && message.image !== this.session.view.image?.name) {
      if (reply.progress) this.session.view.progress = reply.progress;
      return this.changed();
    }
    const changed = this.session.settle(reply, this.#underWay());
    this.touched([...changed]);
    if (reply.dialog) this.dialogs.fromKernel({ ...reply.dialog, gesture: reply.dialog.gesture ?? gesture }, gesture);
    else if (reply.message) this.say(reply.message);
  }
  /** Masks of gestures that the kernel has not answered yet: what it says about them is older than what is shown. */
  #underWay() {
    const masks = [...this.post.asked.values()].flatMap((m) => [m.mask, ...m.masks ?? []]);
    return new Set(masks.filter(Boolean));
  }
  /** Masks changed what they are. */
  touched(masks) {
    if (!masks.length) return this.changed();
    const { left } = this.session;
    this.stage.layers.touch(masks, masks.map((m) => left.get(m)));
    left.clear();
    if (this.selected?.superseded) this.selected = null;
    if (this.hovered?.superseded) this.hovered = null;
    this.changed();
  }
  /** What the panel says has changed. */
  changed() {
    this.stage.refresh();
    this.frames.ask("panel", () => this.refresh());
  }
  refresh() {
    const { root, session } = this;
    this.frame.refresh();
    this.details.refresh();
    this.layersPanel.refresh();
    this.list.refresh();
    root.dataset.mode = session.view.mode;
    root.dataset.tool = this.tool.name;
    root.dataset.selected = this.selected?.id ?? "";
    root.dataset.draft = this.draft?.mode ?? "";
    root.dataset.token = session.view.token ?? "";
    root.dataset.image = session.view.image?.name ?? "";
  }
  zoomed(scale) {
    this.frame.zoomed(scale);
  }
  /** Masks under a point that can be seen, smallest first. */
  masksAt(x, y) {
    const { shown: shown2, visible } = this.stage.layers;
    return visible ? this.session.index.at(x, y).filter((m) => shown2.has(groupOf(m))) : [];
  }
  /** @param {object|null} mask */
  select(mask, { reveal = true } = {}) {
    if (this.draft) return;
    this.selected = mask;
    if (mask) {
      const { layers } = this.stage;
      const group = groupOf(mask);
      if (!layers.shown.has(group)) this.actions.toggleGroup(group);
      if (reveal) this.stage.reveal(mask.box);
      this.frames.ask("reveal", () => this.list.reveal(mask));
    }
    this.root.dataset.selected = mask?.id ?? "";
    this.changed();
  }
  use(name) {
    this.tool.leave?.();
    this.tool = this.tools[name];
    this.stage.element.style.cursor = this.tool.cursor;
    this.hovered = null;
    this.stage.hint.hidden = true;
    this.dropping = null;
    this.changed();
  }
  canDraw() {
    if (this.session.audit) this.say("In an audit masks are judged; drawing is for the review.");
    return Boolean(this.session.view.image) && !this.session.audit;
  }
  setBrush(size) {
    this.brush_px = Math.min(BRUSH.largest, Math.max(BRUSH.smallest, size));
    this.changed();
  }
  resizeBrush(factor) {
    this.setBrush(this.brush_px * factor);
  }
  setSpace(down) {
    this.stage.space = down;
    this.stage.element.classList.toggle("wb-space", down);
  }
  pointerAt(e) {
    const hovered = this.tool.name === "select" && !this.draft ? this.masksAt(e.x, e.y)[0] ?? null : null;
    if (hovered !== this.hovered) {
      this.hovered = hovered;
      this.stage.refresh();
      this.#tell(hovered);
    }
    const { hint } = this.stage;
    if (!hint.hidden) {
      const right = e.sx > this.stage.camera.width - 260;
      const low2 = e.sy > this.stage.camera.height - 140;
      hint.style.transform = `translate(${e.sx + (right ? -14 : 14)}px, ${e.sy + (low2 ? -14 : 14)}px) translate(${right ? -100 : 0}%, ${low2 ? -100 : 0}%)`;
    }
  }
  pointerLeft() {
    this.hovered = null;
    this.stage.hint.hidden = true;
    this.tool.leave?.();
    this.stage.refresh();
  }
  #tell(mask) {
    const { hint } = this.stage;
    hint.hidden = !mask || mask === this.selected;
    if (hint.hidden) return;
    const { session } = this;
    const scores = session.audit ? [] : SCORES.filter(([name]) => mask[name] !== null).map(([name, words2]) => `${words2} ${score(mask[name])}`);
    const lines = [`Mask ${mask.number}, ${stateOf(mask, session)}${mask.label ? `, ${mask.label}` : ""}`, scores.join(" · ")];
    const reasons = reasonsOf(mask, session).map((text) => h("li", { text }));
    hint.replaceChildren(...lines.filter(Boolean).map((text, i) => h("div", { text, class: i ? "" : "wb-tip-head" })), reasons.length ? h("ul", {}, ...reasons) : "");
  }
  /** @param {string} text @param {""|"error"|"done"} kind */
  say(text, kind = "") {
    this.frame.say(text, kind);
  }
  focus() {
    if (!this.root.contains(this.root.getRootNode().activeElement) || this.root.getRootNode().activeElement !== this.root) this.root.focus({ preventScroll: true });
  }
  focusIfFree() {
    if (!this.dialogs.open) this.focus();
  }
  fullscreen() {
    const asked = document.fullscreenElement ? document.exitFullscreen() : this.root.requestFullscreen?.();
    asked?.catch?.(() => this.say("The browser does not allow full screen here."));
  }
  paintOver(context, zoom) {
    paintOver(this, context, zoom);
  }
};
function storage() {
  try {
    return window.localStorage;
  } catch {
    return null;
  }
}

// src/main.js
function render({ model, el }) {
  const app = new App(model, el, annotator_default);
  return () => app.stop();
}
var main_default = { render };
export {
  main_default as default
};
//# sourceURL=workbench-annotator.js

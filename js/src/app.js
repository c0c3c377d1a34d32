// The annotator as a whole: holds what is open, chosen and under way, and tells the parts when to draw themselves.

import { Actions } from "./actions.js";
import { Clock } from "./clock.js";
import { Dialogs } from "./dialogs.js";
import { h, score } from "./dom.js";
import { Drafting } from "./drafting.js";
import { Frames } from "./frames.js";
import { Keeping } from "./keeping.js";
import { listen } from "./keys.js";
import { Loader } from "./loader.js";
import { paintOver } from "./overlay.js";
import { Details, reasonsOf, SCORES, stateOf } from "./panel/details.js";
import { Frame } from "./panel/frame.js";
import { LayersPanel } from "./panel/layers.js";
import { MaskList } from "./panel/list.js";
import { Post } from "./protocol.js";
import { groupOf, Session } from "./session.js";
import { Stage } from "./stage.js";
import { BrushTool } from "./tools/brush.js";
import { BoxTool, ClickTool } from "./tools/click.js";
import { PolygonTool } from "./tools/polygon.js";
import { SelectTool } from "./tools/select.js";
import { readLive } from "./wire.js";

const RENEW_MS = 60_000;
const BRUSH = { smallest: 2, largest: 400, first: 24 };

export class App {
  selected = null;
  hovered = null;
  /** @type {import("./draft.js").Draft|null} */
  draft = null;
  dropping = null; // the draft that a second Esc drops
  label = ""; // given to new masks
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
    root.addEventListener("focusin", () => (this.focused = true), { signal });
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
      fault: () => this.#fault(),
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
      if (message?.kind === "prompt") this.drafting.asked = null; // no answer will come
      if (aim) this.touched(this.session.turn(aim, message.kind === "redo"));
      this.session.gestures.settle(aim);
      this.touched(this.session.revert(gesture));
      return;
    }
    if (message && message.image !== this.session.view.image?.name) {
      if (reply.progress) this.session.view.progress = reply.progress; // of an image that is no longer open
      return this.changed();
    }
    const changed = this.session.settle(reply, this.#underWay());
    this.touched([...changed]);
    if (reply.dialog) this.dialogs.fromKernel({ ...reply.dialog, gesture: reply.dialog.gesture ?? gesture }, gesture);
    else if (reply.message) this.say(reply.message);
  }

  /** Masks of gestures that the kernel has not answered yet: what it says about them is older than what is shown. */
  #underWay() {
    const masks = [...this.post.asked.values()].flatMap((m) => [m.mask, ...(m.masks ?? [])]);
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
    const { shown, visible } = this.stage.layers;
    return visible ? this.session.index.at(x, y).filter((m) => shown.has(groupOf(m))) : [];
  }

  /** @param {object|null} mask */
  select(mask, { reveal = true } = {}) {
    if (this.draft) return;
    this.selected = mask;
    if (mask) {
      const { layers } = this.stage;
      const group = groupOf(mask);
      if (!layers.shown.has(group)) this.actions.toggleGroup(group); // what is chosen can be seen
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
    const hovered = this.tool.name === "select" && !this.draft ? (this.masksAt(e.x, e.y)[0] ?? null) : null;
    if (hovered !== this.hovered) {
      this.hovered = hovered;
      this.stage.refresh();
      this.#tell(hovered);
    }
    const { hint } = this.stage;
    if (!hint.hidden) {
      const right = e.sx > this.stage.camera.width - 260;
      const low = e.sy > this.stage.camera.height - 140;
      hint.style.transform = `translate(${e.sx + (right ? -14 : 14)}px, ${e.sy + (low ? -14 : 14)}px) translate(${right ? -100 : 0}%, ${low ? -100 : 0}%)`;
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
    hint.hidden = !mask || mask === this.selected; // what is chosen is told in the panel
    if (hint.hidden) return;
    const { session } = this;
    const scores = session.audit ? [] : SCORES.filter(([name]) => mask[name] !== null).map(([name, words]) => `${words} ${score(mask[name])}`);
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
}

/** The browser's storage; none where it is forbidden. */
function storage() {
  try {
    return window.localStorage;
  } catch {
    return null;
  }
}

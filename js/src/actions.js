// What a person does, as gestures: shown at once, sent to the kernel, taken back when it refuses.

import { uuid } from "./protocol.js";
import { isOpen } from "./session.js";

export class Actions {
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
      app.use("select"); // back to the review it came from
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
    const [shown, ...others] = masks.filter((m) => !m.superseded);
    if (shown && !others.length) app.select(shown);
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
}

const WORDS = {
  verdict: "verdict",
  draw: "drawn mask",
  edit: "edit of a mask",
  label: "label",
  complete: "completing the image",
  skip: "skipping the image",
};

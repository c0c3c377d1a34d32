// The chosen mask in words: its group, scores, reasons, label and what can be done with it.

import { counted, h, score, swatch } from "../dom.js";
import { groupOf } from "../session.js";
import { STYLES } from "../styles.js";

export const SCORES = [
  ["predicted_iou", "Predicted IoU"],
  ["jitter_stability", "Jitter stability"],
  ["stability_score", "Stability"],
];

/** @returns {string[]} reasons in words for people */
export function reasonsOf(mask, session) {
  return mask.reasons.map((r) => session.view.reasons[r] ?? r.replaceAll("_", " "));
}

export class Details {
  constructor(app) {
    this.app = app;
    this.element = h("section", { class: "wb-details", "aria-live": "polite" });
  }

  refresh() {
    const { app } = this;
    const mask = app.draft?.mask ?? app.selected;
    const state = JSON.stringify([app.session.view.token, mask?.id, mask && { ...mask, ends: 0, box: 0 }, this.#drawing(), app.session.counts().flagged]);
    if (state === this.state) return; // what is not rebuilt keeps its focus
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
    const buttons = session.audit ? [] : drawing; // masks are judged there
    if (mask.verdict !== "none") buttons.push(button("No verdict", "U", () => actions.verdict("none")));
    parts.push(h("div", { class: "wb-buttons" }, ...buttons));
    return parts;
  }

  #scores(mask) {
    if (this.app.session.audit) return [];
    return SCORES.filter(([name]) => mask[name] !== null).map(([name, words]) => {
      const bar = h("span", { class: "wb-bar" }, h("span", { style: { width: `${Math.max(0, Math.min(1, mask[name])) * 100}%` } }));
      return h("div", { class: "wb-score" }, h("span", { text: words }), bar, h("span", { class: "wb-value", text: score(mask[name]) }));
    });
  }

  #draft(draft) {
    const { app } = this;
    const titles = { new: "New mask", edit: `Editing mask ${draft.mask?.number}`, replace: `Drawing mask ${draft.mask?.number} anew` };
    const live = app.drafting.live;
    const words = app.drafting.waits
      ? "The model is asked…"
      : live && draft.points.length + Boolean(draft.box)
        ? `The model's own estimate: IoU ${score(live.predicted_iou ?? null)}.`
        : "Every tool works on the same mask: clicks, box, polygon, brush, eraser.";
    const button = (text, key, run, main) =>
      h("button", { type: "button", class: `wb-button wb-small${main ? " wb-main" : ""}`, onclick: run }, h("span", { text }), h("kbd", { text: key }));
    const buttons = [button("Save", "↵", () => app.drafting.save(), true), button("Drop", "Esc", () => app.drafting.drop())];
    if (draft.mode === "replace") buttons.push(button("As a new mask", "", () => { draft.mode = "new"; draft.mask = null; app.changed(); }));
    const label = draft.label ? `Label: ${draft.label}` : app.session.view.labels.length ? "No label; press its key to give one." : "";
    return [
      h("div", { class: "wb-section-head" }, h("h4", { text: titles[draft.mode] })),
      h("p", { class: "wb-soft", text: words }),
      label ? h("p", { class: "wb-soft", text: label }) : h("span"),
      h("div", { class: "wb-buttons" }, ...buttons.map((b) => b)),
    ];
  }
}

/** @returns {string} */
export function stateOf(mask, session) {
  if (mask.verdict === "accept") return mask.bulk ? "accepted with all" : "accepted";
  if (mask.verdict === "reject") return "rejected";
  if (session.audit) return "to judge";
  if (groupOf(mask) === "drawn") return mask.source === "edited" ? "edited" : "drawn";
  return { auto_accepted: "accepted by itself", flagged: "to review", discarded: "discarded" }[mask.outcome] ?? "";
}

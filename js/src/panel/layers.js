// What is shown on the image: groups with their counts, fills, opacity; and the labels with their keys.

import { h, setText, swatch } from "../dom.js";
import { isFree } from "../keys.js";
import { GROUPS } from "../session.js";
import { STYLES } from "../styles.js";

export class LayersPanel {
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
      this.labels,
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
}

// The list of masks: filtered by group or reason, sorted, and only the rows in sight are in the page.

import { counted, h, score, setAttribute, setText, swatch } from "../dom.js";
import { GROUPS, groupOf } from "../session.js";
import { STYLES } from "../styles.js";
import { reasonsOf, stateOf } from "./details.js";

const ROW_PX = 28;
const SPARE = 6; // rows above and below what is in sight

const SORTS = {
  order: ["Image order", () => 0],
  "predicted_iou+": ["IoU, lowest first", (a, b) => low(a.predicted_iou) - low(b.predicted_iou)],
  "predicted_iou-": ["IoU, highest first", (a, b) => low(b.predicted_iou) - low(a.predicted_iou)],
  "jitter_stability+": ["Jitter, lowest first", (a, b) => low(a.jitter_stability) - low(b.jitter_stability)],
  "stability_score+": ["Stability, lowest first", (a, b) => low(a.stability_score) - low(b.stability_score)],
  "area-": ["Largest first", (a, b) => b.area_px - a.area_px],
  "area+": ["Smallest first", (a, b) => a.area_px - b.area_px],
};
const low = (value) => value ?? 2; // what has no score comes last

export class MaskList {
  /** masks in the list's order, filtered or not: what next and previous follow @type {object[]} */
  order = [];
  /** how many masks have a reason @type {Map<string, number>} */
  often = new Map();
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
      this.scroller,
    );
    this.pool = [];
    const { signal } = app;
    this.scroller.addEventListener("scroll", () => app.frames.ask("rows", () => this.#paint()), { signal, passive: true });
    // what is said of the chosen mask stands above the list and changes its height
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
    const reasons = new Map();
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
    const telling = [...mask.reasons].sort((a, b) => (this.often.get(a) ?? 0) - (this.often.get(b) ?? 0)); // rare ones first: a row is short
    const reasons = reasonsOf({ reasons: telling }, session);
    const words = [mask.label, group === "flagged" && reasons.length ? "" : stateOf(mask, session), ...reasons].filter(Boolean).join(" · ");
    setText(row.text, words);
    setAttribute(row.element, "title", words);
    setText(row.value, session.audit || mask.predicted_iou === null ? "" : score(mask.predicted_iou));
  }

  #clicked(event) {
    const id = event.target.closest(".wb-row")?.dataset.id;
    const mask = this.app.session.byId.get(id);
    if (mask) this.app.select(mask);
    this.app.focus();
  }
}

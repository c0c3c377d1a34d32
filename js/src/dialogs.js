// Questions, answered by keys: skip with a reason, what the kernel asks (R5, R6), masks left without a verdict, the help.

import { h } from "./dom.js";
import { KEYS } from "./keys.js";

/** @typedef {{key: string, text: string, run: () => void, main?: boolean}} Choice */

const SKIP_REASONS = ["The image cannot be used", "It is too blurred or too dark", "Someone with more experience should see it"];

export class Dialogs {
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
    const { title, text, body, choices, region = null, dismiss = () => {}, wide = false } = asked;
    const buttons = choices.map((choice) =>
      h(
        "button",
        { type: "button", class: choice.main ? "wb-button wb-main" : "wb-button", onclick: () => this.#take(choice) },
        h("span", { text: choice.text }),
        h("kbd", { text: shown(choice.key) }),
      ),
    );
    const attributes = { role: "dialog", "aria-modal": "true", "aria-label": title, tabindex: "-1" };
    const element = h(
      "div",
      { class: wide ? "wb-dialog wb-wide" : "wb-dialog", ...attributes },
      h("div", { class: "wb-dialog-title", text: title }),
      text ? h("p", { text }) : null,
      body,
      h("div", { class: "wb-choices" }, ...buttons),
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
      const choice = choices.find((c) => c.key === "Escape");
      if (choice) return this.#take(choice);
      this.close();
      return dismiss();
    }
    if (event.target instanceof HTMLButtonElement && [" ", "Enter"].includes(event.key)) return;
    if (event.repeat || event.ctrlKey || event.metaKey || (typed && event.key !== "Enter")) return;
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
      run: () => actions.answer(dialog, c.choice, gesture),
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
    choices.push({ key: "Escape", text: "Do not skip", run: () => {} });
    this.ask({ kind: "skip", title: "Skip this image: why?", body: field, choices });
  }

  /** Completing while masks have no verdict. */
  undecided(count, go) {
    const { actions, session } = this.app;
    const all = { key: "A", text: "Accept them all, then complete", run: () => { actions.acceptAll(); go(); } };
    const text =
      count === 1
        ? `1 mask is still to review. Without a verdict it ${session.audit ? "stays open, for another auditor" : "is not kept"}.`
        : `${count.toLocaleString("en")} masks are still to review. Without a verdict they ${session.audit ? "stay open, for another auditor" : "are not kept"}.`;
    const choices = [
      { key: "N", text: "Go to the next one", main: true, run: () => actions.step(1) },
      ...(session.audit ? [] : [all]),
      { key: "W", text: "Complete without them", run: go }, // not Enter: pressed twice it would lose them
      { key: "Escape", text: "Go on here", run: () => {} },
    ];
    this.ask({ kind: "undecided", title: "Masks are left", text, choices });
  }

  /** Leaving with an unfinished drawing. */
  unfinished(go) {
    const { drafting } = this.app;
    const choices = [
      { key: "Enter", text: "Save it and go on", main: true, run: () => drafting.save() && go() },
      { key: "D", text: "Drop it and go on", run: () => { drafting.drop(); go(); } },
      { key: "Escape", text: "Stay here", run: () => {} },
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
    const close = () => {};
    this.ask({ kind: "help", title: "Keys", body, wide: true, choices: [{ key: "?", text: "Close", run: close }] });
  }
}

const shown = (key) => ({ Enter: "↵", Escape: "Esc" })[key] ?? key.toUpperCase();

function grouped(keys) {
  const parts = new Map();
  for (const key of keys) parts.set(key.part, [...(parts.get(key.part) ?? []), key]);
  return parts;
}

/** @returns {number[]|null} the box around masks */
function around(masks) {
  if (!masks.length) return null;
  const side = (i, pick) => pick(...masks.map((m) => m.box[i]));
  return [side(0, Math.min), side(1, Math.min), side(2, Math.max), side(3, Math.max)];
}

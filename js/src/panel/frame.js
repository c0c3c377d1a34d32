// Around the image: head with progress, tools, actions, banner and messages.

import { counted, h, icon, setAttribute, setText } from "../dom.js";

const TOOLS = [
  ["select", "Choose and move", "V"],
  ["click", "Clicks: inside, outside", "C"],
  ["box", "Box", "O"],
  ["polygon", "Polygon", "G"],
  ["brush", "Brush", "B"],
  ["eraser", "Eraser", "E"],
];

const KINDS = { complete: "Check for completeness", second: "Second annotation, on your own" };

export class Frame {
  constructor(app) {
    this.app = app;
    const { actions } = app;
    const small = (name, words, run) => h("button", { type: "button", class: "wb-icon", title: words, "aria-label": words, onclick: () => { run(); app.focus(); } }, icon(name));
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
      small("help", "Keys (?)", () => app.dialogs.help()),
    );
    this.banner = h("div", { class: "wb-banner", role: "alert", hidden: true });
    this.#tools();
    this.#foot();
  }

  #tools() {
    const { app } = this;
    this.tools = h("div", { class: "wb-tools", role: "toolbar", "aria-label": "Tools", "aria-orientation": "vertical" });
    this.buttons = {};
    for (const [name, words, key] of TOOLS) {
      const run = () => { app.use(name); app.focus(); };
      const button = h("button", { type: "button", class: "wb-icon", title: `${words} (${key})`, "aria-label": words, "data-tool": name, onclick: run }, icon(name), h("kbd", { text: key }));
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
    const action = (text, key, run, kind = "") =>
      h("button", { type: "button", class: `wb-button ${kind}`, "data-action": text.toLowerCase(), onclick: () => { run(); app.focusIfFree(); } }, h("span", { text }), h("kbd", { text: key }));
    this.message = h("span", { class: "wb-message", role: "status", "aria-live": "polite" });
    this.verdicts = [
      action("Accept", "A", () => actions.verdict("accept"), "wb-accept"),
      action("Reject", "R", () => actions.verdict("reject"), "wb-reject"),
      action("Next", "N", () => actions.step(1)),
      action("Accept all", "⇧A", () => actions.acceptAll()),
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
    this.meter.style.width = `${images ? (100 * images_done) / images : 0}%`;
    this.bar.setAttribute("aria-valuenow", String(images_done));
    this.bar.setAttribute("aria-valuemax", String(images));
    for (const [name, button] of Object.entries(this.buttons)) setAttribute(button, "aria-pressed", String(app.tool.name === name));
    this.sizes.hidden = !["brush", "eraser"].includes(app.tool.name);
    this.size.value = String(Math.log(app.brush_px));
    setText(this.sizeText, `${Math.round(app.brush_px)} px`);
    this.undo.disabled = !app.draft && !gestures.last;
    this.redo.disabled = !app.draft && !gestures.next && !app.drafting.undone;
    setText(this.completing[1].firstChild, app.draft ? "Save mask" : "Complete");
    this.verdicts[3].hidden = app.session.audit; // each mask is judged on its own there
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
}

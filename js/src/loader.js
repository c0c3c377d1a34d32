// Opens what the kernel sends: waits until view, masks and picture belong together, decodes, and shows the image.

import { h } from "./dom.js";
import { asView, readMasks } from "./wire.js";

const PATIENCE_MS = 5_000;
const LOOK_MS = 15_000; // so often a page asks where images are that others hold

export class Loader {
  constructor(app) {
    this.app = app;
    this.turn = 0;
    this.bytes = null; // of the picture that is decoded
    this.asked = false; // whether the first image was looked at for gestures of earlier pages
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
    const fits = wire.ends.length === (view.masks?.id ?? []).length && (!wire.ends.length || (wire.width === width && wire.height === height));
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
    app.clock.idle_ms = (view.settings?.idle_s ?? 60) * 1000;
    app.post.open({ token: view.token, store_key: view.store_key, image: view.image });
    app.empty.hidden = true;
    const meant = same ? null : (view.choose ?? []).find((id) => app.session.byId.has(id)); // e.g. found wrong by an audit
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
    const words = view.message || "Nothing left to review.";
    const advice = held ? "An image is free again once it is left. This page keeps looking, and says so here." : "Images that are added later are found by looking again.";
    app.empty.replaceChildren(h("div", { class: "wb-empty-title", text: words }), h("p", { text: free ? "" : advice }), again);
    if (held) this.looks = setInterval(() => document.hidden || app.post.send("refresh"), LOOK_MS);
    app.empty.hidden = false;
    app.say("");
    app.changed();
    app.root.dataset.ready = view.token ?? "";
  }

  /** Some of it is still on its way. */
  #wait() {
    const words = "The image has not arrived whole: its masks or its picture are missing. Open it again, or run the cell again.";
    this.waits = setTimeout(() => this.app.trouble("page", words), PATIENCE_MS);
  }

  #failed(turn, error) {
    if (turn !== this.turn) return;
    const decoding = error.name === "InvalidStateError" || error.name === "EncodingError";
    const words = decoding ? "the browser cannot read the picture." : error.message;
    this.app.trouble("page", `The image cannot be shown: ${words}`);
  }
}

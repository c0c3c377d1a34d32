// Where the image is: canvases at the resolution of the stage, the camera, and what pointer and wheel do.

import { Camera } from "./camera.js";
import { h } from "./dom.js";
import { Layers } from "./layers.js";

const CLICK_PX = 4; // a pointer that moved less has clicked

export class Stage {
  /** @param {object} app frames, tool, signal */
  constructor(app) {
    this.app = app;
    this.camera = new Camera();
    this.picture = null; // ImageBitmap
    this.ratio = 1;
    this.space = false;
    this.pointer = null; // where it was last, while it is over the stage
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
    createImageBitmap(picture, size).then(keep, () => {}); // closed meanwhile: another image was opened
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
    this.#paintImage(true); // setting the size has emptied it
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
    if (this.pointer) this.app.pointerAt(this.#under(this.pointer)); // another mask may lie under it now
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
    context.drawImage((small && this.half) || this.picture, 0, 0, width, height);
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
      event.preventDefault(); // the right button takes away: negative click, eraser
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
    if (event.button === 1) event.preventDefault(); // no autoscroll
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
    const pixels = event.deltaY * (event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? 400 : 1);
    if (event.shiftKey) {
      const across = event.deltaX || pixels;
      this.camera.pan(-across, 0);
      return this.moved();
    }
    const { sx, sy } = this.#event(event);
    const step = Math.max(-240, Math.min(240, pixels)) * (event.ctrlKey ? 3 : 1);
    this.zoom(Math.exp(-step / 400), sx, sy);
  }
}

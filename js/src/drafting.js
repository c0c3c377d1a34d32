// Drawing from the first stroke to the saved mask: begins drafts, asks the model, saves, drops, undoes strokes.

import { Draft } from "./draft.js";
import { outlines } from "./geometry.js";
import { pathOfRings } from "./paths.js";
import { DRAFT, strokeAs } from "./styles.js";
import { paintBox, paintPoints } from "./tools/click.js";

const ANSWER_MS = 15_000; // so long a prompt may take before another is sent
const LINE = { color: DRAFT.color, width: 2, dash: [] };

/** Whether a click lies inside the image, and a box meets it. */
function meets({ point, box }, { width, height }) {
  if (point) return point[0] >= 0 && point[1] >= 0 && point[0] <= width && point[1] <= height;
  return box[0] < width && box[1] < height && box[2] > 0 && box[3] > 0;
}

export class Drafting {
  constructor(app) {
    this.app = app;
    this.prompts = 0;
    this.asked = null; // prompt under way
    this.again = false; // the prompts changed meanwhile
    this.live = null; // header of the last answer
    this.gone = null; // the new drawing whose every stroke was undone
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
    app.say(""); // what was said before
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
    if (!draft || (!draft.points.length && !draft.box)) return;
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
    app.say(""); // what was said about the drawing; what closing it says stays
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
    const { w, h, bits } = draft.region;
    if (this.image.width !== w || this.image.height !== h) [this.image.width, this.image.height] = [w, h];
    const data = new ImageData(w, h);
    const colors = new Uint32Array(data.data.buffer);
    for (let i = 0; i < bits.length; i++) if (bits[i] & 1) colors[i] = 0x7342e4f0; // #F0E442 at 45 %, as bytes abgr
    this.image.getContext("2d").putImageData(data, 0, 0);
    this.painted = draft;
    this.at = draft.changed;
  }
}

// An unfinished drawing is kept in the browser's storage: after a reload it is there again, on its image.

import { Draft } from "./draft.js";
import { endsOfRuns, boxOf, pixels, runsOfString } from "./rle.js";

const PREFIX = "workbench-draft:"; // one drawing for each store_key and image: windows on two images keep one each

const MODES = ["new", "edit", "replace"];
const TOOLS = ["click", "box", "polygon", "brush"];

export class Keeping {
  /** @param {object} app @param {Storage|null} storage */
  constructor(app, storage) {
    Object.assign(this, { app, storage });
  }

  get #key() {
    const { store_key, image } = this.app.session.view;
    return store_key && image ? `${PREFIX}${store_key}:${image.name}` : "";
  }

  /** Keep the drawing as it is now, or forget the one that was kept. */
  keep() {
    const { draft, session } = this.app;
    if (!this.storage || !this.#key || session.audit) return;
    try {
      if (!draft?.begun || draft.empty) this.storage.removeItem(this.#key);
      else {
        const { rle, label, tool } = draft.result();
        const { mode, mask, points, box, polygons } = draft;
        const kept = { image: session.view.image.name, mode, mask: mask?.id ?? null, rle, label, tool, points, box, polygons };
        this.storage.setItem(this.#key, JSON.stringify(kept));
      }
    } catch {
      // the storage is full or closed: the drawing is still in memory
    }
  }

  /** @returns {Draft|null} the drawing kept for the image that was opened */
  found() {
    const { session } = this.app;
    if (!this.storage || !this.#key || session.audit) return null;
    try {
      const kept = JSON.parse(this.storage.getItem(this.#key) ?? "null");
      if (kept?.image !== session.view.image?.name) return null;
      return this.#draft(kept, session);
    } catch {
      return null; // what cannot be read is no drawing
    }
  }

  #draft({ mode, mask: id, rle, label, tool, points, box, polygons }, session) {
    const ends = endsOfRuns(runsOfString(rle));
    const { width, height } = session;
    const mask = id ? session.byId.get(id) : null;
    if (ends.at(-1) !== width * height || (mode !== "new" && !mask)) return null;
    if (!MODES.includes(mode) || !TOOLS.includes(tool)) return null;
    const draft = new Draft(width, height, { mode, mask, label: String(label ?? "") });
    const end = draft.open(tool);
    if (mode === "edit") draft.put(pixels(mask.ends, height, mask.box), false);
    draft.put(pixels(ends, height, boxOf(ends, height)), true);
    Object.assign(draft, { points: points ?? [], box: box ?? null, polygons: polygons ?? [] });
    end();
    return draft;
  }
}

// Select: hover shows, a click chooses the mask, a second one the mask underneath, dragging pans.

import { choose } from "../index.js";

const SAME_PX = 5;

export class SelectTool {
  name = "select";
  pans = true;
  cursor = "default";
  last = null;

  constructor(app) {
    this.app = app;
  }

  up(e) {
    if (!e.clicked || e.button !== 0) return;
    const { app, last } = this;
    const under = app.masksAt(e.x, e.y);
    const again = last !== null && Math.hypot(e.sx - last.sx, e.sy - last.sy) < SAME_PX;
    this.last = { sx: e.sx, sy: e.sy };
    app.select(choose(under, app.selected, again), { reveal: false });
  }
}

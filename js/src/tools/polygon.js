// Polygon: a corner a click; closed by a click on the first corner, a double click or Enter. Alt takes the area away.

import { crossesItself } from "../geometry.js";

const NEAR_PX = 9;

export class PolygonTool {
  name = "polygon";
  cursor = "crosshair";
  at = null;

  constructor(app) {
    this.app = app;
  }

  up(e) {
    if (e.button !== 0 && e.button !== 2) return;
    const draft = this.app.drafting.begin();
    if (!draft) return;
    if (draft.corners.length >= 3 && this.#near(draft.corners[0], e)) return this.close(e.erase);
    this.erase = e.erase;
    draft.addCorner([Math.round(e.x * 100) / 100, Math.round(e.y * 100) / 100]);
    this.app.drafting.changed();
  }

  /** The second click of the two has set its corner already. */
  double() {
    const corners = this.app.draft?.corners ?? [];
    if (corners.length < 3) return;
    const [a, b] = corners.slice(-2);
    const { scale } = this.app.stage.camera;
    if (Math.hypot(a[0] - b[0], a[1] - b[1]) * scale < NEAR_PX) this.app.draft.undo();
    this.close(this.erase);
  }

  /** @returns {boolean} */
  close(erase = false) {
    const { draft } = this.app;
    if (!draft?.corners.length) return false;
    const crosses = crossesItself(draft.corners);
    const closed = draft.closePolygon(!erase);
    if (closed && crosses) this.app.say("The polygon crosses itself: where it covers its inside twice, that is left out.");
    if (!closed) this.app.say("That polygon holds no pixel: it needs three corners that are not on one line.");
    if (!closed) draft.dropCorners();
    this.app.drafting.changed();
    return closed;
  }

  move(e) {
    this.at = [e.x, e.y];
    if (this.app.draft?.corners.length) this.app.stage.refresh();
  }

  paint(context, zoom) {
    const corners = this.app.draft?.corners ?? [];
    if (!corners.length) return;
    const path = new Path2D();
    corners.forEach(([x, y], i) => (i ? path.lineTo(x, y) : path.moveTo(x, y)));
    if (this.at) path.lineTo(...this.at);
    context.setLineDash([]);
    context.fillStyle = "rgba(240, 228, 66, 0.2)";
    context.fill(path, "evenodd");
    for (const [width, color] of [[3.5, "rgba(0, 0, 0, 0.6)"], [1.5, "#F0E442"]]) {
      context.lineWidth = width / zoom;
      context.strokeStyle = color;
      context.stroke(path);
    }
    corners.forEach(([x, y], i) => {
      context.beginPath();
      context.arc(x, y, (i ? 3.5 : 5.5) / zoom, 0, 2 * Math.PI);
      context.fillStyle = i ? "#fff" : "#F0E442";
      context.fill();
      context.lineWidth = 1.5 / zoom;
      context.strokeStyle = "#000";
      context.stroke();
    });
  }

  #near([x, y], e) {
    const [sx, sy] = this.app.stage.camera.toStage(x, y);
    return Math.hypot(sx - e.sx, sy - e.sy) < NEAR_PX;
  }
}

// Clicks for the model: left is inside, right (or Alt) is outside; a box by dragging. The model's mask is shown live.

import { NEGATIVE, POSITIVE } from "../styles.js";

export class ClickTool {
  name = "click";
  cursor = "crosshair";
  from = null;

  constructor(app) {
    this.app = app;
  }

  down(e) {
    if (e.button === 0 || e.button === 2) this.from = e;
  }

  move(e, pressed) {
    if (pressed && this.from && this.from.button === 0) {
      this.to = e;
      this.app.stage.refresh();
    }
  }

  up(e) {
    const { app, from } = this;
    this.from = this.to = null;
    if (!from) return;
    if (e.clicked) app.drafting.prompt({ point: [round(e.x), round(e.y), e.erase ? 0 : 1] }, "click");
    else if (from.button === 0) app.drafting.prompt({ box: boxOf(from, e) }, "box");
    app.stage.refresh();
  }

  cancel() {
    this.from = this.to = null;
    this.app.stage.refresh();
  }

  paint(context, zoom) {
    if (this.from && this.to) paintBox(context, boxOf(this.from, this.to), zoom);
  }
}

/** A box prompt, then clicks where it was not enough. */
export class BoxTool extends ClickTool {
  name = "box";

  up(e) {
    if (e.clicked && !this.app.draft?.box) {
      this.cancel();
      this.app.say("Drag a box around the object.");
      return;
    }
    super.up(e);
  }
}

const round = (value) => Math.round(value * 100) / 100;

function boxOf(a, b) {
  return [Math.min(a.x, b.x), Math.min(a.y, b.y), Math.max(a.x, b.x), Math.max(a.y, b.y)].map(round);
}

export function paintBox(context, [x0, y0, x1, y1], zoom) {
  context.setLineDash([]);
  context.lineWidth = 3.5 / zoom;
  context.strokeStyle = "rgba(0, 0, 0, 0.6)";
  context.strokeRect(x0, y0, x1 - x0, y1 - y0);
  context.lineWidth = 1.5 / zoom;
  context.strokeStyle = "#fff";
  context.strokeRect(x0, y0, x1 - x0, y1 - y0);
}

/** Clicks of a draft: a plus inside, a minus outside, so that colour is not all that tells them apart. */
export function paintPoints(context, points, zoom) {
  for (const [x, y, inside] of points) {
    context.beginPath();
    context.arc(x, y, 7 / zoom, 0, 2 * Math.PI);
    context.fillStyle = inside ? POSITIVE : NEGATIVE;
    context.fill();
    context.lineWidth = 2 / zoom;
    context.strokeStyle = "#fff";
    context.stroke();
    const arm = 3.5 / zoom;
    context.beginPath();
    context.moveTo(x - arm, y);
    context.lineTo(x + arm, y);
    if (inside) {
      context.moveTo(x, y - arm);
      context.lineTo(x, y + arm);
    }
    context.stroke();
  }
}

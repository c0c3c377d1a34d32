// Brush and eraser: one stroke from press to release; the right button (or Alt) turns the brush into the eraser.

export class BrushTool {
  cursor = "none";
  stroke = null;
  at = null;

  /** @param {object} app @param {"brush"|"eraser"} name */
  constructor(app, name) {
    this.app = app;
    this.name = name;
  }

  get radius() {
    return this.app.brush_px / 2;
  }

  down(e) {
    if (e.button !== 0 && e.button !== 2) return;
    const draft = this.app.drafting.begin();
    if (!draft) return;
    const adds = this.name === "brush" ? !e.erase : e.erase;
    this.stroke = { end: draft.open("brush"), adds, last: [e.x, e.y] };
    draft.brush([e.x, e.y], [e.x, e.y], this.radius, adds);
    this.app.drafting.changed();
  }

  move(e) {
    this.at = [e.x, e.y];
    const { stroke, app } = this;
    if (stroke) {
      app.draft.brush(stroke.last, this.at, this.radius, stroke.adds);
      stroke.last = this.at;
      app.drafting.changed(false);
    }
    app.stage.refresh();
  }

  up() {
    this.stroke?.end();
    this.stroke = null;
    this.app.drafting.changed();
  }

  cancel() {
    this.up();
  }

  leave() {
    this.at = null;
  }

  paint(context, zoom) {
    if (!this.at) return;
    context.setLineDash([]);
    context.beginPath();
    context.arc(this.at[0], this.at[1], this.radius, 0, 2 * Math.PI);
    context.lineWidth = 3 / zoom;
    context.strokeStyle = "rgba(0, 0, 0, 0.6)";
    context.stroke();
    context.lineWidth = 1.5 / zoom;
    context.strokeStyle = this.name === "brush" ? "#fff" : "#D55E00";
    if (this.name === "eraser") context.setLineDash([4 / zoom, 3 / zoom]);
    context.stroke();
    context.setLineDash([]);
  }
}

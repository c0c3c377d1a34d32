// Above the masks: the one under the pointer, the chosen one, the region a dialog asks about, the drawing under way.

import { endsOfRuns, boxOf, runsOfString } from "./rle.js";
import { pathOf } from "./paths.js";
import { groupOf } from "./session.js";
import { STYLES, strokeAs } from "./styles.js";

const ASKED = { color: "#F0E442", width: 3, dash: [10, 5] };

/** @param {object} app @param {CanvasRenderingContext2D} context in image px @param {number} zoom */
export function paintOver(app, context, zoom) {
  const { session, hovered, selected, draft, dialogs, tool } = app;
  const region = dialogs.open?.region;
  if (region) paintRegion(context, region, session, zoom);
  if (selected && !draft && !selected.superseded) paintSelected(context, selected, session.height, zoom);
  if (hovered && hovered !== selected && !draft && !hovered.superseded) {
    const path = pathOf(hovered, session.height, zoom);
    const style = STYLES[groupOf(hovered)];
    context.fillStyle = `${style.color}40`;
    context.fill(path);
    strokeAs(context, { ...style, core: undefined }, path, zoom, { wider: 1.5 });
  }
  if (draft?.mode === "replace") strokeAs(context, { ...STYLES.rejected, core: undefined }, pathOf(draft.mask, session.height, zoom), zoom);
  app.drafting.paint(context, zoom);
  tool.paint?.(context, zoom);
}

/** The chosen mask: a white band outside the colour, corners around it when it is small. */
function paintSelected(context, mask, height, zoom) {
  const path = pathOf(mask, height, zoom);
  const style = STYLES[groupOf(mask)];
  context.fillStyle = `${style.color}30`;
  context.fill(path);
  context.lineJoin = "round";
  context.setLineDash([]);
  for (const [width, color] of [[7, "rgba(0, 0, 0, 0.55)"], [5, "#fff"]]) {
    context.lineWidth = width / zoom;
    context.strokeStyle = color;
    context.stroke(path);
  }
  strokeAs(context, { ...style, width: 2.5, core: undefined }, path, zoom, { cased: false });
  paintCorners(context, mask.box, zoom);
}

function paintCorners(context, [x0, y0, x1, y1], zoom) {
  const gap = 8 / zoom;
  const arm = 8 / zoom;
  context.beginPath();
  for (const [x, y, dx, dy] of [[x0 - gap, y0 - gap, 1, 1], [x1 + gap, y0 - gap, -1, 1], [x1 + gap, y1 + gap, -1, -1], [x0 - gap, y1 + gap, 1, -1]]) {
    context.moveTo(x + dx * arm, y);
    context.lineTo(x, y);
    context.lineTo(x, y + dy * arm);
  }
  for (const [width, color] of [[4, "rgba(0, 0, 0, 0.6)"], [2, "#fff"]]) {
    context.lineWidth = width / zoom;
    context.strokeStyle = color;
    context.stroke();
  }
}

/** What a dialog is about; all else is dimmed. */
function paintRegion(context, region, session, zoom) {
  const masks = region.masks?.length ? region.masks : [(region.mask ??= maskOf(region, session))].filter(Boolean);
  context.save();
  context.beginPath();
  context.rect(0, 0, session.width, session.height);
  context.fillStyle = "rgba(0, 0, 0, 0.4)";
  const dim = new Path2D();
  dim.rect(0, 0, session.width, session.height);
  for (const mask of masks) dim.addPath(pathOf(mask, session.height, zoom));
  context.fill(dim, "evenodd");
  for (const mask of masks) strokeAs(context, ASKED, pathOf(mask, session.height, zoom), zoom);
  context.restore();
}

/** The region as a mask: its run lengths, or its box when there are none. */
function maskOf({ rle, box }, { height }) {
  if (rle) {
    const ends = endsOfRuns(runsOfString(rle));
    return { ends, box: boxOf(ends, height) };
  }
  if (!box) return null;
  const [x0, y0, x1, y1] = box.map(Math.round);
  const runs = [];
  for (let x = x0, at = 0; x < x1; x++) {
    runs.push(x * height + y0 - at, y1 - y0);
    at = x * height + y1;
  }
  return { ends: endsOfRuns(runs), box: [x0, y0, x1, y1] };
}

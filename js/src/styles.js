// How each group of masks looks. Colours of Okabe and Ito (2008), told apart by line style too, not by colour only.

export const STYLES = {
  flagged: { name: "To review", color: "#E69F00", width: 2, dash: [7, 4], fills: true },
  accepted: { name: "Accepted", color: "#56B4E9", width: 1.5, dash: [], fills: true },
  drawn: { name: "Drawn", color: "#CC79A7", width: 3.5, dash: [], fills: true, core: "#fff" },
  rejected: { name: "Rejected", color: "#D55E00", width: 1.5, dash: [9, 3, 2, 3], fills: false },
  discarded: { name: "Discarded", color: "#BBBBBB", width: 1.5, dash: [1.5, 3.5], fills: false },
};

export const DRAFT = { color: "#F0E442", fill: "rgba(240, 228, 66, 0.45)" };
export const POSITIVE = "#009E73";
export const NEGATIVE = "#D55E00";
const FAR = 0.6; // CSS px an image pixel
const CASING = "rgba(0, 0, 0, 0.6)";

/**
 * Stroke a path as its group is drawn: a dark casing that shows on any picture, then the colour.
 * @param {CanvasRenderingContext2D} context whose unit is 1 / zoom CSS px @param {Path2D} path
 */
export function strokeAs(context, style, path, zoom, { wider = 0, cased = true } = {}) {
  const fine = zoom < FAR ? 0.7 : 1; // of afar, lines and dashes must leave room for small masks
  const width = (style.width * fine + wider) / zoom;
  context.lineJoin = "round";
  if (cased) {
    context.setLineDash([]);
    context.lineWidth = width + (1.5 * fine) / zoom;
    context.strokeStyle = CASING;
    context.stroke(path);
  }
  context.setLineDash(style.dash.map((d) => (d * fine) / zoom));
  context.lineWidth = width;
  context.strokeStyle = style.color;
  context.stroke(path);
  if (style.core) {
    context.lineWidth = 1 / zoom;
    context.strokeStyle = style.core;
    context.stroke(path);
  }
  context.setLineDash([]);
}

// Elements and icons. Text is set as text only: names, labels and reasons come from outside.

const SVG = "http://www.w3.org/2000/svg";

/**
 * @param {string} tag @param {Record<string, any>} given class, text, on* listeners, data-*, aria-*, other attributes
 * @param {...(Node|string|null|false)} children strings become text nodes
 */
export function h(tag, given = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "text") element.textContent = value;
    else if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") Object.assign(element.style, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((c) => c !== null && c !== false && c !== undefined));
  return element;
}

/** Set a text only when it is another one: what is not written needs no layout. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @param {Element} element @param {string} name @param {string} value */
export function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

const ICONS = {
  select: ["M5 3l14 8-6 1.5L10 19z"],
  click: ["M12 3v6M12 15v6M3 12h6M15 12h6", "M12 12h.01"],
  box: ["M4 6h16v12H4z"],
  polygon: ["M12 3l8 6-3 10H7L4 9z"],
  brush: ["M14 4l6 6-8 8-6-6z", "M6 12c-3 1-2 5-4 8 4 0 7 0 8-4"],
  eraser: ["M8 20h12M5 14l8-9 6 6-8 9H9z"],
  edit: ["M4 20l1-5L16 4l4 4L9 19z"],
  fit: ["M3 5h18v14H3z", "M7.5 9h9v6h-9z"],
  undo: ["M9 7L4 12l5 5", "M4 12h10a5 5 0 0 1 0 10h-2"],
  redo: ["M15 7l5 5-5 5", "M20 12H10a5 5 0 0 0 0 10h2"],
  help: ["M9 9a3 3 0 1 1 4 3c-1 .5-1 1-1 2M12 18h.01"],
  full: ["M8 3H3v5M16 3h5v5M21 16v5h-5M3 16v5h5"],
  eye: ["M2 12c3-6 17-6 20 0-3 6-17 6-20 0z", "M12 9.5a2.5 2.5 0 1 0 .01 0z"],
  panel: ["M4 5h16v14H4zM14 5v14"],
};

/** @param {keyof typeof ICONS} name */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const attributes = { viewBox: "0 0 24 24", width: 18, height: 18, fill: "none", stroke: "currentColor" };
  Object.assign(attributes, { "stroke-width": 1.8, "stroke-linejoin": "round", "stroke-linecap": "round" });
  for (const [key, value] of Object.entries(attributes)) svg.setAttribute(key, String(value));
  svg.setAttribute("aria-hidden", "true");
  for (const d of ICONS[name]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", d);
    svg.append(path);
  }
  return svg;
}

/** A line in the style of a group, for legends. */
export function swatch({ color, width, dash, core, fills }) {
  const svg = document.createElementNS(SVG, "svg");
  for (const [key, value] of Object.entries({ width: 26, height: 14, "aria-hidden": "true" })) svg.setAttribute(key, value);
  const line = (stroke, wide, fill) => {
    const rect = document.createElementNS(SVG, "rect");
    const attributes = { x: 3, y: 3, width: 20, height: 8, rx: 2, stroke, "stroke-width": wide, fill };
    for (const [key, value] of Object.entries(attributes)) rect.setAttribute(key, value);
    if (dash.length) rect.setAttribute("stroke-dasharray", dash.map((d) => d * 0.7).join(" "));
    svg.append(rect);
  };
  line(color, Math.min(width, 3), fills ? `${color}55` : "none");
  if (core) line(core, 1, "none");
  return svg;
}

/** @param {number} value a share or a score */
export const score = (value) => (value === null || value === undefined ? "–" : value.toFixed(2));

/** @param {number} n @param {string} one @param {string} many */
export const counted = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;

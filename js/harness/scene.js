// A made image and made masks: blobs of several sizes, some nested, some with a hole. The same for a seed.

import { areaOf, boxOf, endsOfRuns, runsOfRegion } from "../src/rle.js";

/** A small generator of uniform numbers (mulberry32). */
export function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** @returns {number[]} runs of one blob */
function blob(x, y, radius, wobble, hole, width, height) {
  const reach = Math.ceil(radius * 1.5);
  const x0 = Math.max(0, Math.floor(x - reach));
  const y0 = Math.max(0, Math.floor(y - reach));
  const w = Math.min(width, Math.ceil(x + reach)) - x0;
  const h = Math.min(height, Math.ceil(y + reach)) - y0;
  const bits = new Uint8Array(w * h);
  for (let j = 0; j < h; j++) {
    for (let i = 0; i < w; i++) {
      const [dx, dy] = [x0 + i - x, y0 + j - y];
      const angle = Math.atan2(dy, dx);
      const edge = radius * (1 + 0.18 * Math.sin(3 * angle + wobble) + 0.1 * Math.sin(7 * angle + 2 * wobble));
      const d = Math.hypot(dx, dy);
      if (d < edge && d > hole * edge) bits[j * w + i] = 1;
    }
  }
  return runsOfRegion({ x0, y0, w, h, bits }, width, height);
}

const REASONS = ["borderline_score", "unusual_shape", "overlaps", "touches_border", "ambiguous"];

/** @returns {{view: object, masks: ArrayBuffer, blobs: object[], runs: number[][]}} */
export function makeScene({ count, width, height, seed = 1, name = "made-1.png" }) {
  const next = random(seed);
  const columns = { id: [], outcome: [], verdict: [], bulk: [], source: [], predicted_iou: [], jitter_stability: [] };
  Object.assign(columns, { stability_score: [], area_px: [], reasons: [], label: [], suggested: [], by: [] });
  const cell = Math.sqrt((width * height) / Math.max(1, count));
  const across = Math.max(1, Math.ceil(width / cell));
  const blobs = [];
  const runs = [];
  for (let i = 0; i < count; i++) {
    const nested = i % 9 === 8 && blobs.length > 0;
    const parent = blobs.at(-1);
    const x = nested ? parent.x + 3 : (i % across + 0.25 + 0.5 * next()) * cell;
    const y = nested ? parent.y + 2 : (Math.floor(i / across) + 0.25 + 0.5 * next()) * cell;
    const radius = nested ? parent.radius * 0.4 : cell * (0.22 + 0.3 * next());
    const made = { x: Math.min(width - 4, x), y: Math.min(height - 4, y), radius, wobble: next() * 6, hue: next() * 360 };
    const one = blob(made.x, made.y, radius, made.wobble, i % 13 === 5 ? 0.4 : 0, width, height);
    const ends = endsOfRuns(one);
    if (!areaOf(ends)) continue;
    blobs.push({ ...made, nested, box: boxOf(ends, height) });
    runs.push(one);
    const kind = next();
    const outcome = kind < 0.5 ? "auto_accepted" : kind < 0.8 ? "flagged" : "discarded";
    const high = outcome === "auto_accepted" ? 0.93 : outcome === "flagged" ? 0.84 : 0.6;
    const told = { id: `m${runs.length}`, outcome, verdict: "none", bulk: false, source: "automatic", label: "", by: "" };
    Object.assign(told, { predicted_iou: high + 0.06 * next(), jitter_stability: i % 17 === 3 ? null : high + 0.05 * next() });
    Object.assign(told, { stability_score: high + 0.06 * next(), area_px: areaOf(ends), suggested: i % 21 === 4 ? "accept" : "none" });
    told.reasons = outcome === "flagged" ? REASONS.filter(() => next() < 0.35) : [];
    if (outcome === "flagged" && !told.reasons.length) told.reasons = ["borderline_score"];
    for (const [column, value] of Object.entries(told)) columns[column].push(value);
  }
  const view = { version: 1, token: `t-${name}-${seed}`, store_key: "harness", mode: "review", image: { name, width, height, scale: 1 }, masks: columns };
  return { view, masks: packMasks(runs, width, height), blobs, runs };
}

/** @returns {ArrayBuffer} as PROTOCOL.md lays it out */
export function packMasks(runs, width, height) {
  const total = runs.reduce((sum, r) => sum + r.length, 0);
  const words = new Uint32Array(4 + runs.length + 1 + total);
  words.set([0x314b534d, runs.length, height, width]);
  let at = 0;
  runs.forEach((r, i) => {
    words[4 + i] = at;
    words.set(r, 5 + runs.length + at);
    at += r.length;
  });
  words[4 + runs.length] = at;
  return words.buffer;
}

/** The picture of the blobs, as bytes of a PNG. @returns {Promise<ArrayBuffer>} */
export async function paintScene({ blobs, view }, seed = 1) {
  const { width, height } = view.image;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  const sky = context.createLinearGradient(0, 0, width, height);
  sky.addColorStop(0, "#3c4a4f");
  sky.addColorStop(1, "#7d7460");
  context.fillStyle = sky;
  context.fillRect(0, 0, width, height);
  for (const { x, y, radius, wobble, hue, nested } of blobs) {
    context.beginPath();
    for (let k = 0; k <= 60; k++) {
      const angle = (k / 60) * 2 * Math.PI;
      const edge = radius * (1 + 0.18 * Math.sin(3 * angle + wobble) + 0.1 * Math.sin(7 * angle + 2 * wobble));
      context.lineTo(x + edge * Math.cos(angle), y + edge * Math.sin(angle));
    }
    const shade = context.createRadialGradient(x - radius / 3, y - radius / 3, radius / 8, x, y, radius * 1.2);
    shade.addColorStop(0, `hsl(${hue} 30% ${nested ? 72 : 62}%)`);
    shade.addColorStop(1, `hsl(${hue} 35% ${nested ? 45 : 32}%)`);
    context.fillStyle = shade;
    context.fill();
  }
  const next = random(seed);
  for (let i = 0; i < 4000; i++) {
    context.fillStyle = next() < 0.5 ? "rgba(0,0,0,0.1)" : "rgba(255,255,255,0.1)";
    context.fillRect(next() * width, next() * height, 3, 3);
  }
  return (await canvas.convertToBlob({ type: "image/png" })).arrayBuffer();
}

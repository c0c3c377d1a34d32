// What arrives as bytes: the masks of an image and the live answer to a prompt. PROTOCOL.md says how they are laid out.

import { endsOfRuns } from "./rle.js";

const MAGIC = 0x314b534d; // "MSK1"

/** @param {DataView|ArrayBuffer|ArrayBufferView|null|undefined} data @returns {DataView} */
export function asView(data) {
  if (!data) return new DataView(new ArrayBuffer(0));
  if (data instanceof ArrayBuffer) return new DataView(data);
  return new DataView(data.buffer, data.byteOffset, data.byteLength);
}

/** @param {DataView} view @param {number} from @param {number} count uint32s */
function words(view, from, count) {
  const out = new Uint32Array(count);
  for (let i = 0; i < count; i++) out[i] = view.getUint32(from + 4 * i, true);
  return out;
}

/** @returns {{width: number, height: number, ends: Uint32Array[]}} */
export function readMasks(data) {
  const view = asView(data);
  if (!view.byteLength) return { width: 0, height: 0, ends: [] };
  if (view.byteLength < 16 || view.getUint32(0, true) !== MAGIC) throw new Error("the masks that arrived are damaged");
  const [, count, height, width] = words(view, 0, 4);
  const start = 16 + 4 * (count + 1);
  if (view.byteLength < start) throw new Error("the masks that arrived are cut short");
  const offsets = words(view, 16, count + 1);
  if (view.byteLength < start + 4 * offsets[count]) throw new Error("the masks that arrived are cut short");
  const ends = [];
  for (let i = 0; i < count; i++) {
    ends.push(endsOfRuns(words(view, start + 4 * offsets[i], offsets[i + 1] - offsets[i])));
  }
  return { width, height, ends };
}

/** @returns {{header: object, ends: Uint32Array}|null} null when nothing has been answered yet */
export function readLive(data) {
  const view = asView(data);
  if (view.byteLength < 4) return null;
  const length = view.getUint32(0, true);
  if (view.byteLength < 4 + length) throw new Error("the answer to the prompt is cut short");
  const bytes = new Uint8Array(view.buffer, view.byteOffset + 4, length);
  const header = JSON.parse(new TextDecoder().decode(bytes));
  const from = 4 + length;
  return { header, ends: endsOfRuns(words(view, from, Math.floor((view.byteLength - from) / 4))) };
}

// COCO run lengths: strings, ends, boxes, areas, point tests, pixels. Runs go down the columns, background first.
//
// A mask is kept as its `ends`: the running sum of its runs. Pixel (x, y) has the place p = x·height + y, and lies in
// the mask when an odd number of ends is <= p, so that a point test is a binary search and needs no pixels.

/** @typedef {[number, number, number, number]} Box half-open x0, y0, x1, y1 in px; all zeros for an empty mask */
/** @typedef {{x0: number, y0: number, w: number, h: number, bits: Uint8Array}} Region pixels of a part, row by row */

/** @param {string} text compressed COCO string @returns {number[]} run lengths */
export function runsOfString(text) {
  const runs = [];
  for (let p = 0; p < text.length; ) {
    let value = 0;
    let weight = 1;
    let more = true;
    while (more) {
      const code = text.charCodeAt(p++) - 48;
      if (!(code >= 0 && code < 64)) throw new Error(`mask: the string is damaged at character ${p}`);
      value += (code & 31) * weight;
      weight *= 32;
      more = (code & 32) !== 0;
      if (!more && code & 16) value -= weight;
    }
    if (runs.length > 2) value += runs[runs.length - 2];
    if (value < 0) throw new Error("mask: the string is damaged, a run is negative");
    runs.push(value);
  }
  return runs;
}

/** @param {ArrayLike<number>} runs @returns {string} compressed COCO string */
export function stringOfRuns(runs) {
  let text = "";
  for (let i = 0; i < runs.length; i++) {
    let value = i > 2 ? runs[i] - runs[i - 2] : runs[i];
    let more = true;
    while (more) {
      const next = Math.floor(value / 32);
      let code = value - next * 32;
      value = next;
      more = code & 16 ? value !== -1 : value !== 0;
      if (more) code |= 32;
      text += String.fromCharCode(code + 48);
    }
  }
  return text;
}

/** @param {ArrayLike<number>} runs @returns {Uint32Array} */
export function endsOfRuns(runs) {
  const ends = new Uint32Array(runs.length);
  for (let i = 0, sum = 0; i < runs.length; i++) ends[i] = sum += runs[i];
  return ends;
}

/** @param {Uint32Array} ends */
export function areaOf(ends) {
  let area = 0;
  for (let i = 1; i < ends.length; i += 2) area += ends[i] - ends[i - 1];
  return area;
}

/** @param {Uint32Array} ends @param {number} height @param {number} x @param {number} y whole pixels inside the image */
export function contains(ends, height, x, y) {
  const place = x * height + y;
  let low = 0;
  let high = ends.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ends[middle] <= place) low = middle + 1;
    else high = middle;
  }
  return (low & 1) === 1 && low < ends.length;
}

/** @param {Uint32Array} ends @param {number} height @returns {Box} */
export function boxOf(ends, height) {
  let x0 = Infinity;
  let y0 = Infinity;
  let x1 = 0;
  let y1 = 0;
  for (let i = 1; i < ends.length; i += 2) {
    const start = ends[i - 1];
    const last = ends[i] - 1;
    if (last < start) continue;
    const left = Math.floor(start / height);
    const right = Math.floor(last / height);
    if (left < x0) x0 = left;
    if (right + 1 > x1) x1 = right + 1;
    const spans = right > left; // a run over two columns touches the last row and the first
    const top = spans ? 0 : start - left * height;
    const bottom = spans ? height : last - left * height + 1;
    if (top < y0) y0 = top;
    if (bottom > y1) y1 = bottom;
  }
  return x1 ? [x0, y0, x1, y1] : [0, 0, 0, 0];
}

/**
 * Set the mask's pixels in a region; what lies outside of it is left out.
 * @param {Uint32Array} ends @param {number} height of the image @param {Region} region @param {number} value
 */
export function paint(ends, height, region, value = 1) {
  const { x0, y0, w, h, bits } = region;
  for (let i = 1; i < ends.length; i += 2) {
    let place = ends[i - 1];
    while (place < ends[i]) {
      const x = Math.floor(place / height);
      const stop = Math.min(ends[i], (x + 1) * height);
      if (x >= x0 && x < x0 + w) {
        const top = Math.max(place - x * height, y0);
        const bottom = Math.min(stop - x * height, y0 + h);
        for (let y = top, at = (top - y0) * w + x - x0; y < bottom; y++, at += w) bits[at] = value;
      }
      place = stop;
    }
  }
}

/** @param {Uint32Array} ends @param {number} height @param {Box} box @returns {Region} the pixels in a box */
export function pixels(ends, height, [x0, y0, x1, y1]) {
  const region = { x0, y0, w: x1 - x0, h: y1 - y0, bits: new Uint8Array((x1 - x0) * (y1 - y0)) };
  paint(ends, height, region);
  return region;
}

/**
 * The runs of an image that is empty but for the pixels of a region whose lowest bit is set; canonical.
 * @param {Region} region @param {number} width @param {number} height of the image @returns {number[]}
 */
export function runsOfRegion({ x0, y0, w, h, bits }, width, height) {
  const runs = [];
  let inside = 0;
  let start = 0;
  const turn = (place) => {
    runs.push(place - start);
    start = place;
    inside ^= 1;
  };
  for (let x = 0; x < w; x++) {
    const column = (x0 + x) * height;
    if (inside && y0 > 0) turn(column); // the mask reached the last row of the column before
    for (let y = 0, at = x; y < h; y++, at += w) {
      if ((bits[at] & 1) !== inside) turn(column + y0 + y);
    }
    if (inside && y0 + h < height) turn(column + y0 + h);
  }
  if (inside && (x0 + w) * height < width * height) turn((x0 + w) * height); // it reached the last row of the last column
  if (start < width * height) runs.push(width * height - start);
  return runs;
}

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { boxAround, capsule, crossesItself, fillRing, outlines, simplify } from "../src/geometry.js";
import { pixels, endsOfRuns, runsOfRegion, stringOfRuns } from "../src/rle.js";

const { masks, polygons } = JSON.parse(readFileSync(new URL("vectors.json", import.meta.url), "utf8"));

test("polygons: filled pixel for pixel as workbench.masks.polygons does", () => {
  for (const { size_hw, ring, string } of polygons) {
    const [h, w] = size_hw;
    const part = fillRing(ring, boxAround(ring, 0, w, h));
    assert.equal(stringOfRuns(runsOfRegion(part, w, h)), string, JSON.stringify(ring));
  }
});

test("polygons: one that crosses itself is known", () => {
  assert.equal(crossesItself([[0, 0], [9, 0], [9, 9], [0, 9]]), false);
  assert.equal(crossesItself([[0, 0], [9, 9], [9, 0], [0, 9]]), true);
  assert.equal(crossesItself([[0, 0], [9, 0], [4, 4]]), false);
  assert.equal(crossesItself([]), false);
});

test("outlines: filling them even-odd gives the mask back", () => {
  for (const { size_hw, runs, area, box } of masks) {
    if (!area) continue;
    const [h, w] = size_hw;
    const region = pixels(endsOfRuns(runs), h, box);
    const sum = new Uint8Array(region.bits.length);
    for (const ring of outlines(region)) {
      const points = Array.from({ length: ring.length / 2 }, (_, i) => [ring[2 * i], ring[2 * i + 1]]);
      fillRing(points, box).bits.forEach((bit, i) => (sum[i] ^= bit));
    }
    assert.deepEqual(sum, region.bits, `${h}×${w}`);
  }
});

test("simplify: drops what lies within the tolerance, keeps corners", () => {
  assert.deepEqual(simplify([0, 0, 4, 0.1, 8, 0, 8, 8, 0, 8], 0.5), [0, 0, 8, 0, 8, 8, 0, 8]);
  const triangle = [0, 0, 1, 0, 0, 1];
  assert.equal(simplify(triangle, 10), triangle);
});

test("brush: a stroke without length is a disc, a long one a capsule", () => {
  const disc = capsule([5.5, 5.5], [5.5, 5.5], 2, [0, 0, 11, 11]);
  assert.equal(disc.bits.reduce((a, b) => a + b), 13);
  const bar = capsule([2.5, 2.5], [8.5, 2.5], 0.5, [0, 0, 11, 5]);
  assert.deepEqual(runsOfRegion(bar, 11, 5).filter((_, i) => i % 2), [1, 1, 1, 1, 1, 1, 1]);
});

test("box: cut to the image", () => {
  assert.deepEqual(boxAround([[-5, 3], [2.2, 100]], 1, 10, 10), [0, 2, 4, 10]);
  const [x0, y0, x1, y1] = boxAround([[50, 50]], 2, 10, 10);
  assert.ok(x1 <= x0 || y1 <= y0);
});

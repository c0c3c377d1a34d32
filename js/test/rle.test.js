import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import * as rle from "../src/rle.js";

const { masks } = JSON.parse(readFileSync(new URL("vectors.json", import.meta.url), "utf8"));
const whole = ([h, w]) => ({ x0: 0, y0: 0, w, h, bits: new Uint8Array(w * h) });
const bitsOf = (rows) => Uint8Array.from(rows.join(""), (c) => Number(c === "#"));

test("strings: read and written as pycocotools does", () => {
  for (const { string, runs } of masks) {
    assert.deepEqual(rle.runsOfString(string), runs);
    assert.equal(rle.stringOfRuns(runs), string);
  }
});

test("strings: long runs, beyond 31 bits", () => {
  const runs = [3_000_000_000, 5, 1_000_000_000, 1, 2];
  assert.deepEqual(rle.runsOfString(rle.stringOfRuns(runs)), runs);
});

test("strings: damaged ones are refused", () => {
  for (const text of ["\u0000", "o", "~~~", "2".repeat(3) + "C"]) assert.throws(() => rle.runsOfString(text), /damaged/, text);
});

test("masks: area, box, every pixel's point test", () => {
  for (const { size_hw, rows, runs, area, box } of masks) {
    const [h, w] = size_hw;
    const ends = rle.endsOfRuns(runs);
    assert.equal(rle.areaOf(ends), area);
    assert.deepEqual(rle.boxOf(ends, h), box);
    for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) assert.equal(rle.contains(ends, h, x, y), rows[y][x] === "#");
  }
});

test("masks: to pixels and back", () => {
  for (const { size_hw, rows, runs } of masks) {
    const region = whole(size_hw);
    rle.paint(rle.endsOfRuns(runs), size_hw[0], region);
    assert.deepEqual(region.bits, bitsOf(rows));
    assert.deepEqual(rle.runsOfRegion(region, size_hw[1], size_hw[0]), runs);
  }
});

test("masks: a region smaller than the image gives the same runs", () => {
  for (const { size_hw, runs, box, area } of masks) {
    if (!area) continue;
    const region = rle.pixels(rle.endsOfRuns(runs), size_hw[0], box);
    assert.deepEqual(rle.runsOfRegion(region, size_hw[1], size_hw[0]), runs);
  }
});

test("masks: an empty region is an empty mask", () => {
  assert.deepEqual(rle.runsOfRegion({ x0: 0, y0: 0, w: 0, h: 0, bits: new Uint8Array(0) }, 4, 3), [12]);
});

test("bits: only the lowest counts", () => {
  const region = { x0: 1, y0: 1, w: 2, h: 1, bits: Uint8Array.from([3, 2]) };
  assert.deepEqual(rle.runsOfRegion(region, 4, 3), [4, 1, 7]);
});

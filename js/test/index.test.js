import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { Camera } from "../src/camera.js";
import { choose, MaskIndex } from "../src/index.js";
import { areaOf, boxOf, contains, endsOfRuns } from "../src/rle.js";
import { makeScene, random } from "../harness/scene.js";

const vectors = JSON.parse(readFileSync(new URL("vectors.json", import.meta.url), "utf8"));
const W = 300;
const H = 200;
const scene = makeScene({ count: 80, width: W, height: H, seed: 3 });
const masks = scene.runs.map((runs, i) => {
  const ends = endsOfRuns(runs);
  return { id: `m${i}`, ends, box: boxOf(ends, H), area_px: areaOf(ends) };
});
const index = new MaskIndex(W, H);
for (const mask of masks) index.add(mask);

test("under a point: exactly the masks that hold it, smallest first", () => {
  const next = random(9);
  for (let i = 0; i < 500; i++) {
    const [x, y] = [next() * W, next() * H];
    const expected = masks.filter((m) => contains(m.ends, H, Math.floor(x), Math.floor(y)));
    const found = index.at(x, y);
    assert.deepEqual(new Set(found), new Set(expected));
    for (let k = 1; k < found.length; k++) assert.ok(found[k - 1].area_px <= found[k].area_px);
  }
});

test("under a point: the masks that the Python side finds there, in its order", () => {
  const { size_hw, runs, points, found } = vectors.under;
  const [h, w] = size_hw;
  const known = new MaskIndex(w, h);
  runs.forEach((one, id) => {
    const ends = endsOfRuns(one);
    known.add({ id, ends, box: boxOf(ends, h), area_px: areaOf(ends) });
  });
  points.forEach(([x, y], i) => assert.deepEqual(known.at(x, y).map((m) => m.id), found[i]));
});

test("under a point: nothing outside the image", () => {
  for (const [x, y] of [[-1, 5], [5, -1], [W, 5], [5, H], [NaN, 5]]) assert.deepEqual(index.at(x, y), []);
});

test("in a box: exactly the masks whose box meets it", () => {
  const [x0, y0, x1, y1] = [40, 30, 120, 90];
  const expected = masks.filter(({ box: b }) => b[0] < x1 && b[2] > x0 && b[1] < y1 && b[3] > y0);
  assert.deepEqual(index.within([x0, y0, x1, y1]), new Set(expected));
  assert.equal(index.within([5, 5, 5, 9]).size, 0);
});

test("removed: no longer found", () => {
  const small = new MaskIndex(W, H);
  small.add(masks[0]);
  small.remove(masks[0]);
  assert.equal(small.within([0, 0, W, H]).size, 0);
});

test("clicks: the smallest, then the one underneath, then round again", () => {
  const [a, b] = ["a", "b"];
  assert.equal(choose([a, b], null, false), a);
  assert.equal(choose([a, b], a, true), b);
  assert.equal(choose([a, b], b, true), a);
  assert.equal(choose([a, b], a, false), a);
  assert.equal(choose([], a, true), null);
});

test("camera: zoom keeps what is under the pointer, a resize what is in the middle", () => {
  const camera = new Camera();
  camera.image = { width: 400, height: 300 };
  camera.resize(800, 500);
  camera.fit();
  assert.equal(camera.scale, 500 / 300);
  const before = camera.toImage(200, 100);
  camera.zoom(3, 200, 100);
  assert.deepEqual(camera.toImage(200, 100).map((v) => v.toFixed(6)), before.map((v) => v.toFixed(6)));
  const [mx, my] = camera.toImage(400, 250);
  camera.resize(600, 400);
  assert.deepEqual(camera.toImage(300, 200).map((v) => v.toFixed(6)), [mx, my].map((v) => v.toFixed(6)));
});

test("camera: what is in sight is not moved, what is not comes into sight at the same zoom", () => {
  const camera = new Camera();
  camera.image = { width: 4000, height: 3000 };
  camera.resize(800, 600);
  camera.scale = 1;
  camera.centre(400, 300);
  assert.equal(camera.reveal([10, 10, 60, 60]), false);
  assert.equal(camera.reveal([2000, 2000, 2050, 2040]), true);
  assert.equal(camera.scale, 1);
  const [x, y] = camera.toStage(2025, 2020);
  assert.deepEqual([x, y], [400, 300]);
});

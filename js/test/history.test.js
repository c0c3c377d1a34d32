import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { Draft } from "../src/draft.js";
import { Gestures } from "../src/history.js";
import { boxOf, endsOfRuns, runsOfString } from "../src/rle.js";

const g = (gesture, undone = false, kind = "verdict") => ({ gesture, kind, undone });

test("gestures: undo walks back, redo forward", () => {
  const history = new Gestures();
  history.load([g("a"), g("b")], true);
  assert.equal(history.last.gesture, "b");
  history.mark("b", true);
  assert.equal(history.last.gesture, "a");
  assert.equal(history.next.gesture, "b");
  history.mark("a", true);
  assert.equal(history.last, undefined);
  assert.equal(history.next.gesture, "a");
  history.mark("a", false);
  assert.equal(history.next.gesture, "b");
});

test("gestures: undo and redo aim at what the journal of the Python side holds for undone", () => {
  const { turns } = JSON.parse(readFileSync(new URL("vectors.json", import.meta.url), "utf8"));
  for (const { steps, shown } of turns) {
    const history = new Gestures();
    steps.forEach(([step, gesture], i) => {
      if (step === "do") history.add(gesture, "verdict");
      else {
        assert.equal((step === "undo" ? history.last : history.next).gesture, gesture);
        history.mark(gesture, step === "undo");
        history.settle(gesture);
      }
      history.load(shown[i].map(([name, gone]) => g(name, gone)));
    });
  }
});

test("gestures: what the kernel has not seen follows its list", () => {
  const history = new Gestures();
  history.load([g("a")], true);
  history.add("b", "verdict");
  history.add("c", "draw");
  history.load([g("a"), g("b")]);
  assert.deepEqual(history.list.map((x) => x.gesture), ["a", "b", "c"]);
  history.load([g("x")], true);
  assert.deepEqual(history.list.map((x) => x.gesture), ["x"]);
});

test("gestures: a refused one leaves, a settled undo follows the kernel", () => {
  const history = new Gestures();
  history.add("a", "verdict");
  history.drop("a");
  assert.equal(history.last, undefined);
  history.load([g("b")]);
  history.mark("b", true);
  history.settle("b");
  assert.equal(history.last.gesture, "b");
});

test("gestures: a new one ends what could be done again", () => {
  const history = new Gestures();
  history.load([g("a"), g("b", true)], true);
  assert.equal(history.next.gesture, "b");
  history.add("c", "verdict");
  assert.equal(history.next, undefined);
});

const area = (draft) => draft.region.bits.reduce((sum, bit) => sum + (bit & 1), 0);

test("draft: strokes are undone and done again one by one", () => {
  const draft = new Draft(200, 100);
  draft.apply({ x0: 10, y0: 10, w: 5, h: 4, bits: new Uint8Array(20).fill(1) }, true, "brush");
  draft.apply({ x0: 12, y0: 10, w: 5, h: 4, bits: new Uint8Array(20).fill(1) }, true, "brush");
  draft.apply({ x0: 10, y0: 10, w: 1, h: 4, bits: new Uint8Array(4).fill(1) }, false, "brush");
  assert.equal(area(draft), 24);
  draft.undo();
  assert.equal(area(draft), 28);
  draft.undo();
  assert.equal(area(draft), 20);
  draft.redo();
  assert.equal(area(draft), 28);
  draft.undo();
  draft.undo();
  assert.ok(draft.empty);
  assert.equal(draft.undo(), false);
});

test("draft: the model's answer leaves what the hand has drawn", () => {
  const draft = new Draft(50, 40);
  const ends = endsOfRuns([0, 50 * 40]);
  draft.addPrompt({ point: [5, 5, 1] }, "click");
  draft.answer(endsOfRuns([40 * 5, 40]));
  assert.equal(area(draft), 40);
  draft.apply({ x0: 5, y0: 0, w: 1, h: 10, bits: new Uint8Array(10).fill(1) }, false, "brush");
  draft.addPrompt({ point: [6, 5, 1] }, "click");
  draft.answer(ends);
  assert.equal(area(draft), 50 * 40 - 10);
  draft.undo();
  assert.equal(area(draft), 30);
  assert.deepEqual(draft.points, [[5, 5, 1]]);
  draft.redo();
  assert.equal(area(draft), 50 * 40 - 10);
});

test("draft: a polygon is closed into one stroke; corners before are undone one by one", () => {
  const draft = new Draft(50, 40);
  for (const corner of [[5, 5], [15, 5], [15, 15], [5, 15]]) draft.addCorner(corner);
  draft.undo();
  assert.equal(draft.corners.length, 3);
  draft.redo();
  assert.ok(draft.closePolygon());
  assert.equal(area(draft), 100);
  const { rle, tool, prompts } = draft.result();
  assert.deepEqual(boxOf(endsOfRuns(runsOfString(rle)), 40), [5, 5, 15, 15]);
  assert.equal(tool, "polygon");
  assert.equal(prompts.polygons[0].points.length, 4);
  draft.undo();
  assert.ok(draft.empty);
});

test("draft: a polygon without a pixel is refused", () => {
  const draft = new Draft(50, 40);
  for (const corner of [[5, 5], [9, 9], [15, 15]]) draft.addCorner(corner);
  assert.equal(draft.closePolygon(), false);
  assert.equal(draft.closePolygon(), false);
});

test("draft: an edit begins with the mask it edits", () => {
  const ends = endsOfRuns([40 * 3, 80]);
  const draft = new Draft(50, 40, { mode: "edit", mask: { ends, box: boxOf(ends, 40) } });
  assert.equal(area(draft), 80);
  assert.equal(draft.begun, false);
});

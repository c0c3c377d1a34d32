import assert from "node:assert/strict";
import { test } from "node:test";

import { Actions } from "../src/actions.js";
import { Dialogs } from "../src/dialogs.js";
import { Draft } from "../src/draft.js";
import { Keeping } from "../src/keeping.js";

test("audit: nothing is accepted in bulk, and no label is given", () => {
  const said = [];
  const app = { session: { audit: true, acceptable: () => [{ id: "m" }] }, say: (text) => said.push(text) };
  const actions = new Actions(app);
  actions.acceptAll();
  actions.label("cell");
  assert.match(said[0], /on its own/);
  assert.match(said[1], /not labelled/);
});

test("audit: completing with masks left does not offer to accept them all", () => {
  const offered = (audit) => {
    const dialogs = new Dialogs({ actions: {}, session: { audit } }, null);
    dialogs.ask = ({ choices }) => (dialogs.asked = choices.map((c) => c.key));
    dialogs.undecided(2, () => {});
    return dialogs.asked;
  };
  assert.ok(offered(false).includes("A"));
  assert.ok(!offered(true).includes("A"));
});

test("kept drawing: windows on two images keep one each", () => {
  const kept = new Map();
  const storage = { setItem: (k, v) => kept.set(k, v), getItem: (k) => kept.get(k) ?? null, removeItem: (k) => kept.delete(k) };
  const windows = ["a.png", "b.png"].map((name) => {
    const session = { audit: false, width: 9, height: 9, byId: new Map(), view: { store_key: "k", image: { name } } };
    const draft = new Draft(9, 9);
    draft.apply({ x0: 1, y0: 1, w: 2, h: 2, bits: new Uint8Array(4).fill(1) }, true, "brush");
    return { session, draft };
  });
  for (const app of windows) new Keeping(app, storage).keep();
  for (const app of windows) assert.ok(new Keeping(app, storage).found());
});

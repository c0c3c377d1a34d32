import assert from "node:assert/strict";
import { test } from "node:test";

import { Clock } from "../src/clock.js";
import { Post } from "../src/protocol.js";
import { readLive, readMasks } from "../src/wire.js";
import { packMasks } from "../harness/scene.js";

class Model {
  values = { acked: {}, replies: [], outbox: [], heard: {} };
  saved = 0;
  get(name) {
    return this.values[name];
  }
  set(name, value) {
    this.values[name] = value;
  }
  save_changes() {
    this.saved += 1;
  }
}

class Storage {
  map = new Map();
  get length() {
    return this.map.size;
  }
  key(i) {
    return [...this.map.keys()][i] ?? null;
  }
  getItem(key) {
    return this.map.get(key) ?? null;
  }
  setItem(key, value) {
    this.map.set(key, value);
  }
  removeItem(key) {
    this.map.delete(key);
  }
}

function setUp({ storage = new Storage(), model = new Model() } = {}) {
  const seen = { replies: [], states: [], time: 0 };
  const on = { reply: (message, reply) => seen.replies.push([message, reply]), state: (s) => seen.states.push(s) };
  const post = new Post(model, on, { storage, now: () => seen.time, elapsed: () => 7 });
  post.open({ token: "t1", store_key: "k", image: { name: "a.png" } });
  return { post, model, storage, seen };
}

test("outbox: holds what is not acknowledged, in order", () => {
  const { post, model } = setUp();
  post.send("verdict", { mask: "m", verdict: "accept" });
  post.send("prompt", { points: [] });
  post.send("label", { mask: "m", label: "cell" });
  assert.deepEqual(model.get("outbox").map((m) => [m.seq, m.kind, m.token, m.elapsed_ms]), [[1, "verdict", "t1", 7], [2, "prompt", "t1", 0], [3, "label", "t1", 7]]);
  model.values.acked = { [post.client]: 2, other: 99 };
  post.acknowledged();
  post.send("complete");
  assert.deepEqual(model.get("outbox").map((m) => m.seq), [3, 4]);
});

test("outbox: what other views of the widget sent stays in it", () => {
  const model = new Model();
  const [one, two] = [setUp({ model, storage: null }), setUp({ model, storage: null })];
  one.post.send("complete");
  two.post.send("complete");
  assert.deepEqual(new Set(model.get("outbox").map((m) => m.client)), new Set([one.post.client, two.post.client]));
  model.values.acked = { [one.post.client]: 1 };
  two.post.send("complete");
  assert.deepEqual(model.get("outbox").map((m) => m.client), [two.post.client, two.post.client]);
});

test("resent: after two seconds, as a list that differs", () => {
  const { post, model, seen } = setUp();
  post.send("complete");
  const first = JSON.stringify(model.get("outbox"));
  seen.time = 1_000;
  post.tick();
  assert.equal(model.saved, 1);
  seen.time = 2_100;
  post.tick();
  assert.equal(model.saved, 2);
  assert.notEqual(JSON.stringify(model.get("outbox")), first);
});

test("silent: said after five seconds, and over when it answers", () => {
  const { post, model, seen } = setUp();
  post.send("complete");
  seen.time = 5_000;
  post.tick();
  assert.deepEqual(seen.states.at(-1), { silent: true, waiting: 1 });
  model.values.acked = { [post.client]: 1 };
  post.acknowledged();
  assert.deepEqual(seen.states.at(-1), { silent: false, waiting: 0 });
});

test("silent: at once when the channel is known to be dead", () => {
  const { post, model, seen } = setUp();
  model.comm_live = false;
  post.tick();
  assert.deepEqual(seen.states.at(-1), { silent: true, waiting: 0 }, "before anything is lost");
  post.send("complete");
  post.tick();
  assert.equal(seen.states.at(-1).silent, true);
});

test("reload: a new page sends what the old one kept first, under the same gesture ids", () => {
  const { post, storage } = setUp();
  post.send("verdict", { mask: "a", verdict: "accept" }, { gesture_id: "g1" });
  post.send("prompt", {});
  post.send("verdict", { mask: "b", verdict: "reject" }, { gesture_id: "g2" });
  const again = setUp({ storage });
  again.post.send("complete", {}, { gesture_id: "g3" });
  const sent = again.model.get("outbox");
  assert.deepEqual(sent.map((m) => [m.seq, m.gesture_id, m.token]), [[1, "g1", "t1"], [2, "g2", "t1"], [3, "g3", "t1"]]);
  assert.ok(sent.every((m) => m.client === again.post.client));
  again.model.values.acked = { [again.post.client]: 3 };
  again.post.acknowledged();
  assert.equal(storage.length, 0);
});

test("reload: what cannot be read is left alone, another project's is not sent", () => {
  const storage = new Storage();
  storage.setItem("workbench:k:old", "{not json");
  storage.setItem("workbench:other:old", JSON.stringify([{ gesture_id: "x", kind: "complete" }]));
  const { model } = setUp({ storage });
  assert.deepEqual(model.get("outbox"), []);
  assert.ok(storage.getItem("workbench:other:old"));
});

test("storage: full or forbidden, gestures are still sent", () => {
  const storage = new Storage();
  storage.setItem = () => {
    throw new Error("QuotaExceededError");
  };
  const { post, model } = setUp({ storage });
  post.send("complete");
  assert.equal(model.get("outbox").length, 1);
});

test("replies: each once, in order, with its message; heard says how far", () => {
  const { post, model, seen } = setUp();
  const sent = post.send("complete");
  const reply = (n, to) => ({ n, client: post.client, to, ok: true });
  model.values.replies = [reply(4, 9), reply(2, 1), { ...reply(1, 1), client: "other" }];
  post.replied();
  post.replied();
  assert.deepEqual(seen.replies.map(([m, r]) => [m?.gesture_id, r.n]), [[sent.gesture_id, 2], [undefined, 4]]);
  assert.equal(model.get("heard")[post.client], 4);
});

test("clock: a pause over the idle limit counts for nothing", () => {
  let now = 0;
  const clock = new Clock(() => now);
  clock.idle_ms = 1_000;
  now = 400;
  clock.touch();
  now = 60_000;
  clock.touch();
  now = 60_900;
  assert.equal(clock.take(), 1_300);
  assert.equal(clock.take(), 0);
});

test("bytes: masks come as DataView, ArrayBuffer or Uint8Array, also inside a larger buffer", () => {
  const buffer = packMasks([[2, 1, 3], [6]], 2, 3);
  const shifted = new Uint8Array(buffer.byteLength + 3);
  shifted.set(new Uint8Array(buffer), 3);
  for (const data of [buffer, new DataView(buffer), new Uint8Array(buffer), shifted.subarray(3)]) {
    const { width, height, ends } = readMasks(data);
    assert.deepEqual([width, height, ends.map((e) => [...e])], [2, 3, [[2, 3, 6], [6]]]);
  }
  assert.deepEqual(readMasks(null).ends, []);
});

test("bytes: damaged ones are refused in words", () => {
  const buffer = packMasks([[2, 1, 3]], 2, 3);
  assert.throws(() => readMasks(buffer.slice(0, 30)), /cut short/);
  assert.throws(() => readMasks(new ArrayBuffer(32)), /damaged/);
});

test("bytes: the live answer, header then runs", () => {
  const text = '{"prompt_id":"p1"}  ';
  const bytes = new Uint8Array(4 + text.length + 8);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, text.length, true);
  bytes.set(new TextEncoder().encode(text), 4);
  view.setUint32(4 + text.length, 3, true);
  view.setUint32(8 + text.length, 2, true);
  const { header, ends } = readLive(view);
  assert.deepEqual([header.prompt_id, [...ends]], ["p1", [3, 5]]);
  assert.equal(readLive(new ArrayBuffer(0)), null);
});

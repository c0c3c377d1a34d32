// Messages to the kernel that do not get lost: numbered, kept until acknowledged, sent again after a reload or a restart.

/** @typedef {{client: string, seq: number, gesture_id: string, token: string, kind: string, phase: string,
 *   elapsed_ms: number, image: string}} Message */

const UNRECORDED = new Set(["open", "prompt", "renew", "refresh"]); // nothing is lost when these are
const RESEND_MS = 2_000;
const SILENT_MS = 5_000;
const PREFIX = "workbench:";

/** @returns {string} */
export function uuid() {
  if (globalThis.crypto?.randomUUID) return globalThis.crypto.randomUUID();
  const bytes = globalThis.crypto.getRandomValues(new Uint8Array(16)); // pages without https have no randomUUID
  return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
}

export class Post {
  /**
   * @param {object} model get, set, save_changes
   * @param {object} on called back
   * @param {(message: Message|undefined, reply: object) => void} on.reply
   * @param {(state: {silent: boolean, waiting: number}) => void} on.state
   * @param {{storage?: Storage|null, now?: () => number, elapsed?: () => number}} given
   */
  constructor(model, on, { storage = null, now = () => Date.now(), elapsed = () => 0 } = {}) {
    Object.assign(this, { model, on, storage, now, elapsed });
    this.client = uuid();
    this.seq = 0;
    this.token = "";
    this.image = "";
    this.store_key = "";
    /** @type {{message: Message, since: number, from: string[]}[]} */
    this.pending = [];
    /** messages whose reply has not come yet @type {Map<number, Message>} */
    this.asked = new Map();
    this.heard = 0;
    this.sent_at = 0;
    this.tries = 0;
    this.state = "";
    this.timer = null;
  }

  /** An image was opened: later messages carry its token, and what an earlier page left unsent goes first. */
  open({ token, store_key, image }) {
    this.token = token ?? "";
    this.image = image?.name ?? "";
    if (store_key && store_key !== this.store_key) {
      this.store_key = store_key;
      this.#adopt();
    }
  }

  /** @returns {Message} as it was queued */
  send(kind, fields = {}, { phase = "verdict", gesture_id = uuid() } = {}) {
    const elapsed_ms = UNRECORDED.has(kind) ? 0 : this.elapsed();
    const told = { gesture_id, token: this.token, image: this.image, kind, phase, elapsed_ms, ...fields };
    const message = this.#queue(told, []);
    this.#keep();
    this.#push();
    return message;
  }

  /** `acked` changed: what the kernel has is no longer kept. */
  acknowledged() {
    const upto = (this.model.get("acked") ?? {})[this.client] ?? 0;
    const done = this.pending.filter(({ message }) => message.seq <= upto);
    if (!done.length) return this.#tell();
    this.pending = this.pending.filter(({ message }) => message.seq > upto);
    for (const { from } of done) for (const key of from) this.#forget(key);
    this.tries = 0;
    this.#keep();
    this.#tell();
  }

  /** `replies` changed: each of ours is handed on once, in order. */
  replied() {
    const mine = (this.model.get("replies") ?? []).filter((r) => r.client === this.client && r.n > this.heard);
    if (!mine.length) return;
    mine.sort((a, b) => a.n - b.n);
    for (const reply of mine) {
      this.heard = reply.n;
      const message = this.asked.get(reply.to);
      this.asked.delete(reply.to);
      this.on.reply(message, reply);
    }
    this.model.set("heard", { ...(this.model.get("heard") ?? {}), [this.client]: this.heard });
    this.model.save_changes();
  }

  /** Called every half second: sends again what was not acknowledged, and says so when nobody answers. */
  tick() {
    if (this.pending.length && this.now() - this.sent_at >= RESEND_MS) {
      this.tries += 1;
      this.#push();
    }
    this.#tell();
  }

  start() {
    this.timer = setInterval(() => this.tick(), 500);
  }

  close() {
    clearInterval(this.timer);
  }

  /** Gestures that the kernel does not have yet. */
  get waiting() {
    return this.pending.filter(({ message }) => !UNRECORDED.has(message.kind)).length;
  }

  #queue(told, from) {
    const message = { ...told, client: this.client, seq: ++this.seq };
    this.pending.push({ message, since: this.now(), from });
    this.asked.set(message.seq, message);
    return message;
  }

  /** Write the outbox: ours, and what other views of this widget still have in it. */
  #push() {
    const acked = this.model.get("acked") ?? {};
    const others = (this.model.get("outbox") ?? []).filter(
      (m) => m.client !== this.client && m.seq > (acked[m.client] ?? 0),
    );
    // an equal list would not be sent: `tries` makes it another one
    const ours = this.pending.map(({ message }) => (this.tries ? { ...message, tries: this.tries } : message));
    this.sent_at = this.now();
    this.model.set("outbox", [...others, ...ours]);
    this.model.save_changes();
  }

  #tell() {
    const oldest = this.pending[0]?.since ?? Infinity;
    const silent = this.now() - oldest >= SILENT_MS || this.model.comm_live === false;
    const state = { silent, waiting: this.waiting };
    const text = JSON.stringify(state);
    if (text !== this.state) {
      this.state = text;
      this.on.state(state);
    }
  }

  get #key() {
    return `${PREFIX}${this.store_key}:${this.client}`;
  }

  #keep() {
    if (!this.storage || !this.store_key) return;
    const kept = this.pending.map(({ message }) => message).filter((m) => !UNRECORDED.has(m.kind));
    try {
      if (kept.length) this.storage.setItem(this.#key, JSON.stringify(kept));
      else this.storage.removeItem(this.#key);
    } catch {
      // the browser's storage is full or closed; the messages are still in memory
    }
  }

  #forget(key) {
    try {
      this.storage?.removeItem(key);
    } catch {
      // as above
    }
  }

  /** Take over what pages before this one could not deliver. Gesture ids stay, so nothing is recorded twice. */
  #adopt() {
    if (!this.storage) return;
    const before = this.pending;
    this.pending = [];
    const start = `${PREFIX}${this.store_key}:`;
    for (const key of this.#keys().filter((k) => k.startsWith(start) && k !== this.#key)) {
      const kept = this.#read(key);
      kept.forEach((message, i) => {
        const { tries: _, ...told } = message;
        this.#queue(told, i === kept.length - 1 ? [key] : []);
      });
      if (!kept.length) this.#forget(key);
    }
    for (const entry of before) { // sent before the first image was known: they follow
      this.asked.delete(entry.message.seq);
      this.#queue(entry.message, entry.from);
    }
    if (this.pending.length) {
      this.#keep();
      this.#push();
    }
  }

  #keys() {
    try {
      return Array.from({ length: this.storage.length }, (_, i) => this.storage.key(i) ?? "");
    } catch {
      return [];
    }
  }

  #read(key) {
    try {
      const kept = JSON.parse(this.storage.getItem(key) ?? "[]");
      return Array.isArray(kept) ? kept.filter((m) => m && typeof m.gesture_id === "string") : [];
    } catch {
      return [];
    }
  }
}

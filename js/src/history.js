// Undo and redo by gesture, and by stroke within an unfinished drawing.

/** @typedef {{gesture: string, kind: string, undone: boolean}} Gesture */

/** Gestures on one image in order. The kernel's list is the truth; what it has not seen yet follows it. */
export class Gestures {
  /** @type {Gesture[]} */
  list = [];
  /** sent but not in the kernel's list yet @type {Set<string>} */
  unseen = new Set();
  /** undo or redo under way: gesture -> undone @type {Map<string, boolean>} */
  wanted = new Map();

  /** @param {Gesture[]} list @param {boolean} afresh another image was opened */
  load(list, afresh = false) {
    if (afresh) {
      this.unseen.clear();
      this.wanted.clear();
    }
    const known = new Set(list.map((g) => g.gesture));
    for (const gesture of known) this.unseen.delete(gesture);
    const later = this.list.filter((g) => this.unseen.has(g.gesture));
    this.list = [...list.map((g) => ({ ...g })), ...later];
  }

  /** A new gesture; what was undone before it can no longer be redone. */
  add(gesture, kind) {
    this.unseen.add(gesture);
    this.list.push({ gesture, kind, undone: false });
  }

  /** The kernel refused it. */
  drop(gesture) {
    this.unseen.delete(gesture);
    this.wanted.delete(gesture);
    this.list = this.list.filter((g) => g.gesture !== gesture);
  }

  /** Mark as undone or not before the kernel answers. */
  mark(gesture, undone) {
    this.wanted.set(gesture, undone);
  }

  /** The kernel has answered; its list says what holds now. */
  settle(gesture) {
    this.wanted.delete(gesture);
  }

  #undone(g) {
    return this.wanted.get(g.gesture) ?? g.undone;
  }

  /** @returns {Gesture|undefined} the last gesture that is in force */
  get last() {
    return this.list.findLast((g) => !this.#undone(g));
  }

  /** @returns {Gesture|undefined} the one to redo: the first undone after the last in force */
  get next() {
    const from = this.list.findLastIndex((g) => !this.#undone(g)) + 1;
    return this.list[from];
  }
}

/** Strokes of an unfinished drawing: each keeps how to take it back and how to do it again. */
export class Strokes {
  /** @type {{undo: () => void, redo: () => void}[]} */
  done = [];
  /** @type {{undo: () => void, redo: () => void}[]} */
  undone = [];

  add(stroke) {
    this.done.push(stroke);
    this.undone = [];
  }

  undo() {
    const stroke = this.done.pop();
    if (!stroke) return false;
    stroke.undo();
    this.undone.push(stroke);
    return true;
  }

  redo() {
    const stroke = this.undone.pop();
    if (!stroke) return false;
    stroke.redo();
    this.done.push(stroke);
    return true;
  }
}

// Work for the next frame: each named piece runs once a frame, however often it was asked for.

export class Frames {
  /** @type {Map<string, () => void>} */
  asked = new Map();
  id = 0;

  ask(name, work) {
    this.asked.set(name, work);
    this.id ||= requestAnimationFrame(() => this.run());
  }

  run() {
    cancelAnimationFrame(this.id);
    this.id = 0;
    const now = this.asked;
    this.asked = new Map();
    for (const work of now.values()) work();
  }

  stop() {
    cancelAnimationFrame(this.id);
    this.id = 0;
    this.asked.clear();
  }
}

// Active time between two gestures: pauses count up to the idle limit, what lies beyond it is cut.

export class Clock {
  /** @param {() => number} now milliseconds */
  constructor(now = () => performance.now()) {
    this.now = now;
    this.idle_ms = 30_000;
    this.last = now();
    this.active = 0;
  }

  /** The person moved, pressed or typed. */
  touch() {
    const now = this.now();
    this.active += Math.min(now - this.last, this.idle_ms);
    this.last = now;
  }

  /** @returns {number} active ms since the gesture before, which ends here */
  take() {
    this.touch();
    const taken = this.active;
    this.active = 0;
    return Math.round(taken);
  }
}

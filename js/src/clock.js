// Active time between two gestures: a pause longer than the idle limit is no active time, none of it.

export class Clock {
  /** @param {() => number} now milliseconds */
  constructor(now = () => performance.now()) {
    this.now = now;
    this.idle_ms = 60_000;
    this.last = now();
    this.active = 0;
  }

  /** The person moved, pressed or typed. */
  touch() {
    const now = this.now();
    if (now - this.last <= this.idle_ms) this.active += now - this.last;
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

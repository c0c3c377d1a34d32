// Which part of the image is on the screen: one scale and one shift, in CSS pixels.

const LARGEST = 64;

export class Camera {
  scale = 1;
  x = 0; // where the image's corner lies on the stage
  y = 0;
  width = 1; // of the stage
  height = 1;
  image = { width: 1, height: 1 };

  /** @returns {[number, number]} image px of a place on the stage */
  toImage(x, y) {
    return [(x - this.x) / this.scale, (y - this.y) / this.scale];
  }

  /** @returns {[number, number]} */
  toStage(x, y) {
    return [x * this.scale + this.x, y * this.scale + this.y];
  }

  get fitScale() {
    return Math.min(this.width / this.image.width, this.height / this.image.height);
  }

  fit() {
    this.scale = this.fitScale;
    this.centre(this.image.width / 2, this.image.height / 2);
  }

  /** Put an image point into the middle of the stage. */
  centre(x, y) {
    this.x = this.width / 2 - x * this.scale;
    this.y = this.height / 2 - y * this.scale;
    this.hold();
  }

  /** Zoom so that what is under a place of the stage stays there. */
  zoom(factor, x = this.width / 2, y = this.height / 2) {
    const [ix, iy] = this.toImage(x, y);
    const smallest = Math.min(this.fitScale, 1) / 2;
    this.scale = Math.min(Math.max(this.scale * factor, smallest), LARGEST);
    this.x = x - ix * this.scale;
    this.y = y - iy * this.scale;
    this.hold();
  }

  pan(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.hold();
  }

  /** The stage has another size; its middle keeps showing the same. */
  resize(width, height) {
    const [ix, iy] = this.toImage(this.width / 2, this.height / 2);
    this.width = width;
    this.height = height;
    this.centre(ix, iy);
  }

  /** Bring a box into sight by moving, never by zooming; what is in sight, or fills the stage, stays. @returns {boolean} moved */
  reveal([x0, y0, x1, y1]) {
    const [left, top] = this.toStage(x0, y0);
    const [right, bottom] = this.toStage(x1, y1);
    const slack = 1; // of rounding, when the image just fits
    const across = (left >= -slack && right <= this.width + slack) || (left <= 0 && right >= this.width);
    const down = (top >= -slack && bottom <= this.height + slack) || (top <= 0 && bottom >= this.height);
    if (across && down) return false;
    this.centre((x0 + x1) / 2, (y0 + y1) / 2);
    return true;
  }

  /** Fill the stage with a box. */
  show([x0, y0, x1, y1]) {
    this.scale = Math.min((this.width * 0.7) / (x1 - x0), (this.height * 0.7) / (y1 - y0), 16);
    this.centre((x0 + x1) / 2, (y0 + y1) / 2);
  }

  /** Never lose the image: some of it stays on the stage. */
  hold() {
    const keep = 40;
    const w = this.image.width * this.scale;
    const h = this.image.height * this.scale;
    this.x = Math.min(Math.max(this.x, keep - w), this.width - keep);
    this.y = Math.min(Math.max(this.y, keep - h), this.height - keep);
  }

  copy() {
    return { scale: this.scale, x: this.x, y: this.y };
  }
}

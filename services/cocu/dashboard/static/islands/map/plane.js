// The part of the map that is seen, and the way between its coordinates and pixels.

import { SIDE } from "./points.js";

const MOST_STRETCHED = 1.5;
const MARGIN = 1.1;
const SMALLEST = 200;
const clamped = (value) => Math.max(0, Math.min(SIDE - 1, value));

export class Plane {
  // element: what shows it. view: {x, y, size}, the centre, and the size of the whole map that is to be seen.
  constructor(element) {
    this.element = element;
    this.whole = { x: SIDE / 2, y: SIDE / 2, size: SIDE };
    this.extent = [SIDE, SIDE];
    this.view = this.whole;
  }

  // The whole map is what has points.
  fit({ x, y }) {
    const [low, high] = [[SIDE, SIDE], [0, 0]];
    for (let index = 0; index < x.length; index++) {
      if (x[index] < low[0]) low[0] = x[index];
      if (x[index] > high[0]) high[0] = x[index];
      if (y[index] < low[1]) low[1] = y[index];
      if (y[index] > high[1]) high[1] = y[index];
    }
    if (low[0] > high[0]) return;
    this.whole = { x: Math.round((low[0] + high[0]) / 2), y: Math.round((low[1] + high[1]) / 2), size: SIDE };
    this.extent = [0, 1].map((axis) => Math.max(1000, MARGIN * (high[axis] - low[axis])));
    this.view = this.whole;
  }

  get middle() {
    return [this.element.clientWidth / 2, this.element.clientHeight / 2];
  }

  // Pixels of a unit to the right and upwards. Distances on a map say little: it is stretched to the window a bit.
  get scale() {
    const full = [this.element.clientWidth / this.extent[0], this.element.clientHeight / this.extent[1]];
    const most = MOST_STRETCHED * Math.min(...full);
    return full.map((pixels) => (Math.min(pixels, most) * SIDE) / this.view.size);
  }

  toPixels([x, y], scale = this.scale) {
    const [left, top] = this.middle;
    return [left + (x - this.view.x) * scale[0], top - (y - this.view.y) * scale[1]];
  }

  toMap([left, top], scale = this.scale) {
    const [x, y] = this.middle;
    return [this.view.x + (left - x) / scale[0], this.view.y - (top - y) / scale[1]];
  }

  // The place of a pixel as a corner of a lasso.
  cornerAt(pixels) {
    return this.toMap(pixels).map((value) => Math.round(clamped(value)));
  }

  look({ x, y, size }) {
    this.view = { x: clamped(x), y: clamped(y), size };
  }

  // Nearer (below 1) or farther, with what lies below these pixels staying there.
  zoom(factor, pixels = this.middle) {
    const size = Math.max(SMALLEST, Math.min(1.5 * SIDE, this.view.size * factor));
    const [x, y] = this.toMap(pixels);
    this.look({ x: x + ((this.view.x - x) * size) / this.view.size, y: y + ((this.view.y - y) * size) / this.view.size, size });
  }

  // As the URL says it; null for the whole map.
  get text() {
    const view = [this.view.x, this.view.y, this.view.size].map(Math.round);
    const isWhole = view[0] === this.whole.x && view[1] === this.whole.y && view[2] === this.whole.size;
    return isWhole ? null : view.join("-");
  }
}

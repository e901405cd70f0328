// SPDX-License-Identifier: Apache-2.0
// Shows a frame with crisp pixels, lets it be zoomed and moved, and tells which pixel was meant.

// Screen pixels for one pixel of the frame: whole numbers above 1, so that all pixels are equally large.
const STEPS = [1 / 8, 1 / 4, 1 / 2, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64];
const COLOUR = "#78ff5a";
const SELECTED = "#ffb428";
const DRAG_PX = 5;

const clamped = (value, low, high) => Math.min(Math.max(value, low), high);

export class FrameCanvas {
  // tell: { place(row, column), select(index or -1), move(index, row, column), remove(index), hover(row, column or null) }
  constructor(canvas, tell) {
    this.canvas = canvas;
    this.pen = canvas.getContext("2d");
    this.tell = tell;
    this.image = null;
    this.size = [0, 0];
    this.points = [];
    this.selected = -1;
    this.scale = 1;
    this.offset = [0, 0];
    this.fitted = true;
    this.pointers = new Map();
    this.drag = null;
    new ResizeObserver(() => this.resize()).observe(canvas);
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.moved(event));
    canvas.addEventListener("pointerup", (event) => this.up(event));
    canvas.addEventListener("pointercancel", (event) => this.cancel(event));
    canvas.addEventListener("pointerleave", () => tell.hover(null, null));
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("contextmenu", (event) => {
      event.preventDefault();
      const hit = this.hit(this.at(event), "mouse");
      if (hit >= 0) tell.remove(hit);
    });
  }

  get ratio() {
    return window.devicePixelRatio || 1;
  }

  // The place stays when the next frame has the same size, so that a target can be followed.
  show(image) {
    const size = image ? [image.naturalHeight, image.naturalWidth] : [0, 0];
    const same = size[0] === this.size[0] && size[1] === this.size[1];
    this.image = image;
    this.size = size;
    if (!same || this.fitted) this.fit();
    else this.draw();
  }

  mark(points, selected) {
    this.points = points;
    this.selected = selected;
    this.draw();
  }

  resize() {
    const width = Math.round(this.canvas.clientWidth * this.ratio);
    const height = Math.round(this.canvas.clientHeight * this.ratio);
    if (!width || !height || (width === this.canvas.width && height === this.canvas.height)) return;
    this.canvas.width = width;
    this.canvas.height = height;
    if (this.fitted) this.fit();
    else this.settle();
  }

  fit() {
    this.fitted = true;
    const [height, width] = this.size;
    if (!height) return this.draw();
    const least = Math.min(this.canvas.width / width, this.canvas.height / height);
    this.scale = least >= 1 ? Math.floor(least) : least;
    this.offset = [(this.canvas.width - width * this.scale) / 2, (this.canvas.height - height * this.scale) / 2];
    this.settle();
  }

  // One step in (1) or out (-1) around a place on the screen, or around the middle.
  zoom(direction, place = [this.canvas.width / 2, this.canvas.height / 2]) {
    const next = direction > 0 ? STEPS.find((step) => step > this.scale * 1.001) : STEPS.findLast((step) => step < this.scale * 0.999);
    if (next) this.rescale(next, place);
  }

  rescale(scale, [x, y]) {
    const kept = [(x - this.offset[0]) / this.scale, (y - this.offset[1]) / this.scale];
    this.fitted = false;
    this.scale = scale;
    this.offset = [x - kept[0] * scale, y - kept[1] * scale];
    this.settle();
  }

  // Some of the frame always stays in sight, and begins on a whole pixel of the screen.
  settle() {
    const [height, width] = this.size;
    const extents = [[width * this.scale, this.canvas.width], [height * this.scale, this.canvas.height]];
    this.offset = this.offset.map((offset, i) => {
      const [length, room] = extents[i];
      const edge = Math.min(length, room) / 2;
      return Math.round(clamped(offset, edge - length, room - edge));
    });
    this.draw();
  }

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * this.ratio, (event.clientY - box.top) * this.ratio];
  }

  pixel([x, y]) {
    const row = Math.floor((y - this.offset[1]) / this.scale);
    const column = Math.floor((x - this.offset[0]) / this.scale);
    return row >= 0 && column >= 0 && row < this.size[0] && column < this.size[1] ? [row, column] : null;
  }

  centre([row, column]) {
    return [(column + 0.5) * this.scale + this.offset[0], (row + 0.5) * this.scale + this.offset[1]];
  }

  radius() {
    return Math.max(7 * this.ratio, 0.9 * this.scale);
  }

  // The point under a place, or -1. A finger is wider than a mouse.
  hit(place, kind) {
    const reach = Math.max(this.radius(), (kind === "touch" ? 16 : 8) * this.ratio);
    const far = this.points.map((point) => {
      const [x, y] = this.centre(point);
      return Math.hypot(x - place[0], y - place[1]);
    });
    const nearest = far.indexOf(Math.min(...far));
    return nearest >= 0 && far[nearest] <= reach ? nearest : -1;
  }

  down(event) {
    if (event.button > 0 || !this.image) return;
    this.canvas.setPointerCapture(event.pointerId);
    const place = this.at(event);
    this.pointers.set(event.pointerId, place);
    if (this.pointers.size > 1) {
      this.drag = { pinched: true };
      this.draw();
      return;
    }
    this.drag = { from: place, last: place, point: this.hit(place, event.pointerType), moved: false, to: null };
  }

  moved(event) {
    const place = this.at(event);
    this.tell.hover(...(this.pixel(place) ?? [null, null]));
    if (!this.pointers.has(event.pointerId)) return;
    const before = [...this.pointers.values()];
    this.pointers.set(event.pointerId, place);
    if (this.pointers.size > 1) return this.pinch(before, [...this.pointers.values()]);
    if (!this.drag || this.drag.pinched) return;
    const far = Math.hypot(place[0] - this.drag.from[0], place[1] - this.drag.from[1]);
    if (!this.drag.moved && far < DRAG_PX * this.ratio) return;
    this.drag.moved = true;
    this.canvas.classList.add("dragging");
    if (this.drag.point >= 0) {
      this.drag.to = this.pixel(place);
      this.draw();
    } else {
      this.fitted = false;
      this.offset = [this.offset[0] + place[0] - this.drag.last[0], this.offset[1] + place[1] - this.drag.last[1]];
      this.settle();
    }
    this.drag.last = place;
  }

  pinch([a, b], [c, d]) {
    const spread = (p, q) => Math.max(1, Math.hypot(p[0] - q[0], p[1] - q[1]));
    const middle = (p, q) => [(p[0] + q[0]) / 2, (p[1] + q[1]) / 2];
    const [from, to] = [middle(a, b), middle(c, d)];
    this.offset = [this.offset[0] + to[0] - from[0], this.offset[1] + to[1] - from[1]];
    const scale = (this.scale * spread(c, d)) / spread(a, b);
    this.rescale(clamped(scale, STEPS[0], STEPS[STEPS.length - 1]), to);
  }

  up(event) {
    if (!this.pointers.delete(event.pointerId)) return;
    const drag = this.drag;
    if (drag?.pinched) {
      // Whole steps again, when the fingers are off.
      if (this.pointers.size === 0) {
        const nearest = STEPS.reduce((a, b) => (Math.abs(Math.log(b / this.scale)) < Math.abs(Math.log(a / this.scale)) ? b : a));
        this.rescale(nearest, [this.canvas.width / 2, this.canvas.height / 2]);
        this.drag = null;
      }
      return;
    }
    this.drag = null;
    this.canvas.classList.remove("dragging");
    if (!drag) return;
    if (drag.moved) {
      if (drag.point >= 0 && drag.to) this.tell.move(drag.point, ...drag.to);
      return this.draw();
    }
    const pixel = this.pixel(drag.from);
    if (drag.point >= 0) this.tell.select(drag.point);
    else if (pixel) this.tell.place(...pixel);
    else this.tell.select(-1);
  }

  cancel(event) {
    this.pointers.delete(event.pointerId);
    this.drag = null;
    this.canvas.classList.remove("dragging");
    this.draw();
  }

  wheel(event) {
    event.preventDefault();
    if (this.image && event.deltaY) this.zoom(event.deltaY < 0 ? 1 : -1, this.at(event));
  }

  draw() {
    const { pen, canvas } = this;
    pen.fillStyle = "#000";
    pen.fillRect(0, 0, canvas.width, canvas.height);
    // Where tests and people find the pixels again: in CSS pixels.
    Object.assign(canvas.dataset, {
      scale: this.scale / this.ratio,
      left: this.offset[0] / this.ratio,
      top: this.offset[1] / this.ratio,
    });
    this.tell.zoomed(this.scale);
    if (!this.image) return;
    const [height, width] = this.size;
    // A frame that is larger than the screen is averaged: left out, a pixel could be a target.
    pen.imageSmoothingEnabled = this.scale < 1;
    pen.imageSmoothingQuality = "high";
    pen.drawImage(this.image, ...this.offset, width * this.scale, height * this.scale);
    this.points.forEach((point, index) => {
      const moving = this.drag?.moved && this.drag.point === index && this.drag.to;
      this.ring(moving ? this.drag.to : point, index === this.selected ? SELECTED : COLOUR);
    });
  }

  // A ring with ticks, free in the middle, so that the target's own pixels can be seen.
  ring(point, colour) {
    const [x, y] = this.centre(point);
    const [inner, tick] = [this.radius(), 5 * this.ratio];
    this.pen.beginPath();
    this.pen.arc(x, y, inner, 0, 2 * Math.PI);
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      this.pen.moveTo(x + dx * inner, y + dy * inner);
      this.pen.lineTo(x + dx * (inner + tick), y + dy * (inner + tick));
    }
    this.stroke(colour, 1.5 * this.ratio);
    if (this.scale < 8 * this.ratio) return;
    this.pen.beginPath();
    this.pen.rect(x - this.scale / 2, y - this.scale / 2, this.scale, this.scale);
    this.stroke(colour, this.ratio);
  }

  // A dark line under the coloured one, so that it shows on bright ground too.
  stroke(colour, width) {
    this.pen.lineWidth = width + 2 * this.ratio;
    this.pen.strokeStyle = "rgba(0, 0, 0, 0.55)";
    this.pen.stroke();
    this.pen.lineWidth = width;
    this.pen.strokeStyle = colour;
    this.pen.stroke();
  }
}

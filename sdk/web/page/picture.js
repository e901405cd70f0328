// SPDX-License-Identifier: Apache-2.0
// Draws the picture of a result with its targets, tracks and trails; never a picture with the marks of another one.

const COLOURS = ["#5abeff", "#ffb428", "#3cdcaa", "#faf05a", "#ff8246", "#eb96cd", "#96a0ff"];
const MARK = "#78ff5a";
const UNTRACKED = "#969696";
const TRAIL = 60;
const LEAST_WIDTH = 640;

export class Picture {
  constructor(canvas) {
    this.canvas = canvas;
    this.pen = canvas.getContext("2d");
    this.held = false;
    this.loading = false;
    this.trails = new Map();
    this.taken = [];
  }

  // Follows every result, and draws when the last picture is through: a slow line shows fewer pictures, not older ones.
  show(status) {
    this.follow(status.result.tracks);
    if (this.held || this.loading) return;
    this.loading = true;
    const image = new Image();
    image.onload = () => {
      this.loading = false;
      this.draw(image, status);
    };
    image.onerror = () => {
      this.loading = false;
    };
    image.src = `/picture/${status.number}.jpg`;
  }

  follow(tracks) {
    const kept = new Map();
    for (const track of tracks) {
      const points = this.trails.get(track.id) ?? [];
      points.push([track.x, track.y]);
      kept.set(track.id, points.slice(-TRAIL));
    }
    this.trails = kept;
  }

  draw(image, status) {
    const { result } = status;
    const [height, width] = result.shape;
    const scale = Math.max(1, Math.ceil(LEAST_WIDTH / width));
    if (this.canvas.width !== width * scale || this.canvas.height !== height * scale) {
      this.canvas.width = width * scale;
      this.canvas.height = height * scale;
    }
    this.pen.imageSmoothingEnabled = false;
    this.pen.drawImage(image, 0, 0, width * scale, height * scale);
    this.taken = [];
    const tracked = result.tracks.length > 0;
    for (const track of result.tracks) this.drawTrack(track, scale);
    for (const target of result.targets) {
      const colour = target.track_id >= 0 ? this.colour(target.track_id) : tracked ? UNTRACKED : MARK;
      this.drawTarget(target, scale, colour);
    }
    this.canvas.dataset.number = String(status.number);
  }

  colour(id) {
    return COLOURS[id % COLOURS.length];
  }

  // Corner brackets with free space around the target, so that its own pixels stay as they are.
  drawTarget(target, scale, colour) {
    const [x0, y0, x1, y1] = target.xyxy;
    const halfWidth = Math.max((x1 - x0) / 2 + 3, 6) * scale;
    const halfHeight = Math.max((y1 - y0) / 2 + 3, 6) * scale;
    const x = ((x0 + x1) / 2) * scale;
    const y = ((y0 + y1) / 2) * scale;
    const arm = Math.min(halfWidth, halfHeight) / 2;
    this.pen.beginPath();
    for (const [right, down] of [[-1, -1], [1, -1], [1, 1], [-1, 1]]) {
      const cornerX = x + right * halfWidth;
      const cornerY = y + down * halfHeight;
      this.pen.moveTo(cornerX - right * arm, cornerY);
      this.pen.lineTo(cornerX, cornerY);
      this.pen.lineTo(cornerX, cornerY - down * arm);
    }
    this.stroke(colour, 2);
    const name = target.track_id >= 0 ? `${target.track_id}  ` : "";
    this.label(`${name}${target.score.toFixed(2)}`, x + halfWidth + 4, y - halfHeight + 4, colour);
  }

  drawTrack(track, scale) {
    const points = this.trails.get(track.id) ?? [];
    this.pen.beginPath();
    points.forEach(([x, y], i) => (i ? this.pen.lineTo(x * scale, y * scale) : this.pen.moveTo(x * scale, y * scale)));
    this.stroke(this.colour(track.id), 1.5);
    if (track.state !== "coasting") return;
    const [x, y, size] = [track.x * scale, track.y * scale, 7];
    this.pen.beginPath();
    this.pen.moveTo(x, y - size);
    this.pen.lineTo(x + size, y);
    this.pen.lineTo(x, y + size);
    this.pen.lineTo(x - size, y);
    this.pen.closePath();
    this.stroke(this.colour(track.id), 1.5);
    this.label(String(track.id), x + size + 4, y, this.colour(track.id));
  }

  // A dark line under the coloured one, so that it shows on bright ground too.
  stroke(colour, width) {
    this.pen.lineWidth = width + 2;
    this.pen.strokeStyle = "rgba(0, 0, 0, 0.6)";
    this.pen.stroke();
    this.pen.lineWidth = width;
    this.pen.strokeStyle = colour;
    this.pen.stroke();
  }

  // Below the labels that are in its way, so that two targets side by side can both be read.
  label(text, x, y, colour) {
    const height = Math.max(12, Math.round(this.canvas.width / 55));
    this.pen.font = `${height}px system-ui, sans-serif`;
    this.pen.textBaseline = "middle";
    const width = this.pen.measureText(text).width;
    const left = x + width > this.canvas.width ? x - width - 24 : x;
    const blocks = ([otherLeft, otherTop, otherWidth]) =>
      left < otherLeft + otherWidth && otherLeft < left + width && Math.abs(top - otherTop) < height;
    let top = y;
    while (this.taken.some(blocks)) top += height / 4;
    this.taken.push([left, top, width]);
    this.pen.lineWidth = 3;
    this.pen.strokeStyle = "rgba(0, 0, 0, 0.8)";
    this.pen.strokeText(text, left, top);
    this.pen.fillStyle = colour;
    this.pen.fillText(text, left, top);
  }
}

// SPDX-License-Identifier: Apache-2.0
// The age of results, and captured, processed and dropped frames a second, over the last minutes.

const KEPT = 300;
const PROCESSED = "#78ff5a";
const CAPTURED = "#a4afb8";
const DROPPED = "#ff8246";

export class Plots {
  constructor(ages, rates) {
    this.ageCanvas = ages;
    this.rateCanvas = rates;
    this.ages = [];
    this.rates = [];
    this.number = -1;
    this.before = null;
  }

  add(status) {
    if (status.number < this.number) this.before = null; // the server was started again
    if (status.result && status.number !== this.number) {
      const { timing } = status.result;
      this.ages.push(timing.age_ms ?? timing.total_ms);
      this.ages = this.ages.slice(-KEPT);
      this.number = status.number;
      plot(this.ageCanvas, [[this.ages, PROCESSED]], "ms");
    }
    this.addRates(status.stats);
  }

  addRates(stats) {
    const dropped = Object.values(stats.dropped).reduce((sum, count) => sum + count, 0);
    const now = { time: performance.now(), captured: stats.captured, processed: stats.processed, dropped };
    const seconds = this.before ? (now.time - this.before.time) / 1000 : 0;
    if (this.before && seconds < 1) return;
    if (this.before) {
      const rate = (key) => Math.max(0, now[key] - this.before[key]) / seconds;
      this.rates.push([rate("captured"), rate("processed"), rate("dropped")]);
      this.rates = this.rates.slice(-KEPT);
      const line = (index) => this.rates.map((values) => values[index]);
      plot(this.rateCanvas, [[line(0), CAPTURED], [line(1), PROCESSED], [line(2), DROPPED]], "/s");
    }
    this.before = now;
  }
}

function plot(canvas, lines, unit) {
  const pixels = window.devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * pixels);
  const height = Math.round(canvas.clientHeight * pixels);
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const pen = canvas.getContext("2d");
  const top = rounded(Math.max(1, ...lines.flatMap(([values]) => values)));
  const left = 58 * pixels;  // of "2000 ms"
  pen.clearRect(0, 0, width, height);
  pen.font = `${11 * pixels}px system-ui, sans-serif`;
  pen.textAlign = "right";
  pen.lineWidth = 1;
  for (const share of [0, 0.5, 1]) {
    const y = height - 8 * pixels - share * (height - 16 * pixels);
    pen.strokeStyle = "#343c43";
    pen.beginPath();
    pen.moveTo(left, y);
    pen.lineTo(width, y);
    pen.stroke();
    pen.fillStyle = "#a4afb8";
    pen.fillText(`${+(share * top).toPrecision(3)} ${unit}`, left - 6 * pixels, y + 4 * pixels);
  }
  pen.lineWidth = 1.5 * pixels;
  for (const [values, colour] of lines) {
    pen.strokeStyle = colour;
    pen.beginPath();
    values.forEach((value, i) => {
      const x = left + ((width - left) * i) / Math.max(1, KEPT - 1);
      const y = height - 8 * pixels - (value / top) * (height - 16 * pixels);
      if (i) pen.lineTo(x, y);
      else pen.moveTo(x, y);
    });
    pen.stroke();
  }
}

// The next of 1, 2, 5, 10, ... so that the axis does not move with every value.
function rounded(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 5, 10].find((step) => step * power >= value);
}

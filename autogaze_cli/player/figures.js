// The figures of the viewer: now, on average, and over the whole view as a summary.

const KEPT_TIMES = 1000; // for the percentiles

/** A number that comes again and again, in constant memory. */
class Series {
  constructor() {
    this.average = new MovingAverage();
    this.latest = null;
    this.count = 0;
    this.sum = 0;
    this.kept = [];
  }

  add(value) {
    this.latest = value;
    this.average.add(value);
    if (!Number.isFinite(value)) return;
    this.kept[this.count % KEPT_TIMES] = value;
    this.count += 1;
    this.sum += value;
  }

  get mean() {
    return this.count ? this.sum / this.count : null;
  }

  /** The numbers of a summary: mean, median, 95th percentile and most of the latest thousand. */
  summary() {
    const sorted = this.kept.slice().sort((a, b) => a - b);
    const at = (share) => (sorted.length ? sorted[Math.ceil(share * sorted.length) - 1] : null);
    const moving = this.average.value;
    return {
      mean: this.mean,
      moving_average: Number.isFinite(moving) ? moving : null,
      p50: at(0.5),
      p95: at(0.95),
      max: at(1),
    };
  }
}

/** How often something happens, from the times between. */
class Rate extends Series {
  tick(now) {
    if (this.before !== undefined && now > this.before) this.add(1000 / (now - this.before));
    this.before = now;
    this.first ??= now;
    this.ticks = (this.ticks ?? 0) + 1;
  }

  /** Per second, from the first time to the last. */
  get overall() {
    return this.ticks > 1 ? (1000 * (this.ticks - 1)) / (this.before - this.first) : null;
  }
}

class Figures {
  constructor() {
    this.shown = new Rate();
    this.gazed = new Rate();
    this.gaze = new Series();
    this.draw = new Series();
    this.updated = new Series();
    this.masked = new Series();
    this.psnr = new Series();
    this.cells = new Series();
    this.dropped = 0;
  }

  /** The performance summary, as JSON has it. */
  summary(about) {
    const rate = (one) => ({ frames: one.ticks ?? 0, fps: one.overall });
    return {
      format: "autogaze-viewer-summary",
      version: 1,
      ...about,
      shown: rate(this.shown),
      gazed: { ...rate(this.gazed), dropped: this.dropped },
      gaze_ms: this.gaze.summary(),
      draw_ms: this.draw.summary(),
      gaze_ratio: this.updated.summary(),
      mask_ratio: this.masked.summary(),
      output_psnr_db: this.psnr.summary(),
      cells: this.cells.summary(),
    };
  }
}

const FIGURES = {
  shown: ["frames shown per second", (value) => value.toFixed(1)],
  gazed: ["frames gazed per second", (value) => value.toFixed(1)],
  gaze: ["for the gaze of a frame", (value) => `${value.toFixed(1)} ms`],
  updated: ["of the pixels updated (gaze ratio)", percent],
  masked: ["of the pixels under cells", percent],
  psnr: ["PSNR of the output", (value) => (value === Infinity ? "∞ dB" : `${value.toFixed(1)} dB`)],
};

function layFigures() {
  byId("tiles").append(
    ...Object.entries(FIGURES).map(([id, [label]]) =>
      html(
        "li",
        {},
        html("b", { id: `figure-${id}`, textContent: "–" }),
        html("span", { textContent: label }),
        html("small", { id: `average-${id}`, textContent: "moving average –" }),
      ),
    ),
  );
}

function tellFigures(figures) {
  for (const [id, [, text]] of Object.entries(FIGURES)) {
    const { latest, average } = figures[id];
    byId(`figure-${id}`).textContent = latest === null ? "–" : text(latest);
    byId(`average-${id}`).textContent = `moving average ${average.value === null ? "–" : text(average.value)}`;
  }
}

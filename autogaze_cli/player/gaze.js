// Where to look: a model's streams, or the cells that changed. Both take pictures one after another,
// { width, height, data: bytes of RGBA }, and return { cells, slots, stopProbability }; `slots` counts the
// token positions of each tile, padding included.

const NO_STREAM = { layout: null, streams: [] };

/** Gazes with a model, tile by tile, each tile a stream of its own. */
class ModelGaze {
  constructor(network) {
    this.network = network;
    this.state = NO_STREAM;
  }

  /** Forget all frames. */
  reset() {
    for (const stream of this.state.streams) this.network.freeStream(stream);
    this.state = NO_STREAM;
  }

  /** The tiles of a picture; they start as new streams where they are others than before. */
  layoutFor(settings, { width, height }) {
    const layout = new TileLayout(settings, width, height);
    if (JSON.stringify(layout) !== JSON.stringify(this.state.layout)) {
      this.reset();
      const streams = Array.from({ length: layout.count }, () => this.network.newStream());
      this.state = { layout, streams };
    }
    return layout;
  }

  /**
   * The next frame.
   *
   * settings: mode, tile_size, stride; top_k; max_gaze_tokens_each_frame, null = the model's own;
   * task_loss_requirement, "model" = its own, null = none; horizon_frames, 0 = all.
   */
  frame(picture, settings) {
    const { config } = this.network;
    const layout = this.layoutFor(settings, picture);
    const most = Math.max(settings.max_gaze_tokens_each_frame ?? config.budget, settings.top_k, 1);
    const wanted = settings.task_loss_requirement;
    const requirement = wanted === "model" ? config.requirement : wanted;
    const found = [];
    const slots = [];
    this.network.setPicture(picture);
    this.state.streams.forEach((stream, tile) => {
      this.network.setInput(layout, tile);
      const gaze = this.network.gaze(stream, most, settings.horizon_frames, requirement);
      slots.push(gaze.ids.length);
      gaze.ids.forEach((id, slot) => {
        if (id < config.ids) found.push({ ...this.cell(id), confidence: gaze.confidences[slot], tile, slot });
      });
    });
    const stopped = found.length < slots.reduce((sum, value) => sum + value, 0);
    const placed = found.map((cell) => layout.place(cell)).filter(Boolean);
    if (layout.mode !== "resize") placed.sort((a, b) => b.confidence - a.confidence);
    return { cells: columnsOf(placed), slots, stopProbability: Number(stopped) };
  }

  /** The cell of an id, in its tile. */
  cell(id) {
    let local = id;
    const grid = this.network.config.grids.find((own) => {
      if (local < own * own) return true;
      local -= own * own;
      return false;
    });
    const extent = f32(1 / grid);
    const x = f32(f32((local % grid) + 0.5) / grid);
    const y = f32(f32(Math.floor(local / grid) + 0.5) / grid);
    return { x, y, width: extent, height: extent, grid, token: id };
  }
}

const SCORE_OF_STEP = IMAGE_STD.map((std) => 1 / (127.5 * std * 3));

/** Gazes at the cells that differ from the picture before, as sources/patch_diff.py. */
class PatchDiffGaze {
  constructor() {
    this.reset();
  }

  reset() {
    this.previous = null;
  }

  /** The next frame; settings: patch_diff_grid, patch_diff_threshold. */
  frame({ width, height, data }, settings) {
    const { patch_diff_grid: grid, patch_diff_threshold: threshold } = settings;
    let chosen = [];
    if (this.previous?.length === data.length && this.width === width) {
      const scores = patchScores(this.previous, data, width, height, grid);
      const above = Array.from(scores.keys()).filter((cell) => scores[cell] > f32(threshold));
      chosen = above.sort((a, b) => scores[b] - scores[a]).map((token, slot) => {
        const x = f32(f32((token % grid) + 0.5) / grid);
        const y = f32(f32(Math.floor(token / grid) + 0.5) / grid);
        const extent = f32(1 / grid);
        const confidence = threshold > 0 ? 1 : clamp(scores[token], EPSILON, 1);
        return { x, y, width: extent, height: extent, confidence, grid, token, tile: 0, slot };
      });
    }
    if (this.previous?.length !== data.length) this.previous = new Uint8ClampedArray(data.length);
    this.previous.set(data);
    this.width = width;
    return { cells: columnsOf(chosen), slots: [chosen.length], stopProbability: 1 };
  }
}

/** First and one past the last pixel of each cell; neighbours may share one. */
const binsOf = (length, grid) =>
  Array.from({ length: grid }, (_, i) => [Math.floor((i * length) / grid), Math.ceil(((i + 1) * length) / grid)]);

/** Every cell's score: the mean absolute difference of normalised pictures, a Float32Array. */
function patchScores(previous, current, width, height, grid) {
  const columns = binsOf(width, grid);
  const scores = new Float32Array(grid * grid);
  binsOf(height, grid).forEach(([top, bottom], row) => {
    columns.forEach(([left, right], column) => {
      let [red, green, blue] = [0, 0, 0];
      for (let y = top; y < bottom; y += 1) {
        const end = 4 * (y * width + right);
        for (let i = 4 * (y * width + left); i < end; i += 4) {
          red += Math.abs(current[i] - previous[i]);
          green += Math.abs(current[i + 1] - previous[i + 1]);
          blue += Math.abs(current[i + 2] - previous[i + 2]);
        }
      }
      const sum = red * SCORE_OF_STEP[0] + green * SCORE_OF_STEP[1] + blue * SCORE_OF_STEP[2];
      scores[row * grid + column] = sum / ((bottom - top) * (right - left));
    });
  });
  return scores;
}

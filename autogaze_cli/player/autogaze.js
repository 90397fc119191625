// The class of docs/viewer.md: a model that gazes at clips of RGBA bytes, and draws what it saw.

const oneOf = (...values) => (value) => values.includes(value) || `one of ${values.join(", ")}`;
const atLeast = (low) => (value) => (Number.isFinite(value) && value >= low) || `a number of at least ${low}`;
const wholeFrom = (low) => (value) => (Number.isInteger(value) && value >= low) || `a whole number of at least ${low}`;
const orOneOf = (others, check) => (value) => others.includes(value) || check(value);

// Property: its name in settings and on the command line, its value at first, and what it may be.
const PROPERTIES = {
  mode: ["mode", "resize", oneOf("resize", "tiled", "tiled-full")],
  tileSize: ["tile_size", 224, wholeFrom(1)],
  stride: ["stride", null, orOneOf([null], wholeFrom(1))],
  topK: ["top_k", 1, wholeFrom(1)],
  maxGazeTokensEachFrame: ["max_gaze_tokens_each_frame", null, orOneOf([null], wholeFrom(1))],
  taskLossRequirement: ["task_loss_requirement", "model", orOneOf(["model", null], atLeast(0))],
  horizonFrames: ["horizon_frames", 16, wholeFrom(1)],
  maskVisualization: [
    "mask_visualization",
    "image-mask-only",
    oneOf("scale-rows", "overlay", "image-overlay", "image-mask-only"),
  ],
  maskGeometry: ["mask_geometry", "native", oneOf("native", "deduplicated", "effective")],
  maskCellScale: ["mask_cell_scale", 1, atLeast(0)],
  blendAlpha: ["blend_alpha", 0.38, atLeast(0)],
  visualizationMode: ["visualization_mode", "full-blend", oneOf("interframe", "full-blend")],
  keyframeDuration: ["keyframe_duration", 30, wholeFrom(0)],
};

const psnrText = (value) => (value === Infinity ? "inf dB" : `${value.toFixed(2)} dB`);
const bytesView = (words) => new Uint8ClampedArray(words.buffer, words.byteOffset, words.byteLength);

/** One gazed frame: its cells, and what is drawn and measured of them. */
class GazedFrame {
  #picture;

  constructor(picture, gaze, view, mask) {
    this.#picture = picture;
    this.cells = gaze.cells;
    this.slots = gaze.slots;
    this.stopProbability = gaze.stopProbability;
    this.keyframe = view.keyframe;
    this.maskPixelCount = view.maskPixels;
    this.updatedPixelCount = view.updatedPixels;
    this.maskRatio = view.maskPixels / picture.data.length;
    this.updateRatio = view.updatedPixels / picture.data.length;
    this.psnrDb = psnr(picture.data, view.output);
    this.psnrText = psnrText(this.psnrDb);
    this.maskRgba = bytesView(mask);
    this.outputRgba = bytesView(view.output);
  }

  /** Input, mask and output side by side, RGBA bytes of three times the width. */
  get sideBySideRgba() {
    const { width, height, data } = this.#picture;
    const parts = [data, new Uint32Array(this.maskRgba.buffer), new Uint32Array(this.outputRgba.buffer)];
    const all = new Uint32Array(3 * data.length);
    for (let y = 0; y < height; y += 1) {
      parts.forEach((part, i) => all.set(part.subarray(y * width, (y + 1) * width), (3 * y + i) * width));
    }
    return bytesView(all);
  }

  /** The cells as JSON: an object of nine lists, as `fixations` of a trace. */
  get pointsJson() {
    return JSON.stringify(this.cells, (_, value) => (ArrayBuffer.isView(value) ? Array.from(value) : value));
  }
}

/** A model in this page. */
class AutoGaze {
  #gaze;
  #compositor = new Compositor();

  static version = VERSION;

  /**
   * Load a checkpoint.
   *
   * configJson: the text of config.json; safetensors: the bytes of model.safetensors;
   * preprocessorJson: the text of preprocessor_config.json, left out = the published one.
   * Throws an Error that says what does not fit.
   */
  static async create(configJson, safetensors, preprocessorJson) {
    const code = Uint8Array.from(atob(WASM), (sign) => sign.charCodeAt(0));
    return new AutoGaze(await Network.create(code, configJson, safetensors, preprocessorJson));
  }

  constructor(network) {
    this.#gaze = new ModelGaze(network);
    this.settings = {};
    for (const [name, [, first]] of Object.entries(PROPERTIES)) this[name] = first;
  }

  /** The requirement in decibels, 20 dB = 0.1; null where there is none or it is the model's own. */
  get taskLossRequirementDb() {
    const value = this.taskLossRequirement;
    return typeof value === "number" ? -20 * Math.log10(value) : null;
  }

  set taskLossRequirementDb(db) {
    this.taskLossRequirement = f32(10 ** (-Math.max(db, 0) / 20));
  }

  /** How many tiles a frame of that size has. */
  tileCount(width, height) {
    return new TileLayout(this.settings, width, height).count;
  }

  /** Begin the next output with a keyframe. */
  resetVisualizationState() {
    this.#compositor.reset();
  }

  /** Forget the frames that inferRgbaFrame has seen. */
  resetStream() {
    this.#gaze.reset();
  }

  /**
   * Gaze at a clip: all of its frames are remembered, and none of before.
   *
   * bytes: RGBA, frame after frame, row after row. Returns width, height, tileCount and frames.
   */
  inferRgbaClip(bytes, frames, width, height) {
    const size = 4 * width * height;
    if (!(frames > 0 && bytes.length === frames * size)) {
      throw new Error(`${bytes.length} bytes are not ${frames} frames of ${width} x ${height} RGBA`);
    }
    this.#gaze.reset();
    const found = [];
    for (let i = 0; i < frames; i += 1) {
      found.push(this.#frame(bytes.slice(i * size, (i + 1) * size), width, height, 0));
    }
    this.#gaze.reset();
    return { width, height, tileCount: this.tileCount(width, height), frames: found };
  }

  /** Gaze at the next frame of a stream, with horizonFrames of context; returns the frame. */
  inferRgbaFrame(bytes, width, height) {
    if (bytes.length !== 4 * width * height || !bytes.length) {
      throw new Error(`${bytes.length} bytes are not a frame of ${width} x ${height} RGBA`);
    }
    return this.#frame(bytes.slice(), width, height, this.horizonFrames);
  }

  #frame(bytes, width, height, horizon) {
    const { settings } = this;
    const gaze = this.#gaze.frame({ width, height, data: bytes }, { ...settings, horizon_frames: horizon });
    const picture = { width, height, data: new Uint32Array(bytes.buffer) };
    const points = Array.from(gaze.cells.x.keys());
    const view = this.#compositor.step(picture, gaze.cells, points, settings);
    const mask = maskPanel(picture.data, gaze.cells, points, width, height, settings);
    return new GazedFrame(picture, gaze, view, mask);
  }
}

for (const [name, [key, , check]] of Object.entries(PROPERTIES)) {
  Object.defineProperty(AutoGaze.prototype, name, {
    get() {
      return this.settings[key];
    },
    set(value) {
      const right = check(value);
      if (right !== true) throw new Error(`${name} must be ${right}, not ${value}`);
      this.settings[key] = value;
    },
  });
}

globalThis.AutoGaze = AutoGaze;

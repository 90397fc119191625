// The gaze of the viewer, in a thread of its own. One frame comes and goes at a time; its settings come with it.

const patchDiff = new PatchDiffGaze();
let model = null;
let last = null; // the mask source of the frame before

const messages = {
  /** Load a checkpoint, or another one: { code, config, weights, processor }. */
  async load({ code, config, weights, processor }) {
    const start = performance.now();
    const network = await Network.create(code, config, weights, processor);
    model = new ModelGaze(network);
    const { scales, ids, budget, requirement } = network.config;
    postMessage({ type: "ready", scales, ids, budget, requirement, milliseconds: performance.now() - start });
  },

  /** Gaze at a frame: { number, width, height, pixels: ArrayBuffer of RGBA, settings }. */
  frame({ number, width, height, pixels, settings }) {
    const source = settings.mask_source === "autogaze" ? model : patchDiff;
    if (last !== source) source?.reset();
    last = source;
    const start = performance.now();
    const gaze = source?.frame({ width, height, data: new Uint8ClampedArray(pixels) }, settings) ?? null;
    const milliseconds = performance.now() - start;
    postMessage({ type: "gazed", number, width, height, pixels, gaze, milliseconds }, [pixels]);
  },

  /** Forget all frames. */
  reset() {
    patchDiff.reset();
    model?.reset();
  },
};

onmessage = async ({ data }) => {
  try {
    await messages[data.type](data);
  } catch (error) {
    postMessage({ type: "failed", what: data.type, message: error.message });
  }
};

// A model in WebAssembly (model/browser/browser.c): its memory, its streams, its frames.

class Network {
  /** From the bytes of the WebAssembly, of model.safetensors, and the texts of the JSON files. */
  static async create(code, configText, weights, processorText) {
    const config = readConfig(configText, processorText);
    const tensors = readTensors(weights, config);
    const { instance } = await WebAssembly.instantiate(code, {});
    return new Network(instance.exports, config, tensors);
  }

  constructor(code, config, tensors) {
    this.code = code;
    this.config = config;
    code._initialize();
    const pointers = tensors.map(({ type, count, bytes }) => {
      const raw = this.place(bytes);
      const pointer = code.expand(raw, type, count);
      code.free(raw);
      return pointer;
    });
    const c = config;
    const sizes = [c.side, c.patch, c.channels, c.depth, c.time, c.space, c.hidden, c.inner];
    sizes.push(c.layers, c.heads, c.ids + 1, c.chunk, c.shortest);
    const numbers = [c.eps, ...c.mean, ...c.std, ...c.frequencies];
    const both = new Uint32Array([...sizes, ...new Uint32Array(new Float32Array(numbers).buffer)]);
    this.model = code.new_model(this.place(both), this.place(new Uint32Array(pointers)));
    this.input = this.reserve(4 * 3 * c.side * c.side);
    this.ids = this.reserve(4 * c.ids);
    this.confidences = this.reserve(4 * c.ids);
    this.scores = this.reserve(4 * c.chunk * (c.ids + 2));
    this.picture = 0;
    this.pictureBytes = 0;
  }

  /** The address of so many bytes. */
  reserve(bytes) {
    const pointer = bytes < 2 ** 31 ? this.code.malloc(bytes) : 0;  // its argument has 32 bits
    if (!pointer) throw new Error(`no memory for ${bytes} bytes`);
    return pointer;
  }

  /** The address of a copy of an array. */
  place(array) {
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    const pointer = this.reserve(bytes.length);
    new Uint8Array(this.code.memory.buffer).set(bytes, pointer);
    return pointer;
  }

  /** Take a picture, { width, height, data: bytes of RGBA }, for `whole` and `tile`. */
  setPicture({ width, height, data }) {
    if (data.length !== this.pictureBytes) {
      this.code.free(this.picture);
      this.picture = this.pictureBytes = 0;
      this.picture = this.reserve(data.length);
      this.pictureBytes = data.length;
    }
    new Uint8Array(this.code.memory.buffer).set(data, this.picture);
    this.size = [width, height];
  }

  newStream() {
    return this.code.new_stream(this.model);
  }

  freeStream(stream) {
    this.code.free_stream(this.model, stream);
  }

  /** Make the picture, or one tile of it, the input of the next frame. */
  setInput(layout, tile) {
    const { code, model, picture, size, input } = this;
    if (layout.mode === "resize") code.input_whole(model, picture, ...size, input);
    else {
      const canvas = layout.mode === "tiled" ? layout.canvas : [0, 0];
      code.input_tile(model, picture, ...size, ...canvas, ...layout.origin(tile), layout.tileSize, input);
    }
  }

  /** Gaze at the input, as a stream's next frame: ids, the padding id where suppressed, and confidences. */
  gaze(stream, most, horizon, requirement) {
    const { code, model, input } = this;
    const given = [most, horizon, requirement ?? NaN];
    const count = code.gaze_frame(model, stream, input, ...given, this.ids, this.confidences, this.scores);
    const { buffer } = code.memory;
    return {
      ids: new Int32Array(buffer, this.ids, count).slice(),
      confidences: new Float32Array(buffer, this.confidences, count).slice(),
    };
  }
}

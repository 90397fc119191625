// A checkpoint's config.json and model.safetensors, as model/config.py and checkpoint.py read them.

const HEAD_DIM = 32; // of the compiled code
const IMAGE_MEAN = [0.485, 0.456, 0.406];
const IMAGE_STD = [0.229, 0.224, 0.225];
const TYPES = { F32: 0, F16: 1, BF16: 2 };

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** A part of config.json, whose values are checked as they are read. */
class Section {
  constructor(name, values) {
    if (!isObject(values)) throw new Error(`${name} is not an object`);
    this.name = name;
    this.values = values;
  }

  section(key) {
    return new Section(`${this.name}: ${key}`, this.values[key] ?? {});
  }

  number(key, usual) {
    const value = this.values[key] ?? usual;
    if (!Number.isFinite(value)) throw new Error(`${this.name}: ${key} must be a number`);
    return value;
  }

  /** A whole number above 0. */
  size(key, usual) {
    const value = this.number(key, usual);
    if (!(Number.isInteger(value) && value > 0 && value <= 1 << 20)) {
      throw new Error(`${this.name}: ${key} must be a whole number above 0, not ${value}`);
    }
    return value;
  }

  must(key, expected, usual = expected) {
    const value = this.values[key] ?? usual;
    if (value !== expected) {
      throw new Error(`${this.name}: ${key} ${JSON.stringify(value)} cannot be run here, only ${expected}`);
    }
  }
}

/** What of the defaults a model states: null where its strategy is another than "fixed". */
function fixedSetting(root, key, usual) {
  const section = root.section(`${key}_config`);
  if ((section.values.sample_strategy_during_inference ?? "fixed") !== "fixed") return null;
  return section.section("fixed").number(key, usual);
}

/** Angle per position of each rotary pair. */
function rotaryFrequencies(decoder) {
  const theta = decoder.number("rope_theta", 10000);
  const plain = Array.from({ length: HEAD_DIM / 2 }, (_, i) => theta ** (-2 * i / HEAD_DIM));
  const scaling = decoder.section("rope_scaling");
  const kind = scaling.values.rope_type ?? scaling.values.type ?? "default";
  if (kind === "default") return plain;
  scaling.must("rope_type", "llama3", kind);
  const [factor, low, high, original] = [
    ...["factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"],
  ].map((key) => scaling.number(key));
  return plain.map((frequency) => {
    const waves = (original * frequency) / (2 * Math.PI);
    const smooth = Math.min(Math.max((waves - low) / (high - low), 0), 1);
    return ((1 - smooth) * frequency) / factor + smooth * frequency;
  });
}

/** The sizes and defaults of a checkpoint, from the texts of its JSON files. */
function readConfig(configText, processorText) {
  const root = new Section("config.json", JSON.parse(configText));
  const gaze = root.section("gaze_model_config");
  const vision = gaze.section("vision_model_config");
  const decoder = gaze.section("gaze_decoder_config");
  const processor = new Section("preprocessor_config.json", JSON.parse(processorText ?? "{}"));
  const heads = decoder.size("num_attention_heads");
  const hidden = decoder.size("hidden_size");
  const config = {
    side: gaze.size("input_img_size", 224),
    patch: vision.size("kernel_size", 16),
    channels: vision.size("hidden_dim", 192),
    depth: vision.size("depth", 1),
    time: vision.size("trunk_temporal_kernel_size", 3),
    space: vision.size("trunk_spatial_kernel_size", 3),
    hidden,
    inner: decoder.size("intermediate_size"),
    layers: decoder.size("num_hidden_layers"),
    heads,
    ids: root.size("num_vision_tokens_each_frame"),
    chunk: decoder.size("num_multi_token_pred", 1),
    shortest: processor.section("size").size("shortest_edge", gaze.size("input_img_size", 224)),
    eps: decoder.number("rms_norm_eps", 1e-6),
    mean: processor.values.image_mean ?? IMAGE_MEAN,
    std: processor.values.image_std ?? IMAGE_STD,
    frequencies: rotaryFrequencies(decoder),
  };
  decoder.must("head_dim", HEAD_DIM, hidden / heads);
  decoder.must("num_key_value_heads", heads);
  decoder.must("attention_bias", false);
  decoder.must("mlp_bias", false);
  decoder.must("hidden_act", "silu");
  vision.must("temporal_patch_size", 1);
  vision.must("out_dim", hidden, 192);
  if (config.inner % 4) throw new Error("config.json: intermediate_size must be a multiple of 4");
  if (config.space % 2 === 0) throw new Error("config.json: trunk_spatial_kernel_size must be odd");
  processor.must("resample", 2);
  processor.must("do_center_crop", false);
  return { ...config, ...readDefaults(root, config) };
}

/** The grids of the scales, and the defaults of the decode loop. */
function readDefaults(root, { ids, patch, chunk }) {
  const scales = `${root.values.scales ?? "224"}`.split("+").map(Number).sort((a, b) => a - b);
  const grids = scales.map((scale) => Math.max(1, Math.floor(scale / patch)));
  if (grids.reduce((sum, grid) => sum + grid * grid, 0) !== ids) {
    throw new Error(`config.json: scales ${scales.join("+")} have other than ${ids} cells`);
  }
  const ratio = fixedSetting(root, "gazing_ratio", 0.5);
  const budget = ratio === null ? chunk : Math.max(1, Math.min(ids, Math.trunc(f32(f32(ratio) * ids))));
  const has = root.values.has_task_loss_requirement_during_inference ?? false;
  const requirement = has ? fixedSetting(root, "task_loss_requirement", 0.7) : null;
  return { scales: scales.join("+"), grids, budget, requirement };
}

/** Names and shapes of a model's tensors, in the order in which the compiled code takes them. */
function tensorShapes(c) {
  const width = c.heads * HEAD_DIM;
  const tokens = Math.floor(c.side / c.patch) ** 2;
  const vision = "gazing_model.vision_model.";
  const decoder = "gazing_model.gaze_decoder.";
  const list = [
    [`${vision}temporal_conv.weight`, [c.channels, 3, 1, c.patch, c.patch]],
    [`${vision}temporal_conv.bias`, [c.channels]],
    [`${vision}norm.weight`, [c.channels]],
    [`${vision}norm.bias`, [c.channels]],
  ];
  for (let i = 0; i < c.depth; i += 1) {
    const shape = [c.channels, c.channels, c.time, c.space, c.space];
    list.push([`${vision}blocks.${i}.conv3d.weight`, shape]);
    list.push([`${vision}blocks.${i}.conv3d.bias`, [c.channels]]);
  }
  list.push([`${vision}out_proj.weight`, [c.hidden, c.channels, 1, 1, 1]]);
  list.push([`${vision}out_proj.bias`, [c.hidden]]);
  list.push(["gazing_model.connector.pos_embed", [tokens, c.hidden]]);
  list.push([`${decoder}model.embed_tokens.weight`, [c.ids + 1, c.hidden]]);
  for (let i = 0; i < c.layers; i += 1) {
    const layer = `${decoder}model.layers.${i}.`;
    for (const part of "qkv") list.push([`${layer}self_attn.${part}_proj.weight`, [width, c.hidden]]);
    list.push([`${layer}self_attn.o_proj.weight`, [c.hidden, width]]);
    list.push([`${layer}mlp.gate_proj.weight`, [c.inner, c.hidden]]);
    list.push([`${layer}mlp.up_proj.weight`, [c.inner, c.hidden]]);
    list.push([`${layer}mlp.down_proj.weight`, [c.hidden, c.inner]]);
    list.push([`${layer}input_layernorm.weight`, [c.hidden]]);
    list.push([`${layer}post_attention_layernorm.weight`, [c.hidden]]);
  }
  list.push([`${decoder}model.norm.weight`, [c.hidden]]);
  list.push([`${decoder}lm_head.weight`, [c.chunk * (c.ids + 1), c.hidden]]);
  list.push([`${decoder}task_loss_prediction_head.weight`, [c.chunk, c.hidden]]);
  return list;
}

/** A model's tensors in a safetensors file: type, number of values, and bytes of each. */
function readTensors(file, config) {
  const bytes = new Uint8Array(file);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = bytes.length < 8 ? Infinity : Number(view.getBigUint64(0, true));
  if (length > bytes.length - 8) throw new Error("model.safetensors: is cut short, or another kind of file");
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  return tensorShapes(config).map(([name, shape]) => {
    const about = header[name];
    if (!about) throw new Error(`model.safetensors: ${name} is missing`);
    const isRight = about.shape.join() === shape.join() && about.dtype in TYPES;
    if (!isRight) throw new Error(`model.safetensors: ${name} is ${about.dtype} [${about.shape}], not float [${shape}]`);
    const count = shape.reduce((product, size) => product * size, 1);
    const [start, end] = about.data_offsets.map((offset) => offset + 8 + length);
    if (end > bytes.length || end - start !== count * (about.dtype === "F32" ? 4 : 2)) {
      throw new Error(`model.safetensors: ${name} is cut short`);
    }
    return { type: TYPES[about.dtype], count, bytes: bytes.subarray(start, end) };
  });
}

// The viewer's settings: what its controls hold, and what the address says after its #.

const WHOLE_NUMBERS = ["fps", "max_gaze_tokens_each_frame", "top_k", "horizon_frames", "tile_size", "stride"];
WHOLE_NUMBERS.push("patch_diff_grid", "inference_width", "inference_height", "keyframe_duration");
const CHOICES = ["source", "camera_size", "mask_source", "mode", ...KEYS];
const RANGES = ["patch_diff_threshold", "blend_alpha", "mask_cell_scale", "min_confidence"];
const QUALITY = "task_loss_requirement_db"; // null = the model's own
const NO_STOP = "disable_task_loss_requirement";
const CONTROLS = [...CHOICES, ...WHOLE_NUMBERS, ...RANGES];

const DRAWING_AT_FIRST = {
  mask_visualization: "image-overlay",
  mask_geometry: "native",
  visualization_mode: "interframe",
  keyframe_duration: 30,
  blend_alpha: 0.55,
  mask_cell_scale: 1,
  min_confidence: 0,
};

const numberOrNull = (control) => (control.value === "" ? null : Number(control.value));
const valueOf = (id) => (CHOICES.includes(id) ? byId(id).value : numberOrNull(byId(id)));

/** The settings at first, as the page's HTML has them. */
const FIRST = {
  ...Object.fromEntries(CONTROLS.map((id) => [id, valueOf(id)])),
  ...DRAWING_AT_FIRST,
  [QUALITY]: null,
  [NO_STOP]: false,
  hidden: new Set(),
};

/** A setting from text: { value }, or { problem } where the text is none. */
function parseSetting(id, text) {
  if (id === NO_STOP) {
    const values = { true: true, 1: true, false: false, 0: false };
    return text in values ? { value: values[text] } : { problem: "must be true or false" };
  }
  const control = byId(id);
  if (CHOICES.includes(id)) {
    const options = [...control.options].map((option) => option.value);
    return options.includes(text) ? { value: text } : { problem: `must be one of ${options.join(", ")}` };
  }
  const canBeEmpty = FIRST[id] === null || id.startsWith("inference");
  if (text === "" && canBeEmpty) return { value: null };
  const value = Number(text);
  const [low, high] = [Number(control.min), control.max === "" ? Infinity : Number(control.max)];
  const whole = WHOLE_NUMBERS.includes(id);
  if (text.trim() === "" || !(value >= low && value <= high) || (whole && !Number.isInteger(value))) {
    const kind = whole ? "a whole number" : "a number";
    return { problem: `must be ${kind} from ${low}${high === Infinity ? "" : ` to ${high}`}` };
  }
  return { value };
}

/** Settings of the scales shown, such as 2,4,7: { value: hidden scales }, or { problem }. */
function parseScales(text) {
  const shown = text.split(",").filter(Boolean).map(Number);
  const wrong = shown.some((grid) => !GRIDS.includes(grid));
  if (wrong) return { problem: `must be some of ${GRIDS.join(",")}` };
  return { value: new Set([0, 1, 2, 3].filter((scale) => !shown.includes(GRIDS[scale]))) };
}

/** A requirement as a number, or "none" for none: the two settings that say it. */
function parseRequirement(text) {
  if (text === "none") return { value: { [NO_STOP]: true } };
  const value = text.trim() === "" ? NaN : Number(text);
  if (!(value > 0 && value <= 1)) return { problem: "must be above 0, at most 1, or none" };
  return { value: { [QUALITY]: -20 * Math.log10(value), [NO_STOP]: false } };
}

/** What an address asks for: { settings, start, problems }. */
function readAddress(hash) {
  const settings = { ...FIRST };
  const problems = [];
  let start = false;
  for (const [key, text] of new URLSearchParams(hash.slice(1))) {
    let read = { problem: "is not a setting of this page" };
    if (key === "scales") read = parseScales(text);
    else if (key === "task_loss_requirement") read = parseRequirement(text);
    else if ([QUALITY, NO_STOP, ...CONTROLS].includes(key)) read = parseSetting(key, text);
    else if (key === "start") read = parseSetting(NO_STOP, text);
    if (read.problem) problems.push(`${key}=${text}: ${read.problem}`);
    else if (key === "start") start = read.value;
    else if (key === "scales") settings.hidden = read.value;
    else if (key === "task_loss_requirement") Object.assign(settings, read.value);
    else settings[key] = read.value;
  }
  return { settings, start, problems };
}

/** The address of settings: those that are not as they were at first. */
function addressOf(settings) {
  const parts = [];
  for (const id of [...CONTROLS, QUALITY, NO_STOP]) {
    if (settings[id] !== FIRST[id]) parts.push([id, settings[id] ?? ""]);
  }
  const shown = GRIDS.filter((_, scale) => !settings.hidden.has(scale));
  if (shown.length < GRIDS.length) parts.push(["scales", shown.join(",")]);
  return `#${new URLSearchParams(parts)}`;
}

/** The settings of a gaze, as worker.js takes them; `requirement` is the model's own. */
function gazeSettings(settings) {
  const db = settings[QUALITY];
  const own = db === null ? "model" : f32(10 ** (-db / 20));
  return {
    ...Object.fromEntries(CONTROLS.map((id) => [id, settings[id]])),
    task_loss_requirement: settings[NO_STOP] ? null : own,
  };
}

/** Let the controls show settings; the model's own requirement is where the slider is at first. */
function tellControls(settings, model) {
  for (const id of CONTROLS) {
    if (document.activeElement !== byId(id) || CHOICES.includes(id)) byId(id).value = settings[id] ?? "";
  }
  tellDrawing(settings);
  const own = model?.requirement > 0 ? -20 * Math.log10(model.requirement) : 20;
  const db = settings[QUALITY] ?? own;
  const note = settings[QUALITY] === null ? ", the model’s own" : "";
  byId(QUALITY).value = db;
  byId(QUALITY).disabled = settings[NO_STOP];
  byId(NO_STOP).checked = settings[NO_STOP];
  output(QUALITY, `${db.toFixed(1)} dB, loss ${(10 ** (-db / 20)).toFixed(3)}${note}`);
  const levels = settings.patch_diff_threshold / 0.0347;
  output("patch_diff_threshold", `${settings.patch_diff_threshold.toFixed(2)}, ${levels.toFixed(0)} grey levels`);
  byId("max_gaze_tokens_each_frame").placeholder = model ? `${model.budget}` : "";
  byId("tile_size").disabled = settings.mode === "resize";
  byId("stride").disabled = settings.mode !== "tiled-full";
  for (const element of document.querySelectorAll("[data-for]")) {
    const wanted = element.dataset.for.split(" ");
    element.hidden = !wanted.includes(settings.source) && !wanted.includes(settings.mask_source);
  }
}

function output(id, text) {
  document.querySelector(`output[for="${id}"]`).textContent = text;
}

/** Call change(values) when a control is used. */
function wireControls(change, now, tell) {
  for (const id of [...CHOICES, ...WHOLE_NUMBERS, ...RANGES, QUALITY]) {
    if ([...KEYS, ...AMOUNTS].includes(id)) continue; // wireDrawing has them
    byId(id).addEventListener(CHOICES.includes(id) ? "change" : "input", ({ target }) => {
      const { value, problem } = parseSetting(id, target.value);
      target.setCustomValidity(problem ?? "");
      target.toggleAttribute("aria-invalid", Boolean(problem));
      if (!problem) change({ [id]: value });
    });
  }
  byId(NO_STOP).addEventListener("change", ({ target }) => change({ [NO_STOP]: target.checked }));
  for (const form of document.forms) form.addEventListener("submit", (event) => event.preventDefault());
  wireDrawing(change, now, tell);
}

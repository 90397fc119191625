// The page at work: which frame is shown, with which settings, and all that tells of it.

const RATES = new Map(); // settings to gaze ratios of all frames

const asRun = () => ({ ...run.visualization, min_confidence: 0, hidden: new Set() });
let settings = asRun();
let shown = 0;
let playing = null; // a token while it plays
let drawing = 0; // rises with every drawing that is asked for

// ---------------------------------------------------------------- pictures

const roles = draws ? ["input", "mask", "output"] : run.panels;
const pointAt = (role, x, y) => pointer.pointAt(role, x, y);
const panels = Object.fromEntries(
  roles.map((role) => [role, new Panel(role, run.width, run.height, pointAt)]),
);
const pointer = new CellPointer(panels, nameOf);

async function draw() {
  drawing += 1;
  const mine = drawing;
  const isWanted = () => mine === drawing;
  const number = shown;
  document.documentElement.dataset.asked = mine; // what is asked for, and below, what is done
  if (draws) await drawCells(number, isWanted);
  else await showPictures(number, isWanted);
  if (isWanted()) document.documentElement.dataset.drawn = mine;
}

async function drawCells(number, isWanted) {
  const picture = await pixelsOf(number);
  if (!isWanted()) return;
  const { width, height } = picture ?? sizeOfPictures();
  const points = pointsOf(frames[number], settings);
  const style = picture ? settings : { ...settings, mask_visualization: "overlay" };
  const missing = picture ? "" : "no picture kept: the page is full";
  panels.input.put(picture?.data, width, height);
  panels.input.say(missing);
  panels.mask.put(maskPanel(picture?.data, table, points, width, height, style), width, height);
  pointer.place(table, points, width, height, settings);
  const late = setTimeout(() => isWanted() && panels.output.say("composing …"), 300);
  const output = await composed(number, settings, isWanted);
  clearTimeout(late);
  if (!isWanted()) return;
  const mark = isKeyframe(number, settings) ? "keyframe" : "";
  panels.output.put(output, width, height);
  panels.output.say(missing || mark);
  describe(number, points.length);
  const now = isAsRun() ? null : shownRatio(number);
  byId("ratio-now").textContent = now === null ? "as the run" : percent(now);
  const small = html("small", { textContent: "of these reduced pictures" });
  if (isAsRun()) byId("psnr-now").textContent = "as the run";
  else byId("psnr-now").replaceChildren(output ? shownPsnr(picture.data, output) : "not known", " ", small);
}

/** PSNR of the output shown, from the pictures of the page. */
const shownPsnr = (input, output) => {
  const value = psnr(input, output);
  return decibels(value === Infinity ? null : value);
};

const sizeOfPictures = () => ({ width: panels.input.canvas.width, height: panels.input.canvas.height });

async function showPictures(number, isWanted) {
  for (const role of roles) {
    const text = frames[number].pictures[role];
    const image = text ? await imageOf(text) : null;
    if (!isWanted()) return;
    if (image) panels[role].putImage(image);
    panels[role].say(image ? "" : "no picture");
    panels[role].describe(`${PANEL_NAMES[role]}, frame ${number + 1}`);
  }
}

function describe(number, cells) {
  const mode = settings.visualization_mode;
  panels.output.note.textContent =
    mode === "interframe" ? PANEL_NOTES.output : "the video, those cells whitened";
  panels.input.describe(`Input, frame ${number + 1}`);
  panels.mask.describe(`Mask, ${settings.mask_visualization}, ${cells} cells`);
  panels.output.describe(`Output, ${mode}${isKeyframe(number, settings) ? ", keyframe" : ""}`);
}

// ---------------------------------------------------------------- the cell under the pointer

function nameOf(point) {
  const { points, confidence } = cellsOf(frames[shown]);
  const grid = table.grid[point];
  const token = table.token[point] >= 0 ? `token ${table.token[point]}` : "token unknown";
  const tile = run.header.tile_count > 1 ? `, tile ${table.tile[point]}` : "";
  return `${grid}×${grid} cell: ${token}${tile}, confidence ${confidence[points.indexOf(point)].toFixed(3)}`;
}

// ---------------------------------------------------------------- frames

function show(number) {
  shown = clamp(number, 0, frames.length - 1);
  byId("scrub").value = shown;
  tell();
  return draw();
}

function tell() {
  const frame = frames[shown];
  const text = `frame ${shown + 1} of ${frames.length}, ${seconds(frame.time)}`;
  byId("where").textContent = text;
  byId("scrub").setAttribute("aria-valuetext", text);
  for (const plot of plots) plot.show(shown);
  markRow();
  if (draws) tellNumbers(frame);
}

function tellNumbers(frame) {
  const { points } = cellsOf(frame);
  const of = frame.slots ? ` of ${count(frame.slots)} positions` : "";
  const given = {
    kind: frame.keyframe ? "keyframe: all pixels updated" : "gazed cells updated",
    ratio: `${percent(frame.update_ratio)} <small>moving average ${percent(frame.update_ratio_ema)}</small>`,
    masked: percent(frame.mask_ratio),
    psnr: `${decibels(frame.psnr_db)} <small>moving average ${decibels(frame.psnr_ema_db)}</small>`,
    cells: `${count(points.length)}${of}`,
    stop: frame.stop_probability.toFixed(3),
  };
  for (const [id, text] of Object.entries(given)) {
    const [main, small] = text.split(/ <small>|<\/small>/);
    byId(`frame-${id}`).replaceChildren(main, ...(small ? [" ", html("small", { textContent: small })] : []));
  }
  tellHistogram(points);
}

const durationOf = (number) => {
  const next = frames[number + 1];
  const one = next ? next.time - frames[number].time : 1 / (run.fps || 8);
  return (1000 * one) / Number(byId("speed").value);
};

async function play() {
  if (playing) {
    pause();
    return;
  }
  const mine = {};
  playing = mine;
  tellPlaying();
  if (shown === frames.length - 1) await show(0);
  while (playing === mine) {
    const due = performance.now() + durationOf(shown);
    if (shown === frames.length - 1 && !byId("loop").checked) break;
    await pixelsOf((shown + 1) % frames.length); // decoded while this one is looked at
    const wait = Math.max(0, due - performance.now());
    await new Promise((resolve) => setTimeout(resolve, wait));
    if (playing === mine) await show((shown + 1) % frames.length);
  }
  if (playing === mine) pause();
}

function pause() {
  playing = null;
  tellPlaying();
  keepAddress();
}

function tellPlaying() {
  byId("play").classList.toggle("playing", Boolean(playing));
  byId("play").setAttribute("aria-label", playing ? "Pause" : "Play");
}

function go(number) {
  if (playing) pause();
  show(number).then(keepAddress);
}

// ---------------------------------------------------------------- settings

const isAsRun = () => outputKey(settings) === outputKey(asRun());

function change(values) {
  settings = { ...settings, ...values };
  tellSettings();
  draw().then(keepAddress);
  ratiosNow();
}

function tellSettings() {
  tellDrawing(settings);
  const same = isAsRun() && [...KEYS, "blend_alpha"].every((id) => settings[id] === run.visualization[id]);
  byId("reset").disabled = same;
  byId("changed").textContent = same
    ? "Drawn with the run's settings."
    : "Changed: the pictures follow at once; the plots keep the run’s numbers" +
      (isAsRun() ? "." : ", with a dashed line for the gaze ratio as shown.");
}

// Exact: at the size of the run's frames, not of the page's pictures.
function shownRatio(number) {
  if (isKeyframe(number, settings)) return 1;
  const points = pointsOf(frames[number], settings);
  const rects = maskRects(table, points, run.width, run.height, settings);
  return unionCount(rects, run.width, run.height) / (run.width * run.height);
}

/** Gaze ratios of all frames for the settings shown, a few frames at a time. */
async function ratiosNow() {
  const key = outputKey(settings);
  if (isAsRun()) {
    plots[0].set("now", "as shown now", null);
    return;
  }
  await new Promise((resolve) => setTimeout(resolve, 150)); // a slider may still be moving
  const values = RATES.get(key) ?? [];
  while (values.length < frames.length) {
    if (key !== outputKey(settings)) return;
    const until = performance.now() + 12;
    while (values.length < frames.length && performance.now() < until) {
      values.push(shownRatio(values.length));
    }
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  RATES.set(key, values);
  if (key === outputKey(settings)) plots[0].set("now", "as shown now", values);
}

// ---------------------------------------------------------------- the address keeps the view

function keepAddress() {
  const parts = [["frame", shown + 1]];
  if (draws) {
    const usual = asRun();
    for (const id of [...KEYS, ...AMOUNTS]) {
      if (settings[id] !== usual[id]) parts.push([id, settings[id]]);
    }
  }
  if (!playing) history.replaceState(null, "", `#${new URLSearchParams(parts)}`);
}

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  const frame = Number(given.get("frame"));
  shown = Number.isInteger(frame) ? clamp(frame - 1, 0, frames.length - 1) : 0;
  for (const id of draws ? KEYS : []) {
    const options = [...byId(id).options].map((option) => option.value);
    if (options.includes(given.get(id))) settings[id] = given.get(id);
  }
  for (const id of draws ? AMOUNTS : []) {
    if (given.has(id) && Number.isFinite(Number(given.get(id)))) {
      settings[id] = within(id, Number(given.get(id)));
    }
  }
}

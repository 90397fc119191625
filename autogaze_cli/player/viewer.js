// The viewer at work: frames from a source to the gaze and back, one in flight, drawn as they come.

const ROLES = ["input", "mask", "output"];
const page = JSON.parse(byId("viewer").textContent); // version, model
const panels = Object.fromEntries(
  ROLES.map((role) => [role, new Panel(role, 640, 360, (...at) => pointer.pointAt(...at))]),
);
const pointer = new CellPointer(panels, nameOf);
const compositor = new Compositor();
const grab = new OffscreenCanvas(1, 1);
const grabbed = grab.getContext("2d", { willReadFrequently: true });

let settings = FIRST;
let figures = new Figures();
let gaze = null; // takes messages as worker.js, and answers as it does
let model = null; // what is known of the model, once it is ready
let modelFailed = false;
let source = null; // the open one
let opening = 0; // rises with every source that is asked for
let file = null; // the file chosen
let inFlight = null; // number and time of the frame that is gazed at
let number = 0;
let ignored = 0; // frames up to this number are of a view that has ended
let last = null; // the frame gazed at last: picture, cells, output
let toldAt = 0;
let addressProblems = []; // these stay, the others until the next start

const isRunning = () => byId("start").getAttribute("aria-pressed") === "true";
const tellState = (text) => {
  if (byId("state").textContent !== text) byId("state").textContent = text;
};

function tellProblems(texts) {
  byId("problems").replaceChildren();
  texts.forEach(tellProblem);
}

function tellProblem(text) {
  byId("problems").append(html("li", { textContent: text }));
}

// ---------------------------------------------------------------- sources

async function start() {
  opening += 1;
  const mine = opening;
  source?.close();
  source = null;
  tellProblems(addressProblems);
  document.documentElement.dataset.gazed = 0;
  tellRunning(true);
  tellState(settings.source === "camera" ? "Waiting for the camera …" : "Opening …");
  try {
    const opened = await openSource(settings.source, { ...settings, file }, onFrame);
    if (mine !== opening) opened.close();
    else beginView(opened);
  } catch (error) {
    if (mine !== opening) return;
    const hint = error.name === "NotAllowedError" ? "; allow this page to use it, or choose another source" : "";
    tellProblem(`${settings.source}: ${error.message}${hint}`);
    stop();
  }
}

function beginView(opened) {
  source = opened;
  ignored = number;
  figures = new Figures();
  compositor.reset();
  gaze.postMessage({ type: "reset" });
  tellRunningState();
}

function stop() {
  opening += 1;
  source?.close();
  source = null;
  tellRunning(false);
  tellState("Stopped.");
  if (last) drawLast();
  tellFigures(figures);
}

function tellRunning(running) {
  byId("start").setAttribute("aria-pressed", running);
  byId("start").classList.toggle("playing", running);
}

/** The size at which frames are gazed at. */
function frameSize([width, height]) {
  if (settings.source === "served") return [width, height]; // the command has scaled it
  const { inference_width: wide, inference_height: high } = settings;
  if (wide && high) return [wide, high];
  if (wide) return [wide, Math.max(1, Math.round((height * wide) / width))];
  if (high) return [Math.max(1, Math.round((width * high) / height)), high];
  return [width, height];
}

const waiting = () => settings.mask_source === "autogaze" && !model;

function tellRunningState() {
  if (!waiting()) tellState("Gazing.");
  else if (modelFailed) tellState("There is no model: choose one below, or gaze from patch-diff.");
  else tellState("The model gets ready; this is the camera or video.");
}

// ---------------------------------------------------------------- frames

function onFrame() {
  if (!source?.size[0]) return;
  const now = performance.now();
  figures.shown.tick(now);
  const [width, height] = frameSize(source.size);
  const context = panels.input.context(width, height);
  if (inFlight || waiting()) {
    source.draw(context, width, height);
    if (inFlight) figures.dropped += 1; // a frame of before is still gazed at: this one is only shown
    return;
  }
  if (grab.width !== width) grab.width = width;
  if (grab.height !== height) grab.height = height;
  source.draw(grabbed, width, height);
  context.drawImage(grab, 0, 0);
  const pixels = grabbed.getImageData(0, 0, width, height).data.buffer;
  number += 1;
  setInFlight({ number, time: now });
  gaze.postMessage(
    { type: "frame", number, width, height, pixels, settings: gazeSettings(settings) },
    [pixels],
  );
}

function setInFlight(frame) {
  inFlight = frame;
  document.documentElement.toggleAttribute("data-busy", Boolean(frame));
}

function onGazed({ width, height, pixels, gaze: found, milliseconds }) {
  const { number: own, time } = inFlight;
  setInFlight(null);
  if (!found || own <= ignored) return;
  const begin = performance.now();
  last = { picture: { width, height, data: new Uint32Array(pixels) }, gaze: found };
  last.view = compositor.step(last.picture, found.cells, shownPoints(), settings);
  drawLast();
  const { maskPixels, updatedPixels, output } = last.view;
  figures.gazed.tick(begin);
  figures.gaze.add(milliseconds);
  figures.cells.add(found.cells.x.length);
  figures.masked.add(maskPixels / output.length);
  figures.updated.add(updatedPixels / output.length);
  figures.psnr.add(psnr(last.picture.data, output));
  figures.draw.add(performance.now() - begin);
  recording.add(time);
  document.documentElement.dataset.gazed = figures.gazed.ticks; // how far it is, for who looks from outside
  if (begin - toldAt > 200) tellNow(begin);
}

function tellNow(now) {
  toldAt = now;
  tellFigures(figures);
  if (isRunning()) tellRunningState();
  if (byId("performance").open) tellSummary();
}

/** The cells of the last frame that the filters leave. */
function shownPoints() {
  const { confidence, grid } = last.gaze.cells;
  const isShown = (i) =>
    confidence[i] > 0 && confidence[i] >= settings.min_confidence && !settings.hidden.has(colourOf(grid[i]));
  return Array.from(confidence.keys()).filter(isShown);
}

/** Draw the last frame, as the settings are now; between frames, its output stays as it was composed. */
function drawLast() {
  const { picture, gaze: found, view } = last;
  const { width, height, data } = picture;
  const points = shownPoints();
  if (!isRunning()) panels.input.put(data, width, height); // a running source has drawn a newer one
  panels.mask.put(maskPanel(data, found.cells, points, width, height, settings), width, height);
  panels.output.put(view.output, width, height);
  panels.output.say(view.keyframe ? "keyframe" : "");
  pointer.place(found.cells, points, width, height, settings);
  describe(points.length);
}

function describe(cells) {
  const isInterframe = settings.visualization_mode === "interframe";
  panels.output.note.textContent = isInterframe ? PANEL_NOTES.output : "the video, those cells whitened";
  panels.input.describe(`Input: ${settings.source}`);
  panels.mask.describe(`Mask, ${settings.mask_visualization}, ${cells} cells`);
  panels.output.describe(`Output, ${settings.visualization_mode}`);
}

function nameOf(point) {
  const { grid, token, tile, confidence } = last.gaze.cells;
  const where = last.gaze.slots.length > 1 ? `, tile ${tile[point]}` : "";
  return `${grid[point]}×${grid[point]} cell: token ${token[point]}${where}, confidence ${confidence[point].toFixed(3)}`;
}

// ---------------------------------------------------------------- settings

const REOPENS = ["source", "camera_size", "fps"];
const SIZES = ["inference_width", "inference_height"];

function change(values) {
  const before = settings;
  settings = { ...settings, ...values };
  tellControls(settings, model);
  const isOther = (id) => settings[id] !== before[id];
  const reopens = settings.source === "served" ? [...REOPENS, ...SIZES] : REOPENS;
  if (isRunning() && reopens.some(isOther)) start();
  if (isOther("mask_source")) compositor.reset();
  if (isRunning() && source) tellRunningState();
  if (last && [...KEYS, ...AMOUNTS, "hidden"].some(isOther)) {
    if (!isRunning()) last.view = recomposed();
    drawLast();
  }
  history.replaceState(null, "", addressOf(settings));
}

/** The output of the last frame while nothing runs; one before it, to paste cells on, is not kept. */
function recomposed() {
  if (settings.visualization_mode === "interframe" && compositor.mode === "interframe") return last.view;
  return new Compositor().step(last.picture, last.gaze.cells, shownPoints(), settings);
}

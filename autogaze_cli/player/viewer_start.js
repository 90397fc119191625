// The viewer begins: its gaze, its model, its controls.

/** The gaze of this page: a worker made from the page itself. */
function openGaze() {
  const text = JSON.parse(byId("worker").textContent);
  return new Worker(URL.createObjectURL(new Blob([text], { type: "text/javascript" })));
}

const bytesIn = (id) => {
  const element = byId(id);
  const bytes = Uint8Array.from(atob(element.textContent), (sign) => sign.charCodeAt(0));
  element.remove(); // its text is not needed twice
  return bytes;
};

const answers = {
  gazed: onGazed,

  ready(about) {
    const { type: _, ...known } = about;
    model = { ...asked, ...known };
    tellModel();
    tellControls(settings, model);
    if (isRunning() && source) tellRunningState();
  },

  ended() {
    stop();
    tellState("The input has ended.");
  },

  failed({ what, message }) {
    setInFlight(null);
    tellProblem(what === "load" ? `the model: ${message}` : `the gaze: ${message}`);
    if (what !== "load") stop();
    else if (!model) {
      modelFailed = true;
      if (isRunning() && source) tellRunningState();
    }
  },
};

let asked = page.model; // name and sha256 of the model that gets ready

function load(about, code, config, weights, processor) {
  asked = about;
  gaze.postMessage({ type: "load", code, config, weights, processor });
}

function tellModel() {
  const rows = {
    Name: model?.name ?? "none",
    "SHA-256": model?.sha256 ?? "not known",
    Scales: model?.scales ?? "",
    "Tokens at most": model ? `${model.budget} of ${model.ids}` : "",
    "Ready after": model ? `${Math.round(model.milliseconds)} ms` : "",
  };
  byId("model").replaceChildren(
    ...Object.entries(rows).flatMap(([name, value]) => [
      html("dt", { textContent: name }),
      html("dd", { textContent: value }),
    ]),
  );
}

async function sha256(bytes) {
  if (!globalThis.crypto?.subtle) return null;
  const hash = await crypto.subtle.digest("SHA-256", bytes);
  return Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Use a checkpoint of the user's: config.json and model.safetensors, and preprocessor_config.json if given. */
async function loadChosen(files) {
  const named = (name) => [...files].find((one) => one.name === name);
  const [config, weights, processor] = ["config.json", "model.safetensors", "preprocessor_config.json"].map(named);
  if (!config || !weights) {
    tellProblem("the model: choose config.json and model.safetensors together");
    return;
  }
  const bytes = new Uint8Array(await weights.arrayBuffer());
  const about = { name: "chosen in the page", sha256: await sha256(bytes) };
  load(about, code, await config.text(), bytes, await processor?.text());
}

function chooseFile(chosen) {
  if (!chosen) return;
  file = chosen;
  if (settings.source !== "file") change({ source: "file" });
  start();
}

function cycle(id) {
  const options = [...byId(id).options].map((option) => option.value);
  change({ [id]: options[(options.indexOf(settings[id]) + 1) % options.length] });
}

const toggle = () => (isRunning() ? stop() : start());
const resetAll = () => change({ ...FIRST, source: settings.source });

byId("panels").append(...ROLES.map((role) => panels[role].element));
PANEL_NOTES.input = "the camera or video";
panels.input.note.textContent = PANEL_NOTES.input;
layFigures();
wireControls(change, () => settings, () => tellControls(settings, model));
wireShortcuts([
  [[" ", "k"], "Space", "start or stop", toggle],
  [["s"], "S", "next gaze: model or patch-diff", () => cycle("mask_source")],
  [["m"], "M", "next mask style", () => cycle("mask_visualization")],
  [["g"], "G", "next geometry", () => cycle("mask_geometry")],
  [["o"], "O", "next output mode", () => cycle("visualization_mode")],
  [["t"], "T", "record the trace, or save it", () => byId("record-trace").click()],
  [["r"], "R", "reset all settings", resetAll],
]);
byId("start").addEventListener("click", toggle);
byId("reset-all").addEventListener("click", resetAll);
byId("file").addEventListener("change", ({ target }) => chooseFile(target.files[0]));
byId("checkpoint").addEventListener("change", ({ target }) => loadChosen(target.files));
for (const [name, dropping] of Object.entries({ dragover: true, dragleave: false, drop: false })) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    document.body.classList.toggle("dropping", dropping);
    if (name === "drop") chooseFile(event.dataTransfer.files[0]);
  });
}

const code = page.served ? null : bytesIn("wasm");
gaze = page.served ? new ServedGaze() : openGaze();
gaze.onmessage = ({ data }) => answers[data.type](data);
gaze.onerror = (event) => tellProblem(`the gaze: ${event.message ?? "its worker did not start"}`);
if (page.model && !page.served) {
  const texts = JSON.parse(byId("checkpoint-texts").textContent);
  load(page.model, code, texts.config, bytesIn("weights"), texts.processor);
}

function readAgain() {
  const read = readAddress(location.hash);
  ({ settings, problems: addressProblems } = read);
  tellProblems(addressProblems);
  tellControls(settings, model);
  if (read.start) start();
}
window.addEventListener("hashchange", readAgain);
tellModel();
readAgain();

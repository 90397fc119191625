// Controls and keys, and the first frame.

const cycle = (id) => {
  const options = [...byId(id).options].map((option) => option.value);
  change({ [id]: options[(options.indexOf(settings[id]) + 1) % options.length] });
};

const speedUp = (steps) => {
  const { options, selectedIndex } = byId("speed");
  byId("speed").selectedIndex = clamp(selectedIndex + steps, 0, options.length - 1);
};

const SHORTCUTS = [
  [[" ", "k"], "Space", "play or pause", play],
  [["ArrowLeft"], "←", "one frame back", () => go(shown - 1)],
  [["ArrowRight"], "→", "one frame on", () => go(shown + 1)],
  [["PageUp"], "Page up", "ten frames back", () => go(shown - 10)],
  [["PageDown"], "Page down", "ten frames on", () => go(shown + 10)],
  [["Home"], "Home", "first frame", () => go(0)],
  [["End"], "End", "last frame", () => go(frames.length - 1)],
  [["-"], "-", "slower", () => speedUp(-1)],
  [["+", "="], "+", "faster", () => speedUp(1)],
];
const DRAWING_SHORTCUTS = [
  [["m"], "M", "next mask style", () => cycle("mask_visualization")],
  [["g"], "G", "next geometry", () => cycle("mask_geometry")],
  [["o"], "O", "next output mode", () => cycle("visualization_mode")],
  [["r"], "R", "draw with the run's settings", () => change(asRun())],
];
const shortcuts = draws ? [...SHORTCUTS, ...DRAWING_SHORTCUTS] : SHORTCUTS;

wireShortcuts(shortcuts);

for (const [id, act] of Object.entries({
  first: () => go(0),
  back: () => go(shown - 1),
  play,
  forward: () => go(shown + 1),
  last: () => go(frames.length - 1),
})) {
  byId(id).addEventListener("click", act);
}
byId("scrub").max = frames.length - 1;
byId("scrub").addEventListener("input", (event) => go(Number(event.target.value)));
byId("table").addEventListener("toggle", fillTable);
byId("panels").append(...roles.map((role) => panels[role].element));
byId("panels").style.setProperty("--panels", roles.length);
if (roles.length === 1) for (const panel of Object.values(panels)) panel.element.querySelector("button").hidden = true;

function wireSettings() {
  const { mask_cell_scale: scale } = run.visualization;
  byId("mask_cell_scale").min = Math.min(0.25, scale);
  byId("mask_cell_scale").max = Math.max(4, scale);
  wireDrawing(change, () => settings, tellSettings);
  byId("reset").addEventListener("click", () => change(asRun()));
}

/** A page without gaze: nothing to draw, no numbers of frames. */
function withoutGaze() {
  for (const control of byId("drawing").querySelectorAll("select, input, button")) {
    control.disabled = true;
    if (known(doc[control.id])) control.value = doc[control.id];
  }
  for (const id of ["min_confidence", "scales"]) hideControl(id);
  byId("changed").textContent =
    "These pictures were drawn before. To draw them again here, run the command again with --report.";
  byId("over-time").hidden = true;
  byId("by-scale").hidden = !doc.cell_grid_histogram;
  byId("numbers").closest("section").hidden = true;
  byId("pointed").hidden = true;
}

function hideControl(id) {
  byId(id).closest(".range, .chips").hidden = true;
  (byId(id).labels?.[0] ?? byId(`${id}-label`)).hidden = true;
}

tellRun();
layHistogram();
if (draws) {
  wireSettings();
  layNumbers();
  byId("plots").append(...plots.map((plot) => plot.element));
} else {
  withoutGaze();
}
const readAgain = () => {
  readAddress();
  if (draws) {
    tellSettings();
    ratiosNow();
  }
  show(shown);
};
window.addEventListener("hashchange", readAgain);
readAgain();

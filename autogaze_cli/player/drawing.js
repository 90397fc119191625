// The drawing controls of drawing.html: what they show, and what happens when they are used.

const KEYS = ["mask_visualization", "mask_geometry", "visualization_mode"];
const AMOUNTS = ["keyframe_duration", "blend_alpha", "mask_cell_scale", "min_confidence"];
const NAMES = ["2×2", "4×4", "7×7", "14×14"];

function paint(element, scale) {
  element.style.setProperty("--colour", colour(COLOURS[scale]));
  element.style.setProperty("--fill", colour(COLOURS[scale].map(fill)));
  return element;
}

const swatch = (scale) => paint(html("span", { className: "swatch" }), scale);

/** Let the controls show settings. */
function tellDrawing(settings) {
  for (const id of [...KEYS, ...AMOUNTS]) byId(id).value = settings[id];
  for (const id of AMOUNTS) {
    const output = document.querySelector(`output[for="${id}"]`);
    if (output) output.textContent = Number(settings[id]).toFixed(2);
  }
  for (const box of byId("scales").querySelectorAll("input")) {
    box.checked = !settings.hidden.has(Number(box.value));
  }
  byId("keyframe_duration").disabled = settings.visualization_mode !== "interframe";
  const plain = ["overlay", "scale-rows"].includes(settings.mask_visualization);
  byId("blend_alpha").disabled = plain && settings.visualization_mode === "interframe";
}

/** Call change(values) when a control is used; now() gives the settings, tell() shows them again. */
function wireDrawing(change, now, tell) {
  for (const id of KEYS) {
    byId(id).addEventListener("change", (event) => change({ [id]: event.target.value }));
  }
  for (const id of AMOUNTS) {
    byId(id).addEventListener("input", (event) => {
      const value = event.target.valueAsNumber;
      if (!Number.isNaN(value)) change({ [id]: within(id, value) });
    });
  }
  byId("keyframe_duration").addEventListener("change", tell);
  byId("scales").append(
    ...NAMES.map((name, scale) => {
      const box = html("input", { type: "checkbox", value: scale, checked: true });
      box.addEventListener("change", () => {
        const hidden = new Set(now().hidden);
        if (box.checked) hidden.delete(scale);
        else hidden.add(scale);
        change({ hidden });
      });
      return html("label", { className: "inline" }, box, swatch(scale), name);
    }),
  );
  byId("settings").addEventListener("submit", (event) => event.preventDefault());
}

/** A number as its control can hold it. */
function within(id, value) {
  if (id === "keyframe_duration") return Math.max(0, Math.round(value) || 0);
  return clamp(value, Number(byId(id).min), Number(byId(id).max));
}

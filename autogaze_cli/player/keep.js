// The buttons that keep something: the trace, the output, the summary.

const recording = {
  trace: null,
  kind: "", // what a trace's frames have in common
  output: null,

  add(time) {
    if (!this.trace) return;
    if (this.kind !== kindOfFrames()) {
      finishTrace("The size or the gaze changed: the trace ends here.");
      return;
    }
    this.trace.add(time, last.gaze);
    if (this.trace.frames % 10 === 1) tellKept(`Recording the trace: ${this.trace.frames} frames.`);
  },
};

const tellKept = (text) => {
  byId("recorded").textContent = text;
};

/** The header of a trace (docs/trace_format.md). */
function traceHeader() {
  const isModel = settings.mask_source === "autogaze";
  const { width, height } = last.picture;
  const [sourceWidth, sourceHeight] = source?.size ?? [width, height];
  const layout = new TileLayout(isModel ? settings : { mode: "resize", tile_size: 224 }, width, height);
  const { mask_source, ...used } = gazeSettings(settings);
  const isDrawing = (id) => id in DRAWING_AT_FIRST;
  return {
    format: "autogaze-trace",
    version: 1,
    source: { file: file?.name, served: page.served?.input }[settings.source] ?? settings.source,
    source_width: sourceWidth,
    source_height: sourceHeight,
    width,
    height,
    fps: `${Math.max(1, Math.round(settings.fps ?? 30))}`,
    mask_source,
    model: isModel ? model.name : null,
    model_sha256: isModel ? model.sha256 : null,
    scales: isModel ? model.scales : null,
    num_vision_tokens_each_frame: isModel ? model.ids : null,
    mode: layout.mode,
    tile_size: layout.tileSize,
    stride: layout.step,
    tile_count: layout.count,
    settings: Object.fromEntries(Object.entries(used).filter(([id]) => !isDrawing(id))),
    tool_version: page.version,
  };
}

function kindOfFrames() {
  const { source: name, width, height, mask_source, mode, tile_size, stride } = traceHeader();
  return JSON.stringify([name, width, height, mask_source, mode, tile_size, stride]);
}

const press = (id, pressed, text) => {
  byId(id).setAttribute("aria-pressed", pressed);
  byId(id).textContent = text;
};

function startTrace() {
  if (!last) {
    tellKept("Nothing was gazed at yet: press Start first.");
    return;
  }
  recording.trace = new TraceRecorder(traceHeader());
  recording.kind = kindOfFrames();
  press("record-trace", true, "Stop and save the trace");
  tellKept("Recording the trace.");
}

function finishTrace(reason = "") {
  const { trace } = recording;
  recording.trace = null;
  press("record-trace", false, "Record the trace");
  if (!trace.frames) {
    tellKept("No frame was gazed at meanwhile: there is no trace to save.");
    return;
  }
  save("gaze.trace.json", [trace.text()], "application/json");
  tellKept(`${reason} Saved gaze.trace.json with ${trace.frames} frames.`.trim());
}

async function toggleOutput() {
  if (recording.output) {
    const { output: recorder } = recording;
    recording.output = null;
    press("record-output", false, "Record the output");
    save("gaze.webm", await recorder.stop(), "video/webm");
    tellKept("Saved gaze.webm.");
    return;
  }
  try {
    recording.output = recordCanvas(panels.output.canvas, 30);
    press("record-output", true, "Stop and save the output");
    tellKept("Recording the output.");
  } catch (error) {
    tellProblem(`recording the output: ${error.message}`);
  }
}

const summaryText = () => {
  const about = {
    tool_version: page.version,
    browser: navigator.userAgent,
    model: model && { name: model.name, sha256: model.sha256, ready_ms: model.milliseconds },
    settings: { ...gazeSettings(settings), hidden: [...settings.hidden] },
  };
  return `${JSON.stringify(figures.summary(about), null, 2)}\n`;
};

function tellSummary() {
  byId("summary").textContent = summaryText();
}

byId("record-trace").addEventListener("click", () => (recording.trace ? finishTrace() : startTrace()));
byId("record-output").addEventListener("click", toggleOutput);
byId("save-summary").addEventListener("click", () => {
  save("gaze.summary.json", [summaryText()], "application/json");
  tellKept("Saved gaze.summary.json.");
});
byId("performance").addEventListener("toggle", tellSummary);

// What the page says beside the pictures: figures, plots, the table, the histogram, the settings.

const doc = summary.document;
const known = (value) => value !== null && value !== undefined;

const plots = [];
if (draws) {
  const keyframes = frames.map((frame) => frame.keyframe);
  const column = (key) => frames.map((frame) => frame[key]);
  const ratios = [{ name: "gaze ratio: pixels updated", className: "first", values: column("update_ratio") }];
  if (run.visualization.visualization_mode === "interframe") {
    ratios.push({ name: "pixels under cells", className: "second", values: column("mask_ratio") });
  }
  const top = (value) => (value === null ? Infinity : value);
  const psnr = { name: "PSNR of the output; dots on top: equal", className: "first", values: column("psnr_db").map(top) };
  const average = { name: "moving average", className: "second", values: column("psnr_ema_db").map(top) };
  const whole = (value) => `${Math.round(100 * value)} %`;
  plots.push(
    new Plot({ title: "Gaze ratio", unit: whole, series: ratios, keyframes, bounds: [0, 1] }, go),
    new Plot({ title: "PSNR", unit: (value) => `${+value.toFixed(1)} dB`, series: [psnr, average], keyframes }, go),
  );
}

function tellRun() {
  byId("name").textContent = run.name;
  const size = `${run.width} × ${run.height}`;
  const source = doc.model ? `model ${doc.model}` : doc.mask_source;
  const facts = [size, `${count(frames.length)} frames`, known(doc.fps) && `${+doc.fps.toFixed(3)} fps`, source];
  byId("facts").textContent = facts.filter(Boolean).join(" · ");
  const tile = ([value, text]) =>
    html("li", {}, html("b", { textContent: value }), html("span", { textContent: text }));
  const fixations = doc.positive_fixations;
  const tiles = [
    known(doc.average_update_ratio) && [percent(doc.average_update_ratio), "of the pixels updated per frame (gaze ratio)"],
    known(doc.average_output_psnr_db) && [`${doc.average_output_psnr_db.toFixed(1)} dB`, "PSNR of the output, on average"],
    known(fixations) && [count(fixations), `cells gazed at, ${count(Math.round(fixations / frames.length))} per frame`],
    known(doc.tile_count) && [count(doc.tile_count), doc.tile_count === 1 ? "tile: the whole frame" : "tiles per frame"],
  ];
  byId("tiles").append(...tiles.filter(Boolean).map(tile));
  byId("tiles").hidden = !byId("tiles").children.length;
  layDocument();
}

const DRAWN = /^(mask_(cell|geom|vis)|blend|keyframe|visualization|gif_)/;
const MEASURED = /^(average|final|min_|max_(update|output)|positive)/;

/** The metrics document in groups, its numbers short enough to read. */
function layDocument() {
  const groups = { Gaze: [], Drawing: [], Results: [], Encoding: [] };
  for (const [key, value] of Object.entries(doc.encoding ?? {})) {
    if (known(value)) groups.Encoding.push(...pair(key.replaceAll("_", " "), `${value}`));
  }
  for (const [key, value] of Object.entries(doc)) {
    if (!known(value) || typeof value === "object" || key === "model_dir") continue;
    const group = DRAWN.test(key) ? "Drawing" : MEASURED.test(key) ? "Results" : "Gaze";
    const short = typeof value === "number" ? +value.toPrecision(6) : value;
    groups[group].push(...pair(key.replaceAll("_", " "), `${short}`));
  }
  for (const [name, rows] of Object.entries(groups)) {
    const heading = html("h3", { textContent: name });
    const list = html("dl", { className: "numbers" }, ...rows);
    if (rows.length) byId("document").append(html("div", {}, heading, list));
  }
}

const pair = (name, value, id) => [
  html("dt", { textContent: name }),
  html("dd", { id: id ?? "", textContent: value }),
];

function layNumbers() {
  const rows = {
    "frame-kind": "Kind",
    "frame-ratio": "Gaze ratio",
    "frame-masked": "Under cells",
    "frame-psnr": "PSNR",
    "frame-cells": "Cells",
    "frame-stop": "Stop probability",
    "ratio-now": "Gaze ratio as shown",
    "psnr-now": "PSNR as shown",
  };
  const items = Object.entries(rows).flatMap(([id, name]) => pair(name, "", id));
  byId("numbers").append(...items);
}

// ---------------------------------------------------------------- the table of all frames

const COLUMNS = [
  ["Frame", (frame, i) => i + 1],
  ["Time, s", (frame) => frame.time.toFixed(3)],
  ["Keyframe", (frame) => (frame.keyframe ? "yes" : "")],
  ["Gaze ratio", (frame) => percent(frame.update_ratio)],
  ["Average", (frame) => percent(frame.update_ratio_ema)],
  ["Under cells", (frame) => percent(frame.mask_ratio)],
  ["PSNR, dB", (frame) => (frame.psnr_db === null ? "∞" : frame.psnr_db.toFixed(2))],
  ["Average", (frame) => (frame.psnr_ema_db === null ? "∞" : frame.psnr_ema_db.toFixed(2))],
  ["Cells", (frame) => count(cellsOf(frame).points.length)],
];

function fillTable() {
  const place = document.querySelector("#table .scroll");
  if (place.children.length) return;
  const cell = (name, text) => html(name, { className: "number", textContent: text });
  const head = COLUMNS.map(([name]) => Object.assign(cell("th", name), { scope: "col" }));
  const rows = frames.map((frame, i) =>
    html("tr", {}, ...COLUMNS.map(([, text]) => cell("td", text(frame, i)))),
  );
  const caption = html("caption", { className: "unseen", textContent: "Numbers of all frames" });
  const body = html("tbody", {}, ...rows);
  place.append(html("table", {}, caption, html("thead", {}, html("tr", {}, ...head)), body));
  markRow();
}

function markRow() {
  const rows = document.querySelectorAll("#table tbody tr");
  rows.forEach((row, i) => row.toggleAttribute("aria-current", i === shown));
}

// ---------------------------------------------------------------- cells by scale

const totals = [0, 0, 0, 0];
for (const frame of draws ? frames : []) {
  for (const point of cellsOf(frame).points) totals[colourOf(table.grid[point])] += 1;
}
for (const [name, cells] of draws ? [] : Object.entries(doc.cell_grid_histogram ?? {})) {
  totals[colourOf(Number.parseInt(name, 10))] += cells;
}

function layHistogram() {
  const names = ["Scale", "Whole run", "Cells", "Fraction", "This frame", "Cells now"];
  const head = names.map((name, i) => {
    const th = html("th", { textContent: name, scope: "col" });
    if ([2, 3, 5].includes(i)) th.className = "number";
    return th;
  });
  const all = totals.reduce((sum, value) => sum + value, 0) || 1;
  const most = Math.max(...totals, 1);
  const rows = NAMES.map((name, scale) => {
    const label = html("th", { scope: "row" }, html("span", { className: "inline" }, swatch(scale), name));
    const number = (text, id) => html("td", { className: "number", textContent: text, id: id ?? "" });
    return html(
      "tr",
      {},
      label,
      html("td", { className: "bar-cell" }, bar(scale, totals[scale] / most)),
      number(count(totals[scale])),
      number(percent(totals[scale] / all)),
      html("td", { className: "bar-cell", id: `bar-${scale}` }, bar(scale, 0)),
      number("", `cells-${scale}`),
    );
  });
  const caption = html("caption", { className: "unseen", textContent: "Gazed cells by scale" });
  const parts = [caption, html("thead", {}, html("tr", {}, ...head)), html("tbody", {}, ...rows)];
  const whole = html("table", { className: "bars" }, ...parts);
  byId("histogram").append(whole);
  if (draws) return;
  for (const row of whole.rows) for (const own of [...row.cells].slice(4)) own.remove();
}

function bar(scale, share) {
  const element = paint(html("span", { className: "bar", hidden: share === 0 }), scale);
  element.style.width = `${100 * share}%`;
  return element;
}

function tellHistogram(points) {
  const counts = [0, 0, 0, 0];
  for (const point of points) counts[colourOf(table.grid[point])] += 1;
  const most = Math.max(...counts, 1);
  counts.forEach((value, scale) => {
    byId(`bar-${scale}`).replaceChildren(bar(scale, value / most));
    byId(`cells-${scale}`).textContent = count(value);
  });
}

// The data of the page: what stands in its elements, decoded when it is first needed.

const bytesOf = (text) => Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
const wordsOf = (text, Type) => new Type(bytesOf(text).buffer);
const parsed = (element) => JSON.parse(element.textContent);

const run = parsed(document.getElementById("run"));
const summary = parsed(document.getElementById("summary"));
const frames = [...document.querySelectorAll("script.frame")].map((element) => {
  const frame = parsed(element);
  element.remove(); // its text is not needed twice
  return frame;
});

/** Whether the page draws, or only shows what was drawn. */
const draws = Boolean(run.visualization);

const table = (() => {
  const rows = frames.map((frame) => bytesOf(frame.new_cells ?? ""));
  const all = new Uint8Array(rows.reduce((size, row) => size + row.length, 0));
  rows.reduce((at, row) => (all.set(row, at), at + row.length), 0);
  const floats = new Float32Array(all.buffer);
  const whole = new Int32Array(all.buffer);
  const count = all.length / 28;
  const places = new Float32Array(4 * count);
  const names = new Int32Array(3 * count);
  for (let i = 0; i < count; i += 1) {
    places.set(floats.subarray(7 * i, 7 * i + 4), 4 * i);
    names.set(whole.subarray(7 * i + 4, 7 * i + 7), 3 * i);
  }
  return cellTable(places, names);
})();

function cellsOf(frame) {
  frame.points ??= Array.from(wordsOf(frame.cells ?? "", Uint32Array));
  frame.confidence ??= wordsOf(frame.confidences ?? "", Float32Array);
  return frame;
}

/** The cells of a frame that the page's filters leave. */
function pointsOf(frame, settings) {
  const { points, confidence } = cellsOf(frame);
  return points.filter(
    (point, i) =>
      confidence[i] > 0 &&
      confidence[i] >= settings.min_confidence &&
      !settings.hidden.has(colourOf(table.grid[point])),
  );
}

/** A picture as it stands in the page. */
async function imageOf(text) {
  const image = new Image();
  image.src = `data:image/jpeg;base64,${text}`;
  await image.decode();
  return image;
}

const KEPT_PICTURES = 64;
const decoded = new Map(); // frame number to Promise of pixels, the oldest first

/** The pixels of a frame's input, { width, height, data: Uint32Array }; null where none is kept. */
function pixelsOf(number) {
  if (!decoded.has(number)) {
    if (decoded.size >= KEPT_PICTURES) decoded.delete(decoded.keys().next().value);
    decoded.set(number, decode(frames[number].pictures.input));
  }
  return decoded.get(number);
}

async function decode(text) {
  if (!text) return null;
  const image = await imageOf(text);
  const { naturalWidth: width, naturalHeight: height } = image;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  return { width, height, data: new Uint32Array(data.buffer) };
}

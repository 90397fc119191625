// What the page keeps: a trace that the commands read, and the output as a video.

/** Offer a file to the user. */
function save(name, parts, type) {
  const address = URL.createObjectURL(new Blob(parts, { type }));
  html("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
}

/** A float32 in as few digits as give it again. */
function shortest(value) {
  for (let digits = 1; digits < 9; digits += 1) {
    const text = Number(value.toPrecision(digits));
    if (f32(text) === value) return text;
  }
  return Number(value.toPrecision(9));
}

function divisor(a, b) {
  return b ? divisor(b, a % b) : a;
}

/** A fraction as text: 3/2, or 3. */
function fraction(numerator, denominator) {
  const common = divisor(numerator, denominator);
  return denominator === common ? `${numerator / common}` : `${numerator / common}/${denominator / common}`;
}

/** Collects the gaze of frames of one size as a trace (docs/trace_format.md). */
class TraceRecorder {
  constructor(header) {
    this.header = header;
    this.lines = [];
    this.start = null;
    this.latest = -1;
  }

  get frames() {
    return this.lines.length;
  }

  /** Add a frame, taken at `time` milliseconds. */
  add(time, { cells, slots, stopProbability }) {
    this.start ??= time;
    this.latest = Math.max(this.latest + 1, Math.round(time - this.start)); // times ascend
    const fixations = {};
    for (const name of FLOATS) fixations[name] = Array.from(cells[name], shortest);
    for (const name of WHOLE) fixations[name] = Array.from(cells[name]);
    this.lines.push(
      JSON.stringify({
        index: this.lines.length,
        time: fraction(this.latest, 1000),
        time_s: this.latest / 1000,
        stop_probability: stopProbability,
        num_gazing: slots,
        fixations,
      }),
    );
  }

  /** The trace as the text of a file; its rate is that of the frames that were gazed at. */
  text() {
    const steps = this.frames - 1;
    const fps = steps ? fraction(1000 * steps, this.latest) : this.header.fps;
    const head = JSON.stringify({ ...this.header, fps }).slice(0, -1);
    return `${head},"frames":[\n${this.lines.join(",\n")}\n]}\n`;
  }
}

/** Records a canvas as WebM; call stop() for the parts of the file. */
function recordCanvas(canvas, fps) {
  const recorder = new MediaRecorder(canvas.captureStream(fps), { mimeType: "video/webm" });
  const parts = [];
  recorder.ondataavailable = ({ data }) => parts.push(data);
  recorder.start(1000);
  const stop = () =>
    new Promise((resolve) => {
      recorder.onstop = () => resolve(parts);
      recorder.stop();
    });
  return { stop };
}

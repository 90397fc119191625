// The gaze of `autogaze view`: a command that gazes, behind a WebSocket (autogaze_cli/jobs/viewing.py).

const about = JSON.parse(byId("viewer").textContent);

const GAZE_SETTINGS = ["mask_source", "mode", "tile_size", "stride", "top_k", "max_gaze_tokens_each_frame"];
GAZE_SETTINGS.push("task_loss_requirement", "horizon_frames", "patch_diff_grid", "patch_diff_threshold");

const settingsNow = () => {
  const all = gazeSettings(settings);
  return Object.fromEntries(GAZE_SETTINGS.map((id) => [id, all[id]]));
};

/** Takes the messages of worker.js, and gives its answers. */
class ServedGaze {
  constructor() {
    this.socket = new WebSocket(`${location.origin.replace("http", "ws")}/gaze${location.search}`);
    this.socket.binaryType = "arraybuffer";
    this.opened = new Promise((resolve) => {
      this.socket.onopen = resolve;
    });
    this.socket.onmessage = ({ data }) => this.receive(data);
    this.socket.onclose = ({ reason }) => this.closed(reason);
    this.pixels = null; // of the frame that the command gazes at
    this.head = null; // the message whose pixels come next
    this.playing = null; // the command's input, while it is the source
  }

  send(...messages) {
    this.opened.then(() => {
      if (this.socket.readyState === WebSocket.OPEN) messages.forEach((message) => this.socket.send(message));
    });
  }

  say(message) {
    this.send(JSON.stringify(message));
  }

  answer(data) {
    this.onmessage({ data });
  }

  postMessage({ type, pixels, ...rest }) {
    if (type === "reset") this.say({ type });
    else if (this.playing) {
      const { gaze, milliseconds } = this.playing.head; // it came with the frame
      queueMicrotask(() => this.answer({ ...rest, type: "gazed", pixels, gaze, milliseconds }));
    } else {
      this.pixels = pixels;
      this.send(JSON.stringify({ ...rest, type, settings: settingsNow() }), pixels);
    }
  }

  receive(data) {
    if (typeof data !== "string") {
      this.playing?.take(this.head, data);
      return;
    }
    const message = JSON.parse(data);
    if (message.gaze) message.gaze = gazeOf(message.gaze);
    if (message.type === "played") this.head = message;
    else if (message.type === "gazed") this.answer({ ...message, pixels: this.pixels });
    else if (message.type !== "ended" || message.number === this.playing?.number) this.answer(message);
  }

  closed(reason) {
    const message = reason || "the command has ended; start it again, and open its new address";
    this.answer({ type: "failed", what: "connection", message });
    byId("start").disabled = true;
  }
}

/** Cells from a frame of a trace. */
function gazeOf({ fixations, num_gazing: slots, stop_probability: stopProbability }) {
  const cells = {};
  for (const name of FLOATS) cells[name] = Float32Array.from(fixations[name]);
  for (const name of WHOLE) cells[name] = Int32Array.from(fixations[name]);
  return { cells, slots, stopProbability };
}

/** The input of the command: each frame comes with its gaze, and is asked for when the one before is drawn. */
class ServedSource {
  static count = 0;

  constructor(onFrame) {
    ServedSource.count += 1;
    this.number = ServedSource.count;
    this.onFrame = onFrame;
    this.canvas = new OffscreenCanvas(1, 1);
    this.context = this.canvas.getContext("2d", { willReadFrequently: true });
    this.size = [0, 0];
    gaze.playing = this;
    const { inference_width: width, inference_height: height } = settings;
    gaze.say({ type: "play", number: this.number, width, height });
    this.next();
  }

  next() {
    gaze.say({ type: "next", number: this.number, settings: settingsNow() });
  }

  take(head, pixels) {
    if (head.number !== this.number) return; // of an input that was stopped
    this.head = head;
    const { width, height } = head;
    this.size = [width, height];
    if (this.canvas.width !== width) this.canvas.width = width;
    if (this.canvas.height !== height) this.canvas.height = height;
    this.context.putImageData(new ImageData(new Uint8ClampedArray(pixels), width, height), 0, 0);
    this.onFrame();
    this.next();
  }

  draw(context, width, height) {
    context.drawImage(this.canvas, 0, 0, width, height);
  }

  close() {
    if (gaze.playing !== this) return;
    gaze.playing = null;
    gaze.say({ type: "stop" });
  }
}

// These change what the controls hold at first, and stand before controls.js, which reads it.
if (about.served.input) byId("source").prepend(new Option(about.served.input, "served", true, true));
if (!about.model) byId("mask_source").remove(0); // the model
byId("checkpoint").closest("label").hidden = true;
byId("facts").textContent =
  "A small model looks at a camera or video and picks the few patches that matter. Frames go to the command that serves this page, and nowhere else.";

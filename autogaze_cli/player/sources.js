// Where frames come from: a camera, a file, or a picture made from the frame's number.
//
// A source has size ([width, height]), draw(context, width, height), and close(); onFrame is called when
// it has a new frame. A file that plays, and a camera, run at their own rate.

/** Calls onFrame with every new frame of a video element. */
class VideoSource {
  constructor(video, onFrame, onClose) {
    this.video = video;
    this.onClose = onClose;
    const next = () => {
      if (this.closed) return;
      onFrame();
      this.wait(next);
    };
    this.wait(next);
  }

  wait(next) {
    if (this.video.requestVideoFrameCallback) this.video.requestVideoFrameCallback(next);
    else requestAnimationFrame(next);
  }

  get size() {
    return [this.video.videoWidth, this.video.videoHeight];
  }

  draw(context, width, height) {
    context.drawImage(this.video, 0, 0, width, height);
  }

  close() {
    this.closed = true;
    this.video.pause();
    this.onClose();
  }
}

async function playing(properties) {
  const video = Object.assign(document.createElement("video"), { muted: true, playsInline: true, ...properties });
  await video.play();
  return video;
}

async function openCamera(size, fps, onFrame) {
  if (!navigator.mediaDevices) throw new Error("this browser gives pages no camera");
  const [width, height] = size.split("x").map(Number);
  const wanted = { width: { ideal: width }, height: { ideal: height }, frameRate: { ideal: fps } };
  const stream = await navigator.mediaDevices.getUserMedia({ video: wanted, audio: false });
  const video = await playing({ srcObject: stream });
  return new VideoSource(video, onFrame, () => stream.getTracks().forEach((track) => track.stop()));
}

async function openFile(file, onFrame) {
  if (file.type.startsWith("image/")) {
    const image = await createImageBitmap(file);
    const draw = (context, width, height) => context.drawImage(image, 0, 0, width, height);
    return new TimedSource([image.width, image.height], 30, draw, onFrame);
  }
  const address = URL.createObjectURL(file);
  const close = () => URL.revokeObjectURL(address);
  try {
    return new VideoSource(await playing({ src: address, loop: true }), onFrame, close);
  } catch {
    close();
    throw new Error(`${file.name}: this browser cannot play it`);
  }
}

/** A source that draws a frame from its number, at a steady rate. */
class TimedSource {
  constructor(size, fps, draw, onFrame) {
    this.size = size;
    this.number = 0;
    this.draw = (context, width, height) => draw(context, width, height, this.number);
    this.timer = setInterval(() => {
      this.number += 1;
      onFrame();
    }, 1000 / fps);
  }

  close() {
    clearInterval(this.timer);
  }
}

const SYNTHETIC = {
  /** A chequered scene moves to the left. */
  pan(context, width, height, number) {
    paintScene(context, width, height, (number * width) / 160);
  },

  /** The scene stands still, and its light comes and goes. */
  pulse(context, width, height, number) {
    paintScene(context, width, height, 0);
    const dark = 0.35 * (1 - Math.cos(number / 8));
    context.fillStyle = `rgb(0 0 0 / ${dark})`;
    context.fillRect(0, 0, width, height);
  },

  /** The scene stands still, and one square goes round in it. */
  "local-motion"(context, width, height, number) {
    paintScene(context, width, height, 0);
    const side = height / 6;
    const x = width * (0.5 + 0.3 * Math.cos(number / 12)) - side / 2;
    const y = height * (0.5 + 0.3 * Math.sin(number / 12)) - side / 2;
    context.fillStyle = "rgb(250 250 245)";
    context.fillRect(x, y, side, side);
    context.fillStyle = "rgb(20 20 30)";
    context.fillRect(x + side / 4, y + side / 4, side / 2, side / 2);
  },
};

function paintScene(context, width, height, offset) {
  const side = height / 9;
  for (let column = -1; column <= Math.ceil(width / side) + 1; column += 1) {
    const at = column + Math.floor(offset / side);
    for (let row = 0; row < 9; row += 1) {
      const hue = (at * 47 + row * 83) % 360;
      context.fillStyle = `hsl(${hue} 45% ${30 + ((at * 7 + row * 13) % 40)}%)`;
      context.fillRect(Math.floor(column * side - (offset % side)), Math.floor(row * side), side + 1, side + 1);
    }
  }
}

/** Open a source by name. */
function openSource(name, { file, camera_size: size, fps }, onFrame) {
  if (name === "camera") return openCamera(size, fps, onFrame);
  if (name === "served") return new ServedSource(onFrame);
  if (name === "file") {
    if (!file) throw new Error("choose a video or an image, or drop one on this page");
    return openFile(file, onFrame);
  }
  return new TimedSource([1280, 720], fps, SYNTHETIC[name], onFrame);
}

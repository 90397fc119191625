// Input and cells to output: full-blend and interframe, as autogaze_cli/visualize/compositor.py.

const KEPT_OUTPUTS = 48;
const EVERY = 8; // of which a composed output is kept, so that stepping back is quick
const outputs = new Map(); // frame number to Uint32Array, for the settings of `outputsOf`
let outputsOf = "";

/** What of the settings an output depends on. */
const outputKey = (s) =>
  JSON.stringify([
    ...[s.visualization_mode, s.mask_geometry === "effective", s.mask_cell_scale],
    ...[s.visualization_mode === "full-blend" ? s.blend_alpha : s.keyframe_duration],
    ...[s.min_confidence, [...s.hidden].sort()],
  ]);

function isKeyframe(number, settings) {
  if (settings.visualization_mode !== "interframe") return false;
  const every = settings.keyframe_duration;
  return number === 0 || (every > 0 && number % every === 0);
}

function remember(number, output) {
  if (number % EVERY === 0 || number === frames.length - 1) {
    if (outputs.size >= KEPT_OUTPUTS) outputs.delete(outputs.keys().next().value);
    outputs.set(number, output);
  }
  outputs.latest = [number, output];
}

function remembered(number) {
  return outputs.latest?.[0] === number ? outputs.latest[1] : outputs.get(number);
}

/**
 * The output of a frame, a Uint32Array, and whether it is a keyframe; null where a picture is
 * missing, or `isWanted` has become false meanwhile.
 */
async function composed(number, settings, isWanted) {
  if (outputsOf !== outputKey(settings)) {
    outputs.clear();
    outputs.latest = null;
    outputsOf = outputKey(settings);
  }
  const step = async (at, previous) => {
    const picture = await pixelsOf(at);
    if (!picture) return null;
    if (isKeyframe(at, settings)) return picture.data;
    const points = pointsOf(frames[at], settings);
    const rects = maskRects(table, points, picture.width, picture.height, settings);
    if (settings.visualization_mode === "full-blend") {
      return fullBlend(picture, rects, settings.blend_alpha);
    }
    return pasted(picture, previous, rects);
  };
  if (settings.visualization_mode === "full-blend") return step(number, null);
  let start = number;
  while (!remembered(start) && !isKeyframe(start, settings)) start -= 1;
  let output = remembered(start) ?? (await step(start, null));
  const mine = outputsOf;
  for (let at = start + 1; output && at <= number; at += 1) {
    output = await step(at, output);
    if (!isWanted() || mine !== outputsOf) return null;
    if (output) remember(at, output);
  }
  if (output) remember(number, output);
  return output;
}

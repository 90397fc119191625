// Frames and cells to output frames, as autogaze_cli/visualize/compositor.py and psnr.py.
// A picture is { width, height, data }, its data a Uint32Array of RGBA.

function fullBlend({ width, height, data }, rects, alpha) {
  const mix = mixTable(alpha);
  const output = data.slice();
  for (const [x0, x1, y0, y1] of rects) {
    for (let y = y0; y < y1; y += 1) {
      for (let i = y * width + x0; i < y * width + x1; i += 1) {
        output[i] = mixPixel(mix, data[i], 0xffffff);
      }
    }
  }
  return output;
}

function pasted({ width, data }, previous, rects) {
  const output = previous.slice();
  for (const [x0, x1, y0, y1] of rects) {
    for (let y = y0; y < y1; y += 1) {
      const start = y * width + x0;
      output.set(data.subarray(start, start + x1 - x0), start);
    }
  }
  return output;
}

/** PSNR in dB over red, green and blue of two Uint32Arrays of RGBA; Infinity where equal. */
function psnr(reference, candidate) {
  let error = 0;
  for (let i = 0; i < reference.length; i += 1) {
    const [a, b] = [reference[i], candidate[i]];
    if (a === b) continue;
    const red = (a & 255) - (b & 255);
    const green = ((a >>> 8) & 255) - ((b >>> 8) & 255);
    const blue = ((a >>> 16) & 255) - ((b >>> 16) & 255);
    error += red * red + green * green + blue * blue;
  }
  return error ? 10 * Math.log10((255 * 255) / (error / (3 * reference.length))) : Infinity;
}

/** Composes the frames of one stream in order. */
class Compositor {
  constructor() {
    this.reset();
  }

  /** Start again with a keyframe, as for another stream. */
  reset() {
    this.index = 0;
    this.previous = null;
  }

  /**
   * The next frame.
   *
   * settings: mask_geometry, mask_cell_scale, visualization_mode, keyframe_duration, blend_alpha.
   * Another mode starts again, and a picture of another size is a keyframe.
   *
   * Returns output (Uint32Array), keyframe, maskPixels and updatedPixels.
   */
  step(picture, table, points, settings) {
    const { width, height, data } = picture;
    if (settings.visualization_mode !== this.mode) this.reset();
    this.mode = settings.visualization_mode;
    const rects = maskRects(table, points, width, height, settings);
    const maskPixels = unionCount(rects, width, height);
    const blends = this.mode === "full-blend";
    const keyframe = !blends && this.isKeyframe(picture, settings.keyframe_duration);
    let output = data;
    if (blends) output = fullBlend(picture, rects, settings.blend_alpha);
    else if (!keyframe) output = pasted(picture, this.previous, rects);
    this.index += 1;
    this.previous = blends ? null : output;
    this.width = width;
    return { output, keyframe, maskPixels, updatedPixels: keyframe ? data.length : maskPixels };
  }

  isKeyframe({ width, data }, every) {
    if (this.previous?.length !== data.length || this.width !== width) return true;
    return every > 0 && this.index % every === 0;
  }
}

/** A moving average that ignores infinite values once it is finite, as metrics.py has it. */
class MovingAverage {
  value = null;

  add(value) {
    if (this.value === null || !Number.isFinite(this.value)) this.value = value;
    else if (Number.isFinite(value)) this.value = this.value * 0.85 + value * 0.15;
    return this.value;
  }
}

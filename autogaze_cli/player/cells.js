// Cells to pixels, as autogaze_cli/visualize/ draws them: the same float32 steps, the same order.
// Points are numbers of the cell table. A rectangle is x0, x1, y0, y1: x0 <= x < x1, y0 <= y < y1.

const f32 = Math.fround;
const SMALLEST = f32(1e-6);
const EPSILON = 2 ** -23;
const GRIDS = [2, 4, 7, 14];
const COLOURS = [[255, 180, 0], [60, 220, 120], [0, 185, 255], [230, 110, 255]];
const pixel = (red, green, blue) => ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
const fill = (channel) => Math.floor(f32(f32(channel * f32(0.42)) + 0.5));
const BORDERS = COLOURS.map((colour) => pixel(...colour));
const FILLS = COLOURS.map((colour) => pixel(...colour.map(fill)));
const BLACK = pixel(0, 0, 0);

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const colourOf = (grid) => (grid <= 2 ? 0 : grid <= 4 ? 1 : grid <= 7 ? 2 : 3);

/** Every distinct cell of the video, as columns; extents are clamped, grids are display grids. */
function cellTable(places, names) {
  const count = places.length / 4;
  const table = {
    x: new Float32Array(count),
    y: new Float32Array(count),
    width: new Float32Array(count),
    height: new Float32Array(count),
    grid: new Int32Array(count),
    token: new Int32Array(count),
    tile: new Int32Array(count),
  };
  for (let i = 0; i < count; i += 1) {
    table.x[i] = places[4 * i];
    table.y[i] = places[4 * i + 1];
    table.width[i] = clamp(places[4 * i + 2], SMALLEST, 1);
    table.height[i] = clamp(places[4 * i + 3], SMALLEST, 1);
    const own = names[3 * i];
    table.grid[i] = own > 0 ? own : nearestGrid(f32(1 / Math.max(table.width[i], table.height[i])));
    table.token[i] = names[3 * i + 1];
    table.tile[i] = names[3 * i + 2];
  }
  return table;
}

function nearestGrid(cells) {
  let nearest = GRIDS[0];
  for (const grid of GRIDS) {
    if (Math.abs(f32(cells - grid)) < Math.abs(f32(cells - nearest))) nearest = grid;
  }
  return nearest;
}

/** Stable, by width and height descending. */
function coarseFirst(table, points) {
  const { width, height } = table;
  return points.slice().sort((a, b) => width[b] - width[a] || height[b] - height[a]);
}

function spanOf(low, high, size, round) {
  const start = Math.min(Math.floor(round(low * size)), size - 1);
  return [start, Math.max(Math.min(Math.ceil(round(high * size)), size), start + 1)];
}

function nativeSpan(centre, extent, size, scale) {
  const half = Math.min(f32(f32(extent * scale) * 0.5), 0.5);
  const low = clamp(f32(centre - half), 0, 1);
  return spanOf(low, clamp(f32(centre + half), 0, 1), size, f32);
}

function nativeRects(table, points, width, height, cellScale) {
  const scale = Math.max(f32(cellScale), SMALLEST);
  return points.map((i) => [
    ...nativeSpan(table.x[i], table.width[i], width, scale),
    ...nativeSpan(table.y[i], table.height[i], height, scale),
  ]);
}

/** The points less those whose pixels larger ones cover already, largest first. */
function deduplicate(table, points, width, height, cellScale) {
  const { width: w, height: h, grid } = table;
  const ordered = points
    .slice()
    .sort((a, b) => w[b] - w[a] || h[b] - h[a] || grid[a] - grid[b]);
  const rects = nativeRects(table, ordered, width, height, cellScale);
  const covered = new Uint8Array(width * height);
  return ordered.filter((_, i) => {
    const [x0, x1, y0, y1] = rects[i];
    let shows = false;
    for (let y = y0; y < y1; y += 1) {
      const row = covered.subarray(y * width + x0, y * width + x1);
      shows ||= row.includes(0);
      row.fill(1);
    }
    return shows;
  });
}

function effectiveAxis(points, centres, extents, size, cellScale) {
  const cells = points.reduce(
    (most, i) => Math.max(most, Math.floor(f32(1 / extents[i]) + 0.5)),
    14,
  );
  const scale = f32(cellScale);
  return points.map((i) => {
    const inside = clamp(centres[i], 0, f32(1 - EPSILON));
    const at = Math.min(Math.floor(f32(inside * cells)), cells - 1);
    if (Math.abs(f32(scale - 1)) <= EPSILON) {
      const start = Math.min(Math.floor((at * size) / cells), size - 1);
      return [start, Math.max(Math.ceil(((at + 1) * size) / cells), start + 1)];
    }
    const extent = clamp(Math.max(scale, 1e-6) / cells, 1e-6, 1);
    const middle = (at + 0.5) / cells;
    const low = clamp(middle - 0.5 * extent, 0, 1);
    return spanOf(low, clamp(middle + 0.5 * extent, 0, 1), size, (value) => value);
  });
}

function effectiveRects(table, points, width, height, cellScale) {
  const across = effectiveAxis(points, table.x, table.width, width, cellScale);
  const down = effectiveAxis(points, table.y, table.height, height, cellScale);
  return across.map((span, i) => [...span, ...down[i]]);
}

/** The rectangles whose union a geometry masks; that of deduplicated cells is the native one. */
function maskRects(table, points, width, height, settings) {
  const rects = settings.mask_geometry === "effective" ? effectiveRects : nativeRects;
  return rects(table, points, width, height, settings.mask_cell_scale);
}

/** How many pixels of a frame the rectangles cover. */
function unionCount(rects, width, height) {
  const covered = new Uint8Array(width * height);
  for (const [x0, x1, y0, y1] of rects) {
    for (let y = y0; y < y1; y += 1) covered.fill(1, y * width + x0, y * width + x1);
  }
  let count = 0;
  for (let i = 0; i < covered.length; i += 1) count += covered[i];
  return count;
}

function drawCell(canvas, stride, left, top, [x0, x1, y0, y1], grid) {
  const border = BORDERS[colourOf(grid)];
  const inside = FILLS[colourOf(grid)];
  for (let y = y0; y < y1; y += 1) {
    const row = (top + y) * stride + left;
    canvas.fill(border, row + x0, row + x1);
    if (y > y0 && y < y1 - 1 && x1 - x0 > 2) canvas.fill(inside, row + x0 + 1, row + x1 - 1);
  }
}

/** The bands of scale-rows: where the whole frame stands in each, reduced, and whose cells. */
function bandsOf(table, points, width, height) {
  const present = [...new Set(points.map((i) => table.grid[i]))].sort((a, b) => a - b);
  return present.map((grid, band) => {
    const top = Math.floor((band * height) / present.length);
    const rows = Math.ceil(((band + 1) * height) / present.length) - top;
    const columns = clamp(Math.floor((rows * width) / height + 0.5), 1, width);
    return { grid, top, rows, columns, left: Math.floor((width - columns) / 2) };
  });
}

/** Cells as they are drawn, the last on top: [rectangle, grid, point]. */
function placedCells(table, points, width, height, settings) {
  const ordered = coarseFirst(table, points);
  const rects = maskRects(table, ordered, width, height, settings);
  const cells = rects.map((rect, i) => [rect, table.grid[ordered[i]], ordered[i]]);
  if (settings.mask_geometry !== "effective") return cells;
  const finest = new Map(cells.map((cell) => [cell[0].join(), cell])); // of equal rectangles
  return [...finest.values()].sort(
    ([p], [q]) => p[0] - q[0] || p[1] - q[1] || p[2] - q[2] || p[3] - q[3],
  );
}

/** What of the points is drawn: all, or those that deduplication leaves. */
function drawnPoints(table, points, width, height, settings) {
  if (settings.mask_geometry !== "deduplicated") return points;
  return deduplicate(table, points, width, height, settings.mask_cell_scale);
}

const isBanded = (settings) =>
  settings.mask_visualization === "scale-rows" && settings.mask_geometry !== "effective";

/** The mask panel, a Uint32Array of RGBA; `frame` is the picture's, likewise. */
function maskPanel(frame, table, points, width, height, settings) {
  const drawn = drawnPoints(table, points, width, height, settings);
  const style = settings.mask_visualization;
  const canvas = new Uint32Array(width * height);
  if (isBanded(settings)) {
    canvas.fill(BLACK);
    for (const band of bandsOf(table, drawn, width, height)) {
      canvas.fill(BLACK, band.top * width, (band.top + band.rows) * width);
      const own = drawn.filter((i) => table.grid[i] === band.grid);
      for (const [rect, grid] of placedCells(table, own, band.columns, band.rows, settings)) {
        drawCell(canvas, width, band.left, band.top, rect, grid);
      }
    }
    return canvas;
  }
  const mixes = style === "image-overlay" || style === "image-mask-only";
  if (!mixes) canvas.fill(BLACK);
  for (const [rect, grid] of placedCells(table, drawn, width, height, settings)) {
    drawCell(canvas, width, 0, 0, rect, grid);
  }
  if (mixes) mixOver(canvas, frame, settings.blend_alpha, style === "image-overlay");
  return canvas;
}

/** base * (1 - alpha) + over * alpha for every pair of bytes, each step float32, halves up. */
const mixTable = (() => {
  let known = null;
  let table = null;
  return (alpha) => {
    const weight = clamp(f32(alpha), 0, 1);
    if (known === weight) return table;
    const rest = f32(1 - weight);
    table = new Uint8Array(65536);
    for (let i = 0; i < 65536; i += 1) {
      const mixed = f32(f32((i >> 8) * rest) + f32((i & 255) * weight));
      table[i] = Math.floor(mixed + 0.5);
    }
    known = weight;
    return table;
  };
})();

function mixPixel(mix, base, over) {
  const red = mix[((base & 255) << 8) | (over & 255)];
  const green = mix[(base & 0xff00) | ((over >>> 8) & 255)];
  const blue = mix[((base >>> 8) & 0xff00) | ((over >>> 16) & 255)];
  return pixel(red, green, blue);
}

/** Where cells are drawn, the frame mixed with them; elsewhere the frame, or nothing. */
function mixOver(canvas, frame, alpha, keepFrame) {
  const mix = mixTable(alpha);
  for (let i = 0; i < canvas.length; i += 1) {
    if (canvas[i]) canvas[i] = mixPixel(mix, frame[i], canvas[i]);
    else if (keepFrame) canvas[i] = frame[i];
  }
}

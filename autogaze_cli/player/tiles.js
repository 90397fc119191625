// How a frame is cut into tiles, and where their cells lie in it: gaze/tiles.py, in the same float32 steps.
// Cells are columns: x, y, width, height, confidence; grid, token, tile, slot.

const FLOATS = ["x", "y", "width", "height", "confidence"];
const WHOLE = ["grid", "token", "tile", "slot"];

/** Columns from rows, each with all nine values. */
function columnsOf(rows) {
  const cells = {};
  for (const name of FLOATS) cells[name] = Float32Array.from(rows, (row) => row[name]);
  for (const name of WHOLE) cells[name] = Int32Array.from(rows, (row) => row[name]);
  return cells;
}

class TileLayout {
  constructor({ mode, tile_size: tileSize, stride }, width, height) {
    Object.assign(this, { mode, tileSize, width, height });
    this.step = mode === "tiled-full" ? Math.min(stride || tileSize, tileSize) : tileSize;
    const along = (length) => (mode === "resize" ? 1 : Math.ceil(length / this.step));
    this.columns = along(width);
    this.rows = along(height);
    this.count = this.columns * this.rows;
    const isStretched = mode === "tiled";
    this.canvas = isStretched ? [this.columns * tileSize, this.rows * tileSize] : [width, height];
  }

  /** Left and top of a tile on the canvas. */
  origin(tile) {
    return [(tile % this.columns) * this.step, Math.floor(tile / this.columns) * this.step];
  }

  /** A cell of a tile as one of the frame, or null where it lies outside. */
  place(cell) {
    if (this.mode === "resize") return cell;
    const origin = this.origin(cell.tile);
    const along = this.step === this.tileSize ? this.byCell : this.byPixel;
    const across = along.call(this, this.canvas[0], origin[0], cell.x, cell.width, cell.grid);
    const down = along.call(this, this.canvas[1], origin[1], cell.y, cell.height, cell.grid);
    if (!across || !down) return null;
    const [x, width] = across;
    const [y, height] = down;
    return { ...cell, x, y, width, height };
  }

  byCell(length, origin, centre, _extent, grid) {
    const cells = Math.max(1, Math.floor((length * grid) / this.tileSize));
    const own = Math.min(Math.trunc(f32(clamp(centre, 0, 1) * grid)), grid - 1);
    const cell = Math.floor(origin / this.tileSize) * grid + own;
    if (cell >= cells) return null;
    return [f32(f32(cell + 0.5) / cells), f32(1 / cells)];
  }

  byPixel(length, origin, centre, extent) {
    const pixel = f32(origin + f32(centre * this.tileSize));
    if (pixel >= length) return null;
    const size = f32(f32(extent * this.tileSize) / length);
    return [clamp(f32(pixel / length), 0, 1), clamp(size, SMALLEST, 1)];
  }
}

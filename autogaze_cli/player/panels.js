// The pictures side by side: canvases, the cell under the pointer, and enlarging one of them.

const PANEL_NAMES = { input: "Input", mask: "Mask", output: "Output" };
const PANEL_NOTES = {
  input: "the video",
  mask: "where the gaze went",
  output: "rebuilt from those cells",
};

class Panel {
  constructor(role, width, height, onPoint) {
    this.canvas = html("canvas", { width, height });
    this.canvas.setAttribute("role", "img");
    this.mark = html("span", { className: "mark", hidden: true });
    this.outline = html("span", { className: "outline", hidden: true });
    const stage = html("div", { className: "stage" }, this.canvas, this.mark, this.outline);
    const enlarge = html("button", { type: "button", textContent: "Enlarge" });
    enlarge.setAttribute("aria-pressed", "false");
    enlarge.setAttribute("aria-label", `Enlarge ${PANEL_NAMES[role].toLowerCase()}`);
    this.note = html("small", { className: "quiet", textContent: PANEL_NOTES[role] });
    const title = html("span", {}, PANEL_NAMES[role], " ", this.note);
    const caption = html("figcaption", {}, title, enlarge);
    this.element = html("figure", { id: `panel-${role}` }, caption, stage);
    this.role = role;
    enlarge.addEventListener("click", () => {
      const large = this.element.classList.toggle("large");
      enlarge.setAttribute("aria-pressed", large);
    });
    stage.addEventListener("pointermove", (event) => {
      const box = this.canvas.getBoundingClientRect();
      const across = (event.clientX - box.left) / box.width;
      const down = (event.clientY - box.top) / box.height;
      const [x, y] = [across * this.canvas.width, down * this.canvas.height];
      onPoint(role, Math.floor(x), Math.floor(y));
    });
    stage.addEventListener("pointerleave", () => onPoint(role, -1, -1));
  }

  resize(width, height) {
    if (this.canvas.width !== width) this.canvas.width = width;
    if (this.canvas.height !== height) this.canvas.height = height;
  }

  /** What draws into the picture, which then has this size. */
  context(width, height) {
    this.resize(width, height);
    return this.canvas.getContext("2d");
  }

  /** Show pixels, a Uint32Array of RGBA; or nothing, where there are none. */
  put(pixels, width, height) {
    this.resize(width, height);
    const context = this.canvas.getContext("2d");
    if (!pixels) {
      context.clearRect(0, 0, width, height);
      return;
    }
    const bytes = new Uint8ClampedArray(pixels.buffer, pixels.byteOffset, pixels.byteLength);
    context.putImageData(new ImageData(bytes, width, height), 0, 0);
  }

  putImage(image) {
    this.resize(image.naturalWidth, image.naturalHeight);
    this.canvas.getContext("2d").drawImage(image, 0, 0);
  }

  say(text) {
    this.mark.hidden = !text;
    this.mark.textContent = text;
  }

  describe(text) {
    this.canvas.setAttribute("aria-label", text);
  }

  /** Frame a rectangle x0, x1, y0, y1 of the picture, or none. */
  frame(rect) {
    this.outline.hidden = !rect;
    if (!rect) return;
    const { width, height } = this.canvas;
    const [x0, x1, y0, y1] = rect;
    const share = (value, all) => `${(100 * value) / all}%`;
    const { style } = this.outline;
    style.left = share(x0, width);
    style.width = share(x1 - x0, width);
    style.top = share(y0, height);
    style.height = share(y1 - y0, height);
  }
}

const isInside = ([x0, x1, y0, y1], x, y) => x >= x0 && x < x1 && y >= y0 && y < y1;

/** The topmost of placed cells at a pixel. */
const cellAt = (cells, x, y) => cells.findLast(([rect]) => isInside(rect, x, y));

/** Cells as scale-rows shows them, moved into their bands. */
function bandedCells(table, points, width, height, settings) {
  return bandsOf(table, points, width, height).flatMap((band) => {
    const own = points.filter((i) => table.grid[i] === band.grid);
    const cells = placedCells(table, own, band.columns, band.rows, settings);
    return cells.map(([[x0, x1, y0, y1], ...rest]) => [
      [x0 + band.left, x1 + band.left, y0 + band.top, y1 + band.top],
      ...rest,
    ]);
  });
}

/** Outlines the cell under the pointer in all panels, and names it in the element #pointed. */
class CellPointer {
  /** panels by role; name(point) is what a cell is called. */
  constructor(panels, name) {
    this.panels = panels;
    this.name = name;
    this.frame = null;
  }

  /** The cells shown from now on: points of a table, in pictures of a size. */
  place(table, points, width, height, settings) {
    this.frame = { table, points, width, height, settings };
    this.placed = null; // until it is asked for
    if (this.at) this.pointAt(...this.at);
    else this.pointAt("input", -1, -1);
  }

  cells() {
    const { table, points, width, height, settings } = this.frame;
    const left = drawnPoints(table, points, width, height, settings);
    const whole = placedCells(table, left, width, height, settings);
    const mask = isBanded(settings) ? bandedCells(table, left, width, height, settings) : whole;
    return { input: whole, mask, output: whole };
  }

  /** The pointer is at a pixel of a panel, or nowhere: x = -1. */
  pointAt(role, x, y) {
    this.at = x >= 0 ? [role, x, y] : null;
    if (!this.frame) return;
    if (this.at) this.placed ??= this.cells();
    const cell = this.at && cellAt(this.placed[role], x, y);
    for (const [other, panel] of Object.entries(this.panels)) {
      const same = cell && this.placed[other].findLast(([, , point]) => point === cell[2]);
      panel.frame(same?.[0]);
    }
    byId("pointed").textContent = cell ? this.name(cell[2]) : "Point at a picture to name the cell there.";
  }
}

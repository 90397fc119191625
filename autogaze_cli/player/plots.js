// Lines over the frames as SVG, with a cursor at the frame shown; a click goes to a frame.

const HEIGHT = 190;
const MARGIN = { left: 46, right: 10, top: 10, bottom: 22 };

/** Ends of an axis and its ticks, in round steps. */
function ticksOf(low, high) {
  const span = high - low || Math.abs(high) || 1;
  const raw = span / 4;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((value) => value >= raw);
  const start = Math.floor(low / step) * step;
  const ticks = [];
  for (let k = 0; start + (k - 1) * step < high; k += 1) ticks.push(start + k * step);
  return ticks;
}

/**
 * A plot below a heading.
 *
 * options: title, unit (text of a value), series: [{ name, className, values }], where a value of
 * null is a gap and Infinity a mark at the top, keyframes: boolean[], bounds: [low, high] or null.
 */
class Plot {
  constructor(options, seek) {
    this.options = options;
    this.shown = 0;
    this.picture = svg("svg", { role: "img", height: HEIGHT });
    this.legend = html("div", { className: "keys-of" });
    const heading = html("h3", { textContent: options.title });
    this.element = html("div", { className: "plot" }, heading, this.legend, this.picture);
    const go = (event) => seek(this.frameAt(event.clientX));
    this.picture.addEventListener("pointerdown", (event) => {
      this.picture.setPointerCapture(event.pointerId);
      go(event);
    });
    this.picture.addEventListener("pointermove", (event) => {
      if (this.picture.hasPointerCapture(event.pointerId)) go(event);
    });
    new ResizeObserver(() => this.draw()).observe(this.picture);
  }

  get last() {
    return Math.max(1, frames.length - 1);
  }

  x(number) {
    return MARGIN.left + (number / this.last) * (this.width - MARGIN.left - MARGIN.right);
  }

  frameAt(clientX) {
    const { left } = this.picture.getBoundingClientRect();
    const inside = this.width - MARGIN.left - MARGIN.right;
    const number = Math.round(((clientX - left - MARGIN.left) / inside) * this.last);
    return clamp(number, 0, frames.length - 1);
  }

  /** Show another line of that class, or none. */
  set(className, name, values) {
    const others = this.options.series.filter((one) => one.className !== className);
    this.options.series = values ? [...others, { name, className, values }] : others;
    this.draw();
  }

  draw() {
    this.width = this.picture.clientWidth || 600;
    const { series, bounds, unit } = this.options;
    const finite = series.flatMap((one) => one.values.filter(Number.isFinite));
    const [low, high] = bounds ?? [Math.min(...spread(finite, 0)), Math.max(...spread(finite, 1))];
    const ticks = ticksOf(low, high);
    const [bottom, top] = [ticks[0], ticks.at(-1)];
    const inside = HEIGHT - MARGIN.top - MARGIN.bottom;
    this.y = (value) => {
      const share = value === Infinity ? 1 : (value - bottom) / (top - bottom);
      return MARGIN.top + (1 - share) * inside;
    };
    const parts = ticks.flatMap((tick) => this.tick(tick, unit));
    parts.push(...this.frameTicks());
    (this.options.keyframes ?? []).forEach((is, i) => {
      const y = HEIGHT - MARGIN.bottom;
      const at = { x1: this.x(i), x2: this.x(i), y1: y - 7, y2: y, class: "keyframe-line" };
      if (is) parts.push(svg("line", at));
    });
    for (const one of series) parts.push(...this.line(one));
    this.cursor = svg("line", { y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom, class: "cursor-line" });
    this.dot = svg("circle", { r: 5, class: "cursor-dot" });
    this.picture.replaceChildren(...parts, this.cursor, this.dot);
    this.picture.setAttribute("viewBox", `0 0 ${this.width} ${HEIGHT}`);
    this.picture.setAttribute("aria-label", this.inWords());
    const names = series.map((one) =>
      html("span", { className: one.className, textContent: one.name }),
    );
    if (this.options.keyframes?.some(Boolean)) {
      names.push(html("span", { className: "keyframes", textContent: "keyframe" }));
    }
    this.legend.replaceChildren(...names);
    this.show(this.shown);
  }

  tick(value, unit) {
    const y = this.y(value);
    const line = { x1: MARGIN.left, x2: this.width - MARGIN.right, y1: y, y2: y };
    const label = { x: MARGIN.left - 8, y: y + 4, "text-anchor": "end", class: "axis" };
    return [svg("line", { ...line, class: "grid-line" }), svg("text", label, unit(value))];
  }

  frameTicks() {
    const count = Math.max(2, Math.min(frames.length, Math.floor(this.width / 90)));
    const numbers = new Set(
      Array.from({ length: count }, (_, i) => Math.round((i / (count - 1)) * (frames.length - 1))),
    );
    return [...numbers].map((number) => {
      const anchor = number === 0 ? "start" : number === frames.length - 1 ? "end" : "middle";
      const place = { x: this.x(number), y: HEIGHT - 5, "text-anchor": anchor, class: "axis" };
      return svg("text", place, number ? `${number + 1}` : "frame 1");
    });
  }

  /** A line broken at gaps; marks at the top for infinities, and for values without neighbours. */
  line({ className, values }) {
    let path = "";
    const dots = [];
    values.forEach((value, i) => {
      const joins = Number.isFinite(value);
      if (joins) {
        path += `${Number.isFinite(values[i - 1]) ? "L" : "M"}${this.x(i)},${this.y(value)}`;
      }
      const alone = !Number.isFinite(values[i - 1]) && !Number.isFinite(values[i + 1]);
      if (className === "first" && (value === Infinity || (joins && alone))) {
        const place = { cx: this.x(i), cy: this.y(value), r: 3.5 };
        dots.push(svg("circle", { ...place, class: "first-dot" }));
      }
    });
    return [svg("path", { d: path, class: `${className}-line` }), ...dots];
  }

  show(number) {
    this.shown = number;
    if (!this.cursor) return;
    const x = this.x(number);
    this.cursor.setAttribute("x1", x);
    this.cursor.setAttribute("x2", x);
    const value = this.options.series[0].values[number];
    this.dot.style.display = value === null || value === undefined ? "none" : "";
    this.dot.setAttribute("cx", x);
    this.dot.setAttribute("cy", value === null || value === undefined ? 0 : this.y(value));
  }

  inWords() {
    const { title, series, unit } = this.options;
    const values = series[0].values.filter(Number.isFinite);
    if (!values.length) return `${title}: no finite values.`;
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const [low, high] = [Math.min(...values), Math.max(...values)];
    return `${title}: ${unit(mean)} on average, from ${unit(low)} to ${unit(high)}. All numbers are in the table below.`;
  }
}

const spread = (values, otherwise) => (values.length ? values : [otherwise]);

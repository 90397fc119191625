/* Pictures to the model's input, as preprocess.py: RGBA bytes to normalised planes [3][side][side]. */

static int at_least(int x, int low) { return x < low ? low : x; }
static int at_most(int x, int high) { return x > high ? high : x; }

/* One direction of Pillow's bilinear filter, antialiased, on bytes. From `count` lines of n pixels to
 * lines of m; pixels are `step` bytes apart, lines `line`. */
static void resample(const uint8_t *from, int n, int step, int line, int count, uint8_t *to, int m,
                    int to_step, int to_line) {
    double scale = (double)n / m, support = scale > 1 ? scale : 1;
    int room = (int)support * 2 + 3;
    int32_t *weights = memory((size_t)room * sizeof(int32_t));
    double *exact = memory((size_t)room * sizeof(double));
    for (int o = 0; o < m; o++) {
        double centre = (o + 0.5) * scale, sum = 0;
        int low = at_least((int)(centre - support + 0.5), 0);
        int taps = at_most((int)(centre + support + 0.5), n) - low;
        for (int i = 0; i < taps; i++) {
            double x = (low + i - centre + 0.5) * (1 / support);
            exact[i] = x < 0 ? (x > -1 ? 1 + x : 0) : (x < 1 ? 1 - x : 0);
            sum += exact[i];
        }
        for (int i = 0; i < taps; i++) weights[i] = (int32_t)(0.5 + exact[i] / sum * (1 << 22));
        for (int l = 0; l < count; l++) {
            const uint8_t *source = from + (size_t)l * line + (size_t)low * step;
            int32_t r = 1 << 21, g = 1 << 21, b = 1 << 21;
            for (int i = 0; i < taps; i++, source += step) {
                r += source[0] * weights[i];
                g += source[1] * weights[i];
                b += source[2] * weights[i];
            }
            uint8_t *target = to + (size_t)l * to_line + (size_t)o * to_step;
            target[0] = at_most(r >> 22, 255), target[1] = at_most(g >> 22, 255);
            target[2] = at_most(b >> 22, 255);
        }
    }
    free(weights);
    free(exact);
}

/* Bicubic weights of the four pixels around a place, a = -0.75. */
static void cubic(float t, float w[4]) {
    const float a = -0.75f;
    float far = t + 1, near = 1 - t, last = 2 - t;
    w[0] = ((a * far - 5 * a) * far + 8 * a) * far - 4 * a;
    w[1] = ((a + 2) * t - (a + 3)) * t * t + 1;
    w[2] = ((a + 2) * near - (a + 3)) * near * near + 1;
    w[3] = ((a * last - 5 * a) * last + 8 * a) * last - 4 * a;
}

/* Planes [3][h][w] to [3][side][side], bicubic, half-pixel centres, not antialiased. */
static void square(const float *from, int w, int h, int side, float *to) {
    for (int y = 0; y < side; y++) {
        float down[4], real_y = (float)h / side * (y + 0.5f) - 0.5f;
        int top = (int)(real_y + 1) - 1; /* the floor; real_y is at least -0.5 */
        cubic(real_y - top, down);
        for (int x = 0; x < side; x++) {
            float right[4], real_x = (float)w / side * (x + 0.5f) - 0.5f;
            int left = (int)(real_x + 1) - 1;
            cubic(real_x - left, right);
            for (int p = 0; p < 3; p++) {
                float sum = 0;
                for (int j = 0; j < 4; j++) {
                    const float *row = from + ((size_t)p * h + at_most(at_least(top - 1 + j, 0), h - 1)) * w;
                    float across = 0;
                    for (int i = 0; i < 4; i++)
                        across += row[at_most(at_least(left - 1 + i, 0), w - 1)] * right[i];
                    sum += across * down[j];
                }
                to[((size_t)p * side + y) * side + x] = sum;
            }
        }
    }
}

/* A whole picture: its shorter side resized to `edge` as the published processor does, normalised, and
 * made square. */
static void whole_input(const uint8_t *rgba, int w, int h, int edge, int side, float values[3][256], float *to) {
    int shorter = w < h ? w : h;
    double exact = (double)edge * (w < h ? h : w) / shorter;
    if (exact > 1 << 28) __builtin_trap(); /* no memory has room for it */
    int longer = (int)exact; /* truncated */
    int new_w = w < h ? edge : longer, new_h = w < h ? longer : edge;
    uint8_t *wide = memory((uint64_t)new_w * h * 4), *small = memory((uint64_t)new_w * new_h * 4);
    float *planes = floats((uint64_t)new_w * new_h * 3);
    if (new_w != w) resample(rgba, w, 4, w * 4, h, wide, new_w, 4, new_w * 4);
    const uint8_t *pixels = new_w == w ? rgba : wide;
    if (new_h != h) resample(pixels, h, new_w * 4, 4, new_w, small, new_h, new_w * 4, 4);
    if (new_h != h) pixels = small;
    size_t count = (size_t)new_w * new_h;
    for (int p = 0; p < 3; p++)
        for (size_t i = 0; i < count; i++) planes[p * count + i] = values[p][pixels[4 * i + p]];
    if (new_w == side && new_h == side) memcpy(to, planes, 3 * count * sizeof(float));
    else square(planes, new_w, new_h, side, to);
    free(wide);
    free(small);
    free(planes);
}

/* The tile at (left, top) of a picture that is stretched to canvas_w x canvas_h, bilinear; or of the
 * picture itself, 0 beyond its edges, where the canvas has no size. */
static void tile_input(const uint8_t *rgba, int w, int h, int canvas_w, int canvas_h, int left, int top,
                      int tile, int side, float values[3][256], float *to) {
    float *planes = tile == side ? to : floats((uint64_t)tile * tile * 3);
    for (int y = 0; y < tile; y++)
        for (int x = 0; x < tile; x++)
            for (int p = 0; p < 3; p++) {
                float *value = planes + ((size_t)p * tile + y) * tile + x;
                int column = left + x, row = top + y;
                if (!canvas_w) {
                    *value = column < w && row < h ? values[p][rgba[((size_t)row * w + column) * 4 + p]] : 0;
                    continue;
                }
                double at_x = (column + 0.5) * ((double)w / canvas_w) - 0.5;
                double at_y = (row + 0.5) * ((double)h / canvas_h) - 0.5;
                at_x = at_x < 0 ? 0 : at_x > w - 1 ? w - 1 : at_x;
                at_y = at_y < 0 ? 0 : at_y > h - 1 ? h - 1 : at_y;
                int x0 = (int)at_x, y0 = (int)at_y, x1 = at_most(x0 + 1, w - 1), y1 = at_most(y0 + 1, h - 1);
                float right = (float)(at_x - x0), down = (float)(at_y - y0);
                const uint8_t *a = rgba + (size_t)y0 * w * 4 + p, *b = rgba + (size_t)y1 * w * 4 + p;
                float upper = values[p][a[4 * x0]] * (1 - right) + values[p][a[4 * x1]] * right;
                float lower = values[p][b[4 * x0]] * (1 - right) + values[p][b[4 * x1]] * right;
                *value = upper * (1 - down) + lower * down;
            }
    if (planes != to) {
        square(planes, tile, tile, side, to);
        free(planes);
    }
}

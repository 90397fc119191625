/* The vision encoder and the connector, as vision.py: a frame to the tokens that the decoder reads. */
/* LayerNorm over the channels of n tokens, in place. */
static void layer_norm(float *x, int n, int c, const float *weight, const float *bias) {
    for (int m = 0; m < n; m++, x += c) {
        float mean = 0, square = 0;
        for (int i = 0; i < c; i++) mean += x[i];
        mean /= c;
        for (int i = 0; i < c; i++) square += (x[i] - mean) * (x[i] - mean);
        float scale = 1 / sqrtf(square / c + 1e-5f);
        for (int i = 0; i < c; i++) x[i] = (x[i] - mean) * scale * weight[i] + bias[i];
    }
}

/* The pixels that one row of a kernel sees, zero outside: [tokens][space][c]. */
static void window_row(const float *x, int grid, int c, int space, int dy, float *to) {
    for (int y = 0; y < grid; y++)
        for (int column = 0; column < grid; column++)
            for (int dx = -(space / 2); dx <= space / 2; dx++, to += c) {
                int row = y + dy, at = column + dx;
                if (row < 0 || row >= grid || at < 0 || at >= grid) memset(to, 0, c * sizeof(float));
                else memcpy(to, x + ((size_t)row * grid + at) * c, c * sizeof(float));
            }
}

/* One causal convolution and ReLU: x [tokens][c] after the frames of `past`, which it then joins. */
static void convolve(const model_t *m, int block, float *past, float *x, float *windows, float *y) {
    int c = m->size.channels, time = m->size.time, space = m->size.space, n = m->tokens;
    size_t frame = (size_t)n * c;
    for (int part = 0; part < time * space; part++) {
        int t = part / space, dy = part % space - space / 2;
        window_row(t < time - 1 ? past + frame * t : x, m->grid, c, space, dy, windows);
        linear(windows, n, space * c, m->kernels[block * time * space + part],
               part ? 0 : m->kernels_bias[block], c, part ? y : 0, y, 1);
    }
    if (time > 1) {
        memmove(past, past + frame, frame * (time - 2) * sizeof(float));
        memcpy(past + frame * (time - 2), x, frame * sizeof(float));
    }
    for (size_t i = 0; i < frame; i++) x[i] = y[i] > 0 ? y[i] : 0;
}

/* A frame [3][side][side] to what the decoder reads, [tokens][hidden]. */
static void embed_frame(const model_t *m, float **past, const float *input, float *to) {
    int side = m->size.side, patch = m->size.patch, c = m->size.channels, n = m->tokens;
    int taps = 3 * patch * patch, widest = m->size.space * c > taps ? m->size.space * c : taps;
    float *windows = floats((uint64_t)n * widest), *x = floats((uint64_t)n * c), *y = floats((uint64_t)n * c);
    float *at = windows;
    for (int token = 0; token < n; token++)
        for (int p = 0; p < 3; p++)
            for (int row = 0; row < patch; row++, at += patch)
                memcpy(at,
                       input + ((size_t)p * side + token / m->grid * patch + row) * side +
                           token % m->grid * patch,
                       patch * sizeof(float));
    linear(windows, n, taps, m->patches, m->patches_bias, c, 0, x, 1);
    layer_norm(x, n, c, m->norm, m->norm_bias);
    for (int block = 0; block < m->size.depth; block++)
        convolve(m, block, past[block], x, windows, y);
    linear(x, n, c, m->out, m->out_bias, m->size.hidden, m->places, to, 1);
    free(windows);
    free(x);
    free(y);
}

/* Prints what the layers compute from numbers made here, as the bits of the floats, one line a call. */
#include <stdio.h>
#include <stdlib.h>

#include "native.h"

#define HEADS 2
#define C 40
#define F 48
#define DEPTH 2
#define CAPACITY 704
#define CALLS 6

static uint32_t seed = 1;

/* Between -0.5 and 0.5, the same everywhere. */
static float number(void) {
    seed = seed * 1664525 + 1013904223;
    return (float)(seed >> 8) / 16777216 - 0.5f;
}

static float *numbers(int64_t n) {
    float *x = malloc(n * sizeof(float));
    for (int64_t i = 0; i < n; i++) x[i] = number();
    return x;
}

/* A weight [k][cols] whose numbers do not depend on the panels that they are laid out in. */
static const float *weight(int k, int cols) {
    int width = panel();
    float *w = calloc((int64_t)(cols + width - 1) / width * width * k, sizeof(float));
    for (int c = 0; c < cols; c++)
        for (int i = 0; i < k; i++) w[((int64_t)(c / width) * k + i) * width + c % width] = number();
    return w;
}

static void show(const float *x, int n) {
    for (int i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        printf("%08x ", (unsigned)bits);
    }
    printf("\n");
}

int main(int count, char **given) {
    int threads = count > 1 ? atoi(given[1]) : 1;
    if (!supported()) return 3;
    const float *w = weight(C, 77), *bias = numbers(77), *add = numbers(27 * 77), *x = numbers(27 * C);
    float y[27 * 77];
    linear(x, 27, C, w, bias, 77, add, y, threads);
    show(y, 27 * 77);

    const int width = HEADS * HEAD_DIM;
    layer_t layers[DEPTH];
    cache_t caches[DEPTH][2];
    for (int l = 0; l < DEPTH; l++) {
        layers[l] = (layer_t){.queries = weight(C, width), .keys_values = weight(C, 2 * width),
                              .out = weight(width, C), .gate_up = weight(C, 2 * F), .down = weight(F, C),
                              .queries_bias = numbers(width), .down_bias = numbers(C)};
        for (int b = 0; b < 2; b++)
            caches[l][b] = (cache_t){.keys = calloc(HEADS * CAPACITY * HEAD_DIM, sizeof(float)),
                                     .values = calloc(HEADS * CAPACITY * HEAD_DIM, sizeof(float)),
                                     .capacity = CAPACITY};
    }
    /* New and forgotten tokens of both sequences. */
    static const int lengths[CALLS][2] = {{206, 13}, {10, 10}, {1, 10}, {9, 270}, {206, 1}, {10, 10}};
    static const int starts[CALLS][2] = {{0, 0}, {0, 5}, {0, 23}, {31, 23}, {200, 40}, {216, 40}};
    for (int call = 0; call < CALLS; call++) {
        int n = lengths[call][0] + lengths[call][1];
        for (int l = 0; l < DEPTH; l++)
            for (int b = 0; b < 2; b++) {
                caches[l][b].length = lengths[call][b];
                caches[l][b].start = starts[call][b];
                caches[l][b].end += lengths[call][b];
            }
        float out[2 * C], *tokens = numbers((int64_t)n * C), *cos_sin = numbers((int64_t)n * HEAD_DIM);
        if (run(layers, DEPTH, HEADS, C, F, 1e-5f, tokens, n, cos_sin, &caches[0][0], 2, out, threads))
            return 4;
        show(out, 2 * C);
    }
    return 0;
}

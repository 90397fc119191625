/* A model's sizes and weights, packed for native.c as layers.py and native.py pack them. */
#include <stdlib.h>

#include "../native.h"

enum { F32, F16, BF16 }; /* types of a weight in the file */

typedef struct {
    int32_t side, patch, channels, depth, time, space; /* vision: `time` x `space` x `space` kernels */
    int32_t hidden, inner, layers, heads, vocab, chunk; /* decoder; `chunk` tokens per step */
    int32_t shortest; /* the shorter side of a whole picture, before it is made square */
    float eps, mean[3], std[3], frequencies[HEAD_DIM / 2];
} config_t;

typedef struct {
    config_t size;
    int32_t grid, tokens;                                   /* vision tokens: per side, in all */
    float *patches, *patches_bias, *norm, *norm_bias;       /* vision model */
    float **kernels, **kernels_bias, *out, *out_bias, *places;
    float *embed, *head;                                    /* decoder */
    layer_t *decoder;
    float values[3][256]; /* what a pixel's value becomes */
} model_t;

/* Memory, or an end to the program: WebAssembly's caller gets an exception. Sizes are of 64 bits, for
 * products of them may not fit the 32 of an address there. */
static void *memory(uint64_t bytes) {
    void *found = bytes < PTRDIFF_MAX ? malloc(bytes + 1) : 0;
    if (!found) __builtin_trap();
    return found;
}

static void *zeros(uint64_t n, uint64_t size) { return memset(memory(n * size), 0, n * size); }
static float *floats(uint64_t n) { return memory(n * sizeof(float)); }

static float from_half(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 1023;
    union { uint32_t bits; float value; } f;
    if (exponent == 0) {
        float small = fraction * 5.9604644775390625e-8f; /* 2 ** -24 */
        return sign ? -small : small;
    }
    f.bits = sign | (exponent == 31 ? 255u : exponent + 112) << 23 | fraction << 13;
    return f.value;
}

/* `n` numbers of a weights file as float32. */
float *expand(const void *from, int type, int n) {
    float *to = floats(n);
    for (int i = 0; i < n; i++) {
        union { uint32_t bits; float value; } f;
        if (type == F16) to[i] = from_half(((const uint16_t *)from)[i]);
        else if (type == BF16) f.bits = (uint32_t)((const uint16_t *)from)[i] << 16, to[i] = f.value;
        else to[i] = ((const float *)from)[i];
    }
    return to;
}

/* Room for a weight of n columns, as native.c reads it; zeros past the last column. */
static float *panels(int n, int k) {
    return zeros((uint64_t)(n + PANEL - 1) / PANEL * PANEL * k, sizeof(float));
}

/* Rows [first, first + n) of a product's columns: w [n][k], each input scaled by `norm` if given. With
 * `pairs`, the rows of a head are reordered so that rotary pairs lie side by side. */
static void pack(float *to, int first, const float *w, int n, int k, const float *norm, int pairs) {
    for (int j = 0; j < n; j++) {
        int in = j % HEAD_DIM, row = j - in + in / 2 + in % 2 * (HEAD_DIM / 2);
        const float *from = w + (size_t)(pairs ? row : j) * k;
        float *column = to + (size_t)((first + j) / PANEL) * k * PANEL + (first + j) % PANEL;
        for (int i = 0; i < k; i++) column[(size_t)i * PANEL] = norm ? from[i] * norm[i] : from[i];
    }
}

static float *packed(const float *w, int n, int k, const float *norm) {
    float *to = panels(n, k);
    pack(to, 0, w, n, k, norm, 0);
    return to;
}

/* A convolution [out][in][time][space][space] as matrices, one for each frame and row of its kernel,
 * with inputs [column of the kernel][in]. */
static void pack_kernel(float **to, const float *w, int channels, int time, int space) {
    int k = space * channels, parts = time * space;
    float *one = floats((uint64_t)channels * k);
    for (int part = 0; part < parts; part++) {
        for (int o = 0; o < channels; o++)
            for (int x = 0; x < space; x++)
                for (int i = 0; i < channels; i++)
                    one[((size_t)o * space + x) * channels + i] =
                        w[(((size_t)o * channels + i) * parts + part) * space + x];
        to[part] = packed(one, channels, k, 0);
    }
    free(one);
}

/* A model from its tensors, float32, in the order in which they are read here. The first ones and `embed`
 * are kept, the others copied. */
model_t *new_model(const config_t *size, float **tensors) {
    model_t *m = zeros(1, sizeof(model_t));
    int c = size->hidden, channels = size->channels, f = size->inner, width = size->heads * HEAD_DIM;
    m->size = *size;
    m->grid = size->side / size->patch;
    m->tokens = m->grid * m->grid;
    for (int i = 0; i < 3; i++)
        for (int v = 0; v < 256; v++)
            m->values[i][v] = ((float)(v * (1 / 127.5)) - 1.0f - size->mean[i]) / size->std[i];
    m->patches = packed(*tensors++, channels, 3 * size->patch * size->patch, 0);
    m->patches_bias = *tensors++, m->norm = *tensors++, m->norm_bias = *tensors++;
    m->kernels = zeros((uint64_t)size->depth * size->time * size->space, sizeof(float *));
    m->kernels_bias = zeros(size->depth, sizeof(float *));
    for (int i = 0; i < size->depth; i++) {
        float **kernel = m->kernels + i * size->time * size->space;
        pack_kernel(kernel, *tensors++, channels, size->time, size->space);
        m->kernels_bias[i] = *tensors++;
    }
    m->out = packed(*tensors++, c, channels, 0);
    m->out_bias = *tensors++, m->places = *tensors++, m->embed = *tensors++;
    m->decoder = zeros(size->layers, sizeof(layer_t));
    for (int l = 0; l < size->layers; l++, tensors += 9) {
        const float *norm = tensors[7], *norm2 = tensors[8]; /* q k v o gate up down, two norms */
        float *queries = panels(width, c), *kv = panels(2 * width, c);
        float *gate_up = panels(2 * f, c);
        pack(queries, 0, tensors[0], width, c, norm, 1);
        pack(kv, 0, tensors[1], width, c, norm, 1);
        pack(kv, width, tensors[2], width, c, norm, 0);
        pack(gate_up, 0, tensors[4], f, c, norm2, 0);
        pack(gate_up, f, tensors[5], f, c, norm2, 0);
        m->decoder[l].queries = queries;
        m->decoder[l].keys_values = kv;
        m->decoder[l].out = packed(tensors[3], c, width, 0);
        m->decoder[l].gate_up = gate_up;
        m->decoder[l].down = packed(tensors[6], c, f, 0);
    }
    const float *norm = *tensors++;
    int logits = size->chunk * size->vocab;
    m->head = panels(logits + size->chunk, c);
    pack(m->head, 0, tensors[0], logits, c, norm, 0);
    pack(m->head, logits, tensors[1], size->chunk, c, norm, 0);
    return m;
}

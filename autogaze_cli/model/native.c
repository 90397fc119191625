/* The decoder's layers on the CPU, for heads of 32: see decode.py for the rules, native.py for the call.
 *
 * Every output is one sum in one order, whatever is computed beside it, so results never depend on the
 * rows of a batch or on the number of threads. Matrix products take 12 rows by 32 columns at a time,
 * attention 12 queries by 256 keys with an online softmax: what a core's vector registers hold.
 */
#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define D 32     /* head size */
#define M_MAX 12 /* rows of a block */
#define TILE 256 /* keys of a block */
#define ALWAYS static inline __attribute__((always_inline))

typedef float v16 __attribute__((vector_size(64)));
typedef int32_t i16 __attribute__((vector_size(64)));
typedef float u16 __attribute__((vector_size(64), aligned(4)));

ALWAYS v16 load(const float *p) { return *(const u16 *)p; }
ALWAYS void store(float *p, v16 v) { *(u16 *)p = v; }
ALWAYS v16 splat(float a) { return a - (v16){0}; }
ALWAYS v16 larger(v16 a, v16 b) { return (v16)_mm512_max_ps((__m512)a, (__m512)b); }

ALWAYS float top_of(v16 v) {
    float top = v[0];
    for (int i = 1; i < 16; i++) top = v[i] > top ? v[i] : top;
    return top;
}

ALWAYS float sum_of(v16 v) {
    float sum = 0;
    for (int i = 0; i < 16; i++) sum += v[i];
    return sum;
}

/* 2 to the x for x <= 0, to a few parts in 1e7; 0 below -127. */
ALWAYS v16 power(v16 x) {
    x = larger(x, splat(-256.0f)); /* not minus infinity, of which no fraction is left */
    v16 n = (v16)_mm512_roundscale_ps((__m512)x, 0), r = x - n;
    v16 p = splat(1.5403530393e-4f);
    p = p * r + 1.3333558146e-3f;
    p = p * r + 9.6181291076e-3f;
    p = p * r + 5.5504108665e-2f;
    p = p * r + 2.4022650696e-1f;
    p = p * r + 6.9314718056e-1f;
    p = p * r + 1.0f;
    return (v16)_mm512_scalef_ps((__m512)p, (__m512)n);
}

/* Calls f with the number of rows as a constant, so that its loops unroll into registers. */
#define UNROLLED(f, m, ...)                                                                         \
    switch (m) {                                                                                    \
    case 1: f(1, __VA_ARGS__); break;                                                               \
    case 2: f(2, __VA_ARGS__); break;                                                               \
    case 3: f(3, __VA_ARGS__); break;                                                               \
    case 4: f(4, __VA_ARGS__); break;                                                               \
    case 5: f(5, __VA_ARGS__); break;                                                               \
    case 6: f(6, __VA_ARGS__); break;                                                               \
    case 7: f(7, __VA_ARGS__); break;                                                               \
    case 8: f(8, __VA_ARGS__); break;                                                               \
    case 9: f(9, __VA_ARGS__); break;                                                               \
    case 10: f(10, __VA_ARGS__); break;                                                             \
    case 11: f(11, __VA_ARGS__); break;                                                             \
    default: f(12, __VA_ARGS__);                                                                    \
    }

/* rows x 32 columns of a product: y[m] = x[m] w + bias + add[m]; bias and add may be null. */
ALWAYS void product(int rows, const float *x, int k, const float *w, const float *bias,
                    const float *add, float *y, int cols, int here) {
    v16 a[M_MAX], b[M_MAX];
    for (int m = 0; m < rows; m++) a[m] = b[m] = splat(0);
    for (int i = 0; i < k; i++) {
        v16 wa = load(w + 32 * i), wb = load(w + 32 * i + 16);
#pragma GCC unroll 12
        for (int m = 0; m < rows; m++) {
            a[m] += x[m * k + i] * wa;
            b[m] += x[m * k + i] * wb;
        }
    }
    if (here == 32)
        for (int m = 0; m < rows; m++) {
            int64_t at = (int64_t)m * cols;
            if (bias) a[m] += load(bias), b[m] += load(bias + 16);
            if (add) a[m] += load(add + at), b[m] += load(add + at + 16);
            store(y + at, a[m]);
            store(y + at + 16, b[m]);
        }
    else
        for (int m = 0; m < rows; m++) {
            float out[32];
            store(out, a[m]);
            store(out + 16, b[m]);
            for (int c = 0; c < here; c++)
                y[(int64_t)m * cols + c] =
                    out[c] + (bias ? bias[c] : 0) + (add ? add[(int64_t)m * cols + c] : 0);
        }
}

static void product_any(int rows, const float *x, int k, const float *w, const float *bias,
                        const float *add, float *y, int cols, int here) {
    UNROLLED(product, rows, x, k, w, bias, add, y, cols, here)
}

/* y [n, cols] = x [n, k] w + bias + add; w in panels of 32 columns, [panel][k][32]. */
void linear(const float *x, int n, int k, const float *w, const float *bias, int cols,
            const float *add, float *y, int threads) {
    int panels = (cols + 31) / 32, blocks = (n + M_MAX - 1) / M_MAX;
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
    for (int p = 0; p < panels; p++)
        for (int b = 0; b < blocks; b++) {
            int64_t m = (int64_t)b * M_MAX, at = m * cols + 32 * p;
            product_any(n - m < M_MAX ? n - m : M_MAX, x + m * k, k, w + (int64_t)p * k * 32,
                        bias ? bias + 32 * p : 0, add ? add + at : 0, y + at, cols,
                        cols - 32 * p < 32 ? cols - 32 * p : 32);
        }
}

/* Scores of some queries for 32 keys, which lie side by side: keys [D][32]. */
ALWAYS void score(int rows, const float *q, const float *keys, float *s) {
    v16 a[M_MAX], b[M_MAX];
    for (int m = 0; m < rows; m++) a[m] = b[m] = splat(0);
    for (int i = 0; i < D; i++) {
        v16 ka = load(keys + 32 * i), kb = load(keys + 32 * i + 16);
#pragma GCC unroll 12
        for (int m = 0; m < rows; m++) {
            a[m] += q[m * D + i] * ka;
            b[m] += q[m * D + i] * kb;
        }
    }
    for (int m = 0; m < rows; m++) store(s + m * TILE, a[m]), store(s + m * TILE + 16, b[m]);
}

/* out[m] += weights[m] values, over the keys of a tile. */
ALWAYS void mix(int rows, const float *weights, int keys, const float *values, float *out) {
    v16 a[M_MAX], b[M_MAX];
    for (int m = 0; m < rows; m++) a[m] = load(out + D * m), b[m] = load(out + D * m + 16);
    for (int j = 0; j < keys; j++) {
        v16 va = load(values + D * j), vb = load(values + D * j + 16);
#pragma GCC unroll 12
        for (int m = 0; m < rows; m++) {
            a[m] += weights[m * TILE + j] * va;
            b[m] += weights[m * TILE + j] * vb;
        }
    }
    for (int m = 0; m < rows; m++) store(out + D * m, a[m]), store(out + D * m + 16, b[m]);
}

/* One tile of keys for one block of queries; query m sees keys `hidden` to `seen + m`. */
ALWAYS void tile(int rows, const float *q, const float *keys, const float *values, int here,
                 int hidden, int seen, float *top, float *total, float *out) {
    float s[M_MAX * TILE] __attribute__((aligned(64)));
    int wide = (here + 31) / 32 * 32;
    for (int j = 0; j < wide; j += 32) score(rows, q, keys + j * D, s + j);
    for (int m = 0; m < rows; m++) {
        float *row = s + m * TILE;
        int mine = seen + m < 0 ? 0 : seen + m;
        for (int j = mine; j < wide; j++) row[j] = -INFINITY;
        for (int j = 0; j < hidden; j++) row[j] = -INFINITY;
        v16 most = load(row);
        for (int j = 16; j < wide; j += 16) most = larger(load(row + j), most);
        float now = top_of(most);
        if (mine <= hidden) {
            memset(row, 0, wide * sizeof(float));
            continue;
        }
        now = now > top[m] ? now : top[m];
        v16 sum = splat(0);
        for (int j = 0; j < wide; j += 16) {
            v16 e = power(load(row + j) - now);
            store(row + j, e);
            sum += e;
        }
        float decay = exp2f(top[m] - now);
        total[m] = total[m] * decay + sum_of(sum);
        top[m] = now;
        store(out + D * m, load(out + D * m) * decay);
        store(out + D * m + 16, load(out + D * m + 16) * decay);
    }
    mix(rows, s, here, values, out);
}

static void tile_any(int rows, const float *q, const float *keys, const float *values, int here,
                     int hidden, int seen, float *top, float *total, float *out) {
    UNROLLED(tile, rows, q, keys, values, here, hidden, seen, top, total, out)
}

/* One head: the slots before `end` that are last, n of them, causally over those from `start` on.
 * q and out have `stride` floats a slot. */
static void attend(const float *q, int n, int stride, const float *keys, const float *values,
                   int start, int end, float *out, float *work) {
    float scale = 1.44269504f / sqrtf(D); /* for powers of 2 */
    float *queries = work, *mixed = work + n * D, *top = mixed + n * D, *total = top + n;
    for (int m = 0; m < n; m++) {
        for (int i = 0; i < D; i++) queries[m * D + i] = q[m * stride + i] * scale;
        memset(mixed + m * D, 0, D * sizeof(float));
        top[m] = -INFINITY;
        total[m] = 0;
    }
    for (int t = start / 32 * 32; t < end; t += TILE)
        for (int m = 0; m < n; m += M_MAX)
            tile_any(n - m < M_MAX ? n - m : M_MAX, queries + m * D, keys + (int64_t)t * D,
                     values + (int64_t)t * D, end - t < TILE ? end - t : TILE,
                     start > t ? start - t : 0, end - n + m + 1 - t, top + m, total + m,
                     mixed + m * D);
    for (int m = 0; m < n; m++)
        for (int i = 0; i < D; i++) out[m * stride + i] = mixed[m * D + i] / total[m];
}

static void normalise(const float *x, int n, int c, float eps, float *y) {
    for (int m = 0; m < n; m++) {
        float sum = 0;
        for (int i = 0; i < c; i++) sum += x[(int64_t)m * c + i] * x[(int64_t)m * c + i];
        float scale = 1 / sqrtf(sum / c + eps);
        for (int i = 0; i < c; i++) y[(int64_t)m * c + i] = x[(int64_t)m * c + i] * scale;
    }
}

static void gate(const float *x, int n, int f, float *y) {
    for (int m = 0; m < n; m++)
        for (int i = 0; i < f; i += 16) {
            v16 a = load(x + (int64_t)m * 2 * f + i);
            v16 e = power(larger(a, -a) * -1.44269504f), share = 1 / (1 + e);
            __mmask16 positive = _mm512_cmp_ps_mask((__m512)a, _mm512_setzero_ps(), _CMP_GT_OQ);
            share = (v16)_mm512_mask_blend_ps(positive, (__m512)(e * share), (__m512)share);
            store(y + (int64_t)m * f + i, a * share * load(x + (int64_t)m * 2 * f + f + i));
        }
}

/* Rotary pairs lie side by side; turns holds (cosine, sine) of each pair. */
static void rotate(float *x, const float *turns) {
    for (int i = 0; i < D; i += 2) {
        float a = x[i], b = x[i + 1];
        x[i] = a * turns[i] - b * turns[i + 1];
        x[i + 1] = a * turns[i + 1] + b * turns[i];
    }
}

typedef struct {
    const float *queries, *keys_values, *out, *gate_up, *down;
    const float *queries_bias, *keys_values_bias, *out_bias, *gate_up_bias, *down_bias;
} layer_t;

typedef struct {
    float *keys;   /* [heads][capacity / 32][D][32] */
    float *values; /* [heads][capacity][D] */
    int64_t capacity;
    int32_t start, end; /* the slots that may be seen, new ones included */
    int32_t length;     /* how many are new */
} row_t;

static void attend_rows(const row_t *rows, int count, int heads, float *q, int stride,
                        const int *first, int asked, float *out, int threads) {
#pragma omp parallel for collapse(2) schedule(dynamic) num_threads(threads)
    for (int r = 0; r < count; r++)
        for (int h = 0; h < heads; h++) {
            int n = asked ? asked : rows[r].length;
            int64_t at = (int64_t)(asked ? r * asked : first[r]) * stride + h * D;
            int64_t cache = (int64_t)h * rows[r].capacity * D;
            float *work = aligned_alloc(64, ((size_t)n * (2 * D + 2) * sizeof(float) + 63) / 64 * 64);
            attend(q + at, n, stride, rows[r].keys + cache, rows[r].values + cache, rows[r].start,
                   rows[r].end, out + at, work);
            free(work);
        }
}

/* All layers over the new slots of `count` rows; rows[layer * count + r] are the caches.
 *
 * x [n, c] are the slots, row after row, overwritten; turns [n, D]; out [count, c] is the last slot
 * of each row. Returns 0, or -1 when memory is out. */
int run(const layer_t *layers, int depth, int heads, int c, int f, float eps, float *x, int n,
        const float *turns, row_t *rows, int count, float *out, int threads) {
    int wide = heads * D;
    size_t need = (size_t)n * (c + 2 * wide + 2 * wide + 2 * f + f);
    float *work = malloc(need * sizeof(float));
    int *first = malloc((count + 1) * sizeof(int));
    if (!work || !first) {
        free(work);
        free(first);
        return -1;
    }
    float *y = work, *kv = y + (size_t)n * c, *q = kv + (size_t)n * 2 * wide;
    float *mixed = q + (size_t)n * wide, *up = mixed + (size_t)n * wide, *gated = up + (size_t)n * 2 * f;
    first[0] = 0;
    for (int r = 0; r < count; r++) first[r + 1] = first[r] + rows[r].length;
    for (int l = 0; l < depth; l++) {
        const layer_t *w = layers + l;
        row_t *caches = rows + (size_t)l * count;
        normalise(x, n, c, eps, y);
        linear(y, n, c, w->keys_values, w->keys_values_bias, 2 * wide, 0, kv, threads);
#pragma omp parallel for schedule(static) num_threads(threads)
        for (int r = 0; r < count; r++)
            for (int m = first[r]; m < first[r + 1]; m++)
                for (int h = 0; h < heads; h++) {
                    int64_t slot = caches[r].end - caches[r].length + m - first[r];
                    int64_t head = h * caches[r].capacity * D;
                    float *key = kv + (int64_t)m * 2 * wide + h * D;
                    float *block = caches[r].keys + head + slot / 32 * 32 * D + slot % 32;
                    rotate(key, turns + (int64_t)m * D);
                    for (int i = 0; i < D; i++) block[32 * i] = key[i];
                    memcpy(caches[r].values + head + slot * D, key + wide, D * sizeof(float));
                }
        int asked = 0, slots = n;
        if (l == depth - 1) { /* only the heads read the last layer, and only its last slot */
            asked = 1, slots = count;
            for (int r = 0; r < count; r++) {
                int64_t last = first[r + 1] - 1;
                memmove(x + (int64_t)r * c, x + last * c, c * sizeof(float));
                memmove(y + (int64_t)r * c, y + last * c, c * sizeof(float));
            }
        }
        linear(y, slots, c, w->queries, w->queries_bias, wide, 0, q, threads);
        for (int r = 0, m = 0; r < count; r++)
            for (int j = asked ? first[r + 1] - 1 : first[r]; j < first[r + 1]; j++, m++)
                for (int h = 0; h < heads; h++)
                    rotate(q + (int64_t)m * wide + h * D, turns + (int64_t)j * D);
        attend_rows(caches, count, heads, q, wide, first, asked, mixed, threads);
        linear(mixed, slots, wide, w->out, w->out_bias, c, x, x, threads);
        normalise(x, slots, c, eps, y);
        linear(y, slots, c, w->gate_up, w->gate_up_bias, 2 * f, 0, up, threads);
        gate(up, slots, f, gated);
        linear(gated, slots, f, w->down, w->down_bias, c, x, x, threads);
    }
    memcpy(out, x, (size_t)count * c * sizeof(float));
    free(work);
    free(first);
    return 0;
}

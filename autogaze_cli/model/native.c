/* The decoder's layers for heads of 32 channels: called from native.py, equal to GazeDecoder.forward of
 * network.py up to the rounding of sums.
 *
 * Every output is one sum in one order, whatever is computed beside it, so results never depend on the
 * batch or on the number of threads. A matrix product computes blocks of ROWS rows by PANEL columns,
 * attention blocks of ROWS queries by KEYS keys with an online softmax.
 */
#include "native.h"

#include <math.h>
#include <stdlib.h>
#ifdef _OPENMP
#include <omp.h>
#else
#define omp_get_thread_num() 0
#endif

#define KEYS 256 /* keys of a block, a multiple of every PANEL */

/* Calls f with the number of rows as a constant, so that its loops unroll into registers. */
#define CASE(f, r, ...)                                                                             \
    case r:                                                                                         \
        if (r <= ROWS) f((r <= ROWS ? r : 1), __VA_ARGS__);                                         \
        break;
#define UNROLLED(f, m, ...)                                                                         \
    switch (m) {                                                                                    \
        CASE(f, 1, __VA_ARGS__)                                                                     \
        CASE(f, 2, __VA_ARGS__)                                                                     \
        CASE(f, 3, __VA_ARGS__)                                                                     \
        CASE(f, 4, __VA_ARGS__)                                                                     \
        CASE(f, 5, __VA_ARGS__)                                                                     \
        CASE(f, 6, __VA_ARGS__)                                                                     \
        CASE(f, 7, __VA_ARGS__)                                                                     \
        CASE(f, 8, __VA_ARGS__)                                                                     \
        CASE(f, 9, __VA_ARGS__)                                                                     \
        CASE(f, 10, __VA_ARGS__)                                                                    \
        CASE(f, 11, __VA_ARGS__)                                                                    \
        CASE(f, 12, __VA_ARGS__)                                                                    \
    }

/* sums[m] += x[m] w over k terms: x [rows] at a distance of x_step, w [k] at a distance of w_step. */
INLINE void add_products(int rows, const float *x, int64_t x_step, int k, const float *w, int w_step,
                         vec sums[ROWS][VECS]) {
    for (int i = 0; i < k; i++) {
        vec wa = load(w), wb = load(w + LANES);
        w += w_step;
#pragma GCC unroll 12
        for (int m = 0; m < rows; m++) {
            sums[m][0] += x[m * x_step + i] * wa;
            sums[m][1] += x[m * x_step + i] * wb;
        }
    }
}

/* `rows` x PANEL columns of a product, `valid` of them stored: y[m] = x[m] w + bias + add[m].
 * w is a panel [k][PANEL]; bias and add may be null. */
INLINE void gemm_block(int rows, const float *x, int k, const float *w, const float *bias,
                       const float *add, float *y, int cols, int valid) {
    vec sums[ROWS][VECS];
    for (int m = 0; m < rows; m++) sums[m][0] = sums[m][1] = broadcast(0);
    add_products(rows, x, k, k, w, PANEL, sums);
    if (valid == PANEL)
        for (int m = 0; m < rows; m++)
            for (int v = 0; v < VECS; v++) {
                int64_t at = (int64_t)m * cols + v * LANES;
                if (bias) sums[m][v] += load(bias + v * LANES);
                if (add) sums[m][v] += load(add + at);
                store(y + at, sums[m][v]);
            }
    else
        for (int m = 0; m < rows; m++) {
            float out[PANEL];
            for (int v = 0; v < VECS; v++) store(out + v * LANES, sums[m][v]);
            for (int c = 0; c < valid; c++) {
                if (bias) out[c] += bias[c];
                if (add) out[c] += add[(int64_t)m * cols + c];
                y[(int64_t)m * cols + c] = out[c];
            }
        }
}

static void gemm_block_any(int rows, const float *x, int k, const float *w, const float *bias,
                           const float *add, float *y, int cols, int valid) {
    UNROLLED(gemm_block, rows, x, k, w, bias, add, y, cols, valid)
}

int panel(void) { return PANEL; }

int supported(void) {
#if defined(__AVX512F__)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
#elif defined(__AVX2__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return 1;
#endif
}

void linear(const float *x, int n, int k, const float *w, const float *bias, int cols,
            const float *add, float *y, int threads) {
    int panels = (cols + PANEL - 1) / PANEL, blocks = (n + ROWS - 1) / ROWS;
    (void)threads;
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
    for (int p = 0; p < panels; p++)
        for (int b = 0; b < blocks; b++) {
            int64_t m = (int64_t)b * ROWS, c = (int64_t)p * PANEL, at = m * cols + c;
            gemm_block_any(n - m < ROWS ? n - m : ROWS, x + m * k, k, w + c * k, bias ? bias + c : 0,
                           add ? add + at : 0, y + at, cols, cols - c < PANEL ? cols - c : PANEL);
        }
}

/* Scores of some queries for PANEL keys: q [rows][HEAD_DIM], keys [HEAD_DIM][PANEL], s [rows][KEYS]. */
INLINE void qk_block(int rows, const float *q, const float *keys, float *s) {
    vec sums[ROWS][VECS];
    for (int m = 0; m < rows; m++) sums[m][0] = sums[m][1] = broadcast(0);
    add_products(rows, q, HEAD_DIM, HEAD_DIM, keys, PANEL, sums);
    for (int m = 0; m < rows; m++)
        for (int v = 0; v < VECS; v++) store(s + m * KEYS + v * LANES, sums[m][v]);
}

/* PANEL channels of acc[m] += p[m] values, over the keys of a block: p [rows][KEYS], values
 * [keys][HEAD_DIM]. */
INLINE void pv_block(int rows, const float *p, int keys, const float *values, float *acc) {
    vec sums[ROWS][VECS];
    for (int m = 0; m < rows; m++)
        for (int v = 0; v < VECS; v++) sums[m][v] = load(acc + m * HEAD_DIM + v * LANES);
    add_products(rows, p, KEYS, keys, values, HEAD_DIM, sums);
    for (int m = 0; m < rows; m++)
        for (int v = 0; v < VECS; v++) store(acc + m * HEAD_DIM + v * LANES, sums[m][v]);
}

/* The exponentials of one query's scores s [keys], of which `first` to `visible` count; updates the
 * running maximum and sum, and returns what the query's accumulator is multiplied by. */
INLINE float soften(float *s, int keys, int first, int visible, float *max, float *sum) {
    for (int j = visible; j < keys; j++) s[j] = -INFINITY;
    for (int j = 0; j < first; j++) s[j] = -INFINITY;
    if (visible <= first) {
        memset(s, 0, keys * sizeof(float));
        return 1;
    }
    vec most = broadcast(-INFINITY);
    for (int j = 0; j < keys; j += LANES) most = vmax(load(s + j), most);
    float new_max = hmax(most);
    new_max = new_max > *max ? new_max : *max;
    vec total = broadcast(0);
    for (int j = 0; j < keys; j += LANES) {
        vec p = vexp2(load(s + j) - new_max);
        store(s + j, p);
        total += p;
    }
    float scale = vexp2(broadcast(*max - new_max))[0];
    *sum = *sum * scale + hsum(total);
    *max = new_max;
    return scale;
}

/* One block of queries over one block of `keys_n` keys; query m sees keys `first` to `last + m`,
 * exclusive. Updates the running maximum, the running sum and the accumulator of each query. */
INLINE void attend_block(int rows, const float *q, const float *keys, const float *values, int keys_n,
                         int first, int last, float *max, float *sum, float *acc) {
    float s[ROWS * KEYS] __attribute__((aligned(64)));
    int padded_n = (keys_n + PANEL - 1) / PANEL * PANEL;
    for (int j = 0; j < padded_n; j += PANEL) qk_block(rows, q, keys + j * HEAD_DIM, s + j);
    for (int m = 0; m < rows; m++) {
        float scale = soften(s + m * KEYS, padded_n, first, last + m < 0 ? 0 : last + m, max + m, sum + m);
        for (int i = 0; i < HEAD_DIM; i += LANES)
            store(acc + m * HEAD_DIM + i, load(acc + m * HEAD_DIM + i) * scale);
    }
    for (int i = 0; i < HEAD_DIM; i += PANEL) pv_block(rows, s, keys_n, values + i, acc + i);
}

static void attend_block_any(int rows, const float *q, const float *keys, const float *values, int keys_n,
                             int first, int last, float *max, float *sum, float *acc) {
    UNROLLED(attend_block, rows, q, keys, values, keys_n, first, last, max, sum, acc)
}

/* Working memory of `attend_head` for n queries, in floats, a multiple of a cache line. */
static size_t attend_work(int n) { return ((size_t)n * (2 * HEAD_DIM + 2) + 15) / 16 * 16; }

/* One head: the last n of the tokens before `end`, causally over those from `start` on.
 * q and out have `stride` floats per token. */
static void attend_head(const float *q, int n, int stride, const float *keys, const float *values,
                        int start, int end, float *out, float *work) {
    float scale = 1.44269504f / sqrtf(HEAD_DIM); /* log2(e): the softmax uses exp2 */
    float *queries = work, *acc = work + n * HEAD_DIM, *max = acc + n * HEAD_DIM, *sum = max + n;
    for (int m = 0; m < n; m++) {
        for (int i = 0; i < HEAD_DIM; i++) queries[m * HEAD_DIM + i] = q[m * stride + i] * scale;
        memset(acc + m * HEAD_DIM, 0, HEAD_DIM * sizeof(float));
        max[m] = -INFINITY;
        sum[m] = 0;
    }
    for (int t = start / PANEL * PANEL; t < end; t += KEYS)
        for (int m = 0; m < n; m += ROWS)
            attend_block_any(n - m < ROWS ? n - m : ROWS, queries + m * HEAD_DIM,
                             keys + (int64_t)t * HEAD_DIM, values + (int64_t)t * HEAD_DIM,
                             end - t < KEYS ? end - t : KEYS, start > t ? start - t : 0,
                             end - n + m + 1 - t, max + m, sum + m, acc + m * HEAD_DIM);
    for (int m = 0; m < n; m++)
        for (int i = 0; i < HEAD_DIM; i++) out[m * stride + i] = acc[m * HEAD_DIM + i] / sum[m];
}

void rms_norm(const float *x, int n, int c, float eps, float *y) {
    for (int m = 0; m < n; m++, x += c, y += c) {
        vec sums = broadcast(0);
        int i = 0;
        for (; i + LANES <= c; i += LANES) sums += load(x + i) * load(x + i);
        float sum = hsum(sums);
        for (; i < c; i++) sum += x[i] * x[i];
        float scale = 1 / sqrtf(sum / c + eps);
        for (i = 0; i < c; i++) y[i] = x[i] * scale;
    }
}

/* y [n, f] = silu(x[:, :f]) * x[:, f:]. */
static void silu_mul(const float *x, int n, int f, float *y) {
    for (int m = 0; m < n; m++, x += 2 * f, y += f)
        for (int i = 0; i < f; i += LANES) {
            vec a = load(x + i);
            vec e = vexp2(vmax(a, -a) * -1.44269504f), sigmoid = 1 / (1 + e); /* of |a| */
            sigmoid = choose(a > 0, sigmoid, e * sigmoid);
            store(y + i, a * sigmoid * load(x + f + i));
        }
}

/* Rotary embedding of one head: pairs lie side by side; cos_sin holds (cosine, sine) of each pair. */
static void rope(float *x, const float *cos_sin) {
    for (int i = 0; i < HEAD_DIM; i += 2) {
        float a = x[i], b = x[i + 1];
        x[i] = a * cos_sin[i] - b * cos_sin[i + 1];
        x[i + 1] = a * cos_sin[i + 1] + b * cos_sin[i];
    }
}

/* Rotates the new keys, and writes keys and values to the caches: kv [n][2][heads][HEAD_DIM]. */
static void append(float *kv, const float *cos_sin, const cache_t *caches, int count, int heads,
                   const int *first, int threads) {
    int width = heads * HEAD_DIM;
    (void)threads;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int b = 0; b < count; b++)
        for (int m = first[b]; m < first[b + 1]; m++)
            for (int h = 0; h < heads; h++) {
                int64_t index = caches[b].end - caches[b].length + m - first[b];
                int64_t head = h * caches[b].capacity * HEAD_DIM;
                float *key = kv + (int64_t)m * 2 * width + h * HEAD_DIM;
                float *block = caches[b].keys + head + index / PANEL * PANEL * HEAD_DIM + index % PANEL;
                rope(key, cos_sin + (int64_t)m * HEAD_DIM);
                for (int i = 0; i < HEAD_DIM; i++) block[PANEL * i] = key[i];
                memcpy(caches[b].values + head + index * HEAD_DIM, key + width,
                       HEAD_DIM * sizeof(float));
            }
}

/* Attention of all sequences and heads. With `last_only`, q and out hold one token per sequence.
 * work holds `work_size` floats per thread. */
static void attend(const cache_t *caches, int count, int heads, const float *q, const int *first,
                   int last_only, float *out, float *work, size_t work_size, int threads) {
    int stride = heads * HEAD_DIM;
    (void)threads;
#pragma omp parallel for collapse(2) schedule(dynamic) num_threads(threads)
    for (int b = 0; b < count; b++)
        for (int h = 0; h < heads; h++) {
            int n = last_only ? 1 : caches[b].length;
            int64_t at = (int64_t)(last_only ? b : first[b]) * stride + h * HEAD_DIM;
            int64_t head = (int64_t)h * caches[b].capacity * HEAD_DIM;
            attend_head(q + at, n, stride, caches[b].keys + head, caches[b].values + head,
                        caches[b].start, caches[b].end, out + at,
                        work + work_size * omp_get_thread_num());
        }
}

int run(const layer_t *layers, int depth, int heads, int c, int f, float eps, float *x, int n,
        const float *cos_sin, const cache_t *caches, int count, float *out, int threads) {
    int width = heads * HEAD_DIM, longest = 0;
    int *first = malloc((count + 1) * sizeof(int)); /* where each sequence begins in x */
    if (!first) return -1;
    first[0] = 0;
    for (int b = 0; b < count; b++) {
        first[b + 1] = first[b] + caches[b].length;
        longest = caches[b].length > longest ? caches[b].length : longest;
    }
    size_t per_thread = attend_work(longest);
    size_t need = per_thread * threads + (size_t)n * (c + 2 * width + 2 * width + 2 * f + f);
    float *memory = malloc(need * sizeof(float) + 64);
    if (!memory) {
        free(first);
        return -1;
    }
    float *work = (float *)(((uintptr_t)memory + 63) / 64 * 64);
    float *y = work + per_thread * threads, *kv = y + (size_t)n * c, *q = kv + (size_t)n * 2 * width;
    float *attended = q + (size_t)n * width, *up = attended + (size_t)n * width;
    float *gated = up + (size_t)n * 2 * f;
    for (int l = 0; l < depth; l++) {
        const layer_t *w = layers + l;
        const cache_t *now = caches + (size_t)l * count;
        rms_norm(x, n, c, eps, y);
        linear(y, n, c, w->keys_values, w->keys_values_bias, 2 * width, 0, kv, threads);
        append(kv, cos_sin, now, count, heads, first, threads);
        int last_only = l == depth - 1, tokens = n;
        if (last_only) { /* only the heads read the last layer, and only the last token */
            tokens = count;
            for (int b = 0; b < count; b++) {
                int64_t last = first[b + 1] - 1;
                memmove(x + (int64_t)b * c, x + last * c, c * sizeof(float));
                memmove(y + (int64_t)b * c, y + last * c, c * sizeof(float));
            }
        }
        linear(y, tokens, c, w->queries, w->queries_bias, width, 0, q, threads);
        for (int b = 0, m = 0; b < count; b++)
            for (int j = last_only ? first[b + 1] - 1 : first[b]; j < first[b + 1]; j++, m++)
                for (int h = 0; h < heads; h++)
                    rope(q + (int64_t)m * width + h * HEAD_DIM, cos_sin + (int64_t)j * HEAD_DIM);
        attend(now, count, heads, q, first, last_only, attended, work, per_thread, threads);
        linear(attended, tokens, width, w->out, w->out_bias, c, x, x, threads);
        rms_norm(x, tokens, c, eps, y);
        linear(y, tokens, c, w->gate_up, w->gate_up_bias, 2 * f, 0, up, threads);
        silu_mul(up, tokens, f, gated);
        linear(gated, tokens, f, w->down, w->down_bias, c, x, x, threads);
    }
    memcpy(out, x, (size_t)count * c * sizeof(float));
    free(memory);
    free(first);
    return 0;
}

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

#include "threads.h"

#define KEYS 256   /* keys of a block, a multiple of every PANEL */
#define GROUP 240  /* rows that use a panel of weights one after another: both stay in the caches */
#define AHEAD 1024 /* floats: attention waits for the memory without it, above all where a page begins */

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

/* The size of n rows' blocks: as equal as can be, for in small ones the processor waits for each sum. */
static int block_of(int n) {
    int blocks = (n + ROWS - 1) / ROWS;
    return (n + blocks - 1) / blocks;
}

/* sums[m] += x[m] w over k terms: x [rows] at a distance of x_step, w [k] at a distance of w_step; asks
 * for the w that lies `ahead` floats further on, unless that is 0. */
INLINE void add_products(int rows, const float *x, int64_t x_step, int k, const float *w, int w_step,
                         int ahead, vec sums[ROWS][VECS]) {
    for (int i = 0; i < k; i++) {
        vec wa = load(w), wb = load(w + LANES);
        for (int at = 0; ahead && at < PANEL; at += 16) __builtin_prefetch(w + ahead + at, 0, 2);
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
    add_products(rows, x, k, k, w, PANEL, 0, sums);
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

typedef struct {
    const float *x, *w, *bias, *add;
    float *y;
    int n, k, cols, panels, group; /* `group` rows of one panel are an item */
} linear_t;

static void linear_items(void *args, int item, int end, int thread) {
    const linear_t *a = args;
    (void)thread;
    for (; item < end; item++) {
        int64_t c = (int64_t)(item % a->panels) * PANEL, m = (int64_t)(item / a->panels) * a->group;
        int64_t last = m + a->group < a->n ? m + a->group : a->n;
        for (int rows = block_of(last - m); m < last; m += rows) {
            int64_t at = m * a->cols + c;
            gemm_block_any(last - m < rows ? last - m : rows, a->x + m * a->k, a->k, a->w + c * a->k,
                           a->bias ? a->bias + c : 0, a->add ? a->add + at : 0, a->y + at, a->cols,
                           a->cols - c < PANEL ? a->cols - c : PANEL);
        }
    }
}

void linear(const float *x, int n, int k, const float *w, const float *bias, int cols,
            const float *add, float *y, int threads) {
    int panels = (cols + PANEL - 1) / PANEL, group = GROUP;
    while (group > ROWS && panels * ((n + group - 1) / group) < 4 * threads)
        group = (group / 2 + ROWS - 1) / ROWS * ROWS;
    linear_t args = {x, w, bias, add, y, n, k, cols, panels, group};
    parallel(linear_items, &args, panels * ((n + group - 1) / group), threads);
}

/* Scores of some queries for PANEL keys: q [rows][HEAD_DIM], keys [HEAD_DIM][PANEL], s [rows][KEYS]. */
INLINE void qk_block(int rows, const float *q, const float *keys, float *s) {
    vec sums[ROWS][VECS];
    for (int m = 0; m < rows; m++) sums[m][0] = sums[m][1] = broadcast(0);
    add_products(rows, q, HEAD_DIM, HEAD_DIM, keys, PANEL, AHEAD, sums);
    for (int m = 0; m < rows; m++)
        for (int v = 0; v < VECS; v++) store(s + m * KEYS + v * LANES, sums[m][v]);
}

/* PANEL channels of acc[m] += p[m] values, over the keys of a block: p [rows][KEYS], values
 * [keys][HEAD_DIM]. */
INLINE void pv_block(int rows, const float *p, int keys, const float *values, float *acc) {
    vec sums[ROWS][VECS];
    for (int m = 0; m < rows; m++)
        for (int v = 0; v < VECS; v++) sums[m][v] = load(acc + m * HEAD_DIM + v * LANES);
    add_products(rows, p, KEYS, keys, values, HEAD_DIM, AHEAD, sums);
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

/* Rotary embedding of one head: pairs lie side by side; cos_sin holds (cosine, sine) of each pair. */
static void rope(const float *x, const float *cos_sin, float *y) {
    for (int i = 0; i < HEAD_DIM; i += 2) {
        float a = x[i], b = x[i + 1];
        y[i] = a * cos_sin[i] - b * cos_sin[i + 1];
        y[i + 1] = a * cos_sin[i + 1] + b * cos_sin[i];
    }
}

/* One head: n of the tokens before `end`, causally over those from `start`
 * on. q and out have `stride` floats per token, cos_sin HEAD_DIM. */
static void attend_head(const float *q, int n, int64_t stride, const float *cos_sin, const float *keys,
                        const float *values, int start, int end, float *out, float *work) {
    float scale = 1.44269504f / sqrtf(HEAD_DIM); /* log2(e): the softmax uses exp2 */
    float *queries = work, *acc = work + n * HEAD_DIM, *max = acc + n * HEAD_DIM, *sum = max + n;
    for (int m = 0; m < n; m++) {
        float *query = queries + m * HEAD_DIM;
        rope(q + m * stride, cos_sin + m * HEAD_DIM, query);
        for (int i = 0; i < HEAD_DIM; i++) query[i] *= scale;
        max[m] = -INFINITY;
        sum[m] = 0;
    }
    memset(acc, 0, (size_t)n * HEAD_DIM * sizeof(float));
    for (int t = start / PANEL * PANEL; t < end; t += KEYS)
        for (int m = 0, rows = block_of(n); m < n; m += rows)
            attend_block_any(n - m < rows ? n - m : rows, queries + m * HEAD_DIM,
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
typedef struct {
    const float *x;
    float *y;
    int f;
} silu_t;

static void silu_mul(void *args, int m, int end, int thread) {
    const silu_t *a = args;
    (void)thread;
    for (; m < end; m++) {
        const float *gate = a->x + (int64_t)m * 2 * a->f, *up = gate + a->f;
        for (int i = 0; i < a->f; i += LANES) {
            vec g = load(gate + i);
            vec e = vexp2(vmax(g, -g) * -1.44269504f), sigmoid = 1 / (1 + e); /* of |g| */
            sigmoid = choose(g > 0, sigmoid, e * sigmoid);
            store(a->y + (int64_t)m * a->f + i, g * sigmoid * load(up + i));
        }
    }
}

/* The attention of one layer; an item is a head of a sequence. */
typedef struct {
    const cache_t *caches;
    const float *q, *kv, *cos_sin; /* q [n][heads][HEAD_DIM], kv [n][2][heads][HEAD_DIM] */
    const int *first;              /* where each sequence begins */
    int heads, last_only;          /* last_only: q and out hold one token per sequence */
    float *out, *work;             /* work: work_size floats per thread */
    size_t work_size;
} attend_t;

/* Writes the new keys, rotated, and values to the caches, and attends to them. */
static void attend_items(void *args, int item, int end, int thread) {
    const attend_t *a = args;
    int stride = a->heads * HEAD_DIM;
    float *work = a->work + a->work_size * thread;
    for (; item < end; item++) {
        int b = item / a->heads, h = item % a->heads;
        const cache_t *cache = a->caches + b;
        int n = a->last_only ? 1 : cache->length, new = a->first[b + 1] - n;
        float *keys = cache->keys + h * cache->capacity * HEAD_DIM;
        float *values = cache->values + h * cache->capacity * HEAD_DIM;
        for (int m = a->first[b], at = cache->end - cache->length; at < cache->end; m++, at++) {
            const float *fresh = a->kv + (int64_t)m * 2 * stride + h * HEAD_DIM;
            float key[HEAD_DIM], *block = keys + (int64_t)(at / PANEL) * PANEL * HEAD_DIM + at % PANEL;
            rope(fresh, a->cos_sin + (int64_t)m * HEAD_DIM, key);
            for (int i = 0; i < HEAD_DIM; i++) block[PANEL * i] = key[i];
            memcpy(values + (int64_t)at * HEAD_DIM, fresh + stride, HEAD_DIM * sizeof(float));
        }
        int64_t at = (int64_t)(a->last_only ? b : new) * stride + h * HEAD_DIM;
        attend_head(a->q + at, n, stride, a->cos_sin + (int64_t)new * HEAD_DIM, keys, values, cache->start,
                    cache->end, a->out + at, work);
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
    uint64_t need = (uint64_t)per_thread * threads + (uint64_t)n * (c + 2 * width + 2 * width + 2 * f + f);
    need = need * sizeof(float) + 64; /* may not fit the 32 bits of an address */
    float *memory = need < PTRDIFF_MAX ? malloc(need) : 0;
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
        attend_t attention = {now, q, kv, cos_sin, first, heads, last_only, attended, work, per_thread};
        parallel(attend_items, &attention, count * heads, threads);
        linear(attended, tokens, width, w->out, w->out_bias, c, x, x, threads);
        rms_norm(x, tokens, c, eps, y);
        linear(y, tokens, c, w->gate_up, w->gate_up_bias, 2 * f, 0, up, threads);
        silu_t gate = {up, gated, f};
        parallel(silu_mul, &gate, tokens, threads);
        linear(gated, tokens, f, w->down, w->down_bias, c, x, x, threads);
    }
    memcpy(out, x, (size_t)count * c * sizeof(float));
    free(memory);
    free(first);
    return 0;
}

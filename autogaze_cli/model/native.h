/* What native.c offers, and the vectors that it is written in.
 *
 * One source serves every instruction set. The block of a set is three numbers: the floats of a vector
 * (LANES), and the rows (ROWS) and vectors a row (VECS) whose sums fill its registers.
 */
#ifndef AUTOGAZE_NATIVE_H
#define AUTOGAZE_NATIVE_H

#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#include <immintrin.h>
#define LANES 16
#define ROWS 12
#elif defined(__AVX2__)
#include <immintrin.h>
#define LANES 8
#define ROWS 6
#elif defined(NATIVE_NEON)
#include <arm_neon.h>
#define LANES 4
#define ROWS 12
#else /* wasm SIMD, SSE2, or whatever the compiler makes of 128 bits: equal results on all of these */
#define LANES 4
#ifdef __wasm__
#define ROWS 4 /* a quarter faster than 6 in V8, which spills more than 8 sums */
#else
#define ROWS 6
#endif
#endif
#define VECS 2
#define PANEL (LANES * VECS) /* columns of a weight, and keys of a cache, that lie side by side */
#define HEAD_DIM 32

#define INLINE static inline __attribute__((always_inline))

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef float vec_u __attribute__((vector_size(4 * LANES), aligned(4)));
typedef int32_t ivec __attribute__((vector_size(4 * LANES)));
typedef uint32_t uvec __attribute__((vector_size(4 * LANES)));

INLINE vec load(const float *p) { return *(const vec_u *)p; }
INLINE void store(float *p, vec v) { *(vec_u *)p = v; }
INLINE vec broadcast(float a) { return a - (vec){0}; }

/* Lanes of a where the mask is set, of b where not. */
INLINE vec choose(ivec mask, vec a, vec b) { return (vec)((mask & (ivec)a) | (~mask & (ivec)b)); }

/* The larger of each lane; b where either is not a number. */
INLINE vec vmax(vec a, vec b) {
#if defined(__AVX512F__)
    return (vec)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
    return (vec)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return choose(a > b, a, b);
#endif
}

/* Horizontal maximum. */
INLINE float hmax(vec v) {
    float max = v[0];
    for (int i = 1; i < LANES; i++) max = v[i] > max ? v[i] : max;
    return max;
}

/* Horizontal sum, first lane to last. */
INLINE float hsum(vec v) {
    float sum = 0;
    for (int i = 0; i < LANES; i++) sum += v[i];
    return sum;
}

/* exp2 for x <= 0, to a few parts in 1e7; 0 below -127. */
INLINE vec vexp2(vec x) {
    const float whole = 12582912.0f + 127; /* of 1.5 * 2^23 and more, the last bit is worth 1 */
    x = vmax(x, broadcast(-127.0f));
    vec n = x + whole, r = x - (n - whole); /* the last 8 bits of n are the nearest whole number + 127 */
    vec p = broadcast(1.5403530393e-4f);
    p = p * r + 1.3333558146e-3f;
    p = p * r + 9.6181291076e-3f;
    p = p * r + 5.5504108665e-2f;
    p = p * r + 2.4022650696e-1f;
    p = p * r + 6.9314718056e-1f;
    p = p * r + 1.0f;
    return p * (vec)((uvec)n << 23); /* the exponent of 2^n; that of 2^-127 is 0 */
}

/* A layer's weights in panels of PANEL columns, [panel][inputs][PANEL], and its biases or null. */
typedef struct {
    const float *queries, *keys_values, *out, *gate_up, *down;
    const float *queries_bias, *keys_values_bias, *out_bias, *gate_up_bias, *down_bias;
} layer_t;

/* One layer's cache of one sequence. */
typedef struct {
    float *keys;   /* [heads][capacity / PANEL][HEAD_DIM][PANEL] */
    float *values; /* [heads][capacity][HEAD_DIM] */
    int64_t capacity;   /* tokens, a multiple of PANEL */
    int32_t start, end; /* the visible tokens, new ones included */
    int32_t length;     /* how many are new */
} cache_t;

/* PANEL, for callers that pack weights. */
int panel(void);

/* Whether this processor has the instruction set that the code was compiled for. */
int supported(void);

/* y [n, cols] = x [n, k] w + bias + add; w in panels of columns, zeros past the last; bias and add
 * may be null, and add may be y. */
void linear(const float *x, int n, int k, const float *w, const float *bias, int cols,
            const float *add, float *y, int threads);

/* RMS normalisation of n tokens of c channels, without its weight. */
void rms_norm(const float *x, int n, int c, float eps, float *y);

/* All layers over the new tokens of `count` sequences; caches[layer * count + b] are their caches.
 *
 * x [n, c] are the tokens, sequence after sequence, overwritten; cos_sin [n, HEAD_DIM] holds the
 * (cosine, sine) of each pair; f is a multiple of LANES; out [count, c] is the last token of each
 * sequence. Returns 0, or -1 when out of memory. */
int run(const layer_t *layers, int depth, int heads, int c, int f, float eps, float *x, int n,
        const float *cos_sin, const cache_t *caches, int count, float *out, int threads);

#endif

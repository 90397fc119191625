/* A model from pixels to tokens in one thread: what the page of `autogaze viewer` runs as WebAssembly.
 *
 * On top of the decoder's layers (native.c) it has the preprocessing, the vision encoder, the decode loop
 * and its caches; equal to preprocess.py, vision.py, decode.py, choose.py and cache.py up to the rounding
 * of sums. It calls no mathematical library, so that the same source gives the same bits everywhere as
 * long as no multiplication is fused with an addition.
 */
#include "model.h"
#include "numbers.h"

#include "image.h"
#include "vision.h"

typedef struct {
    float **past; /* of each block, the frames before: [time - 1][tokens][channels] */
    float **keys, **values;
    int64_t capacity;
    int32_t start, end, dropped, pending_n, frames_n, frames_room;
    int32_t *pending, *frames; /* `frames`: tokens of each remembered frame, oldest first */
} stream_t;

stream_t *new_stream(const model_t *m) {
    stream_t *s = zeros(1, sizeof(stream_t));
    const config_t *size = &m->size;
    s->past = zeros(size->depth, sizeof(float *));
    for (int i = 0; i < size->depth; i++)
        s->past[i] = zeros((uint64_t)size->time * m->tokens * size->channels, sizeof(float));
    s->keys = zeros(2 * size->layers, sizeof(float *));
    s->values = s->keys + size->layers;
    s->pending = zeros(size->chunk, sizeof(int32_t));
    return s;
}

void free_stream(const model_t *m, stream_t *s) {
    for (int i = 0; i < m->size.depth; i++) free(s->past[i]);
    for (int l = 0; l < 2 * m->size.layers; l++) free(s->keys[l]);
    free(s->past);
    free(s->keys);
    free(s->pending);
    free(s->frames);
    free(s);
}

/* Makes room for `count` more tokens: the visible ones move to the front, of larger buffers if need be. */
static void reserve(const model_t *m, stream_t *s, int count) {
    if (s->end + count <= s->capacity) return;
    int first = s->start / PANEL * PANEL, live = s->end - first;
    int kept = (live + PANEL - 1) / PANEL * PANEL; /* keys lie in whole blocks */
    int64_t larger = s->capacity;
    if (live + count > larger) larger = live + count > 2 * larger ? live + count : 2 * larger;
    larger = (larger + PANEL - 1) / PANEL * PANEL;
    for (int b = 0; b < 2 * m->size.layers; b++) {
        float *to = zeros(larger * m->size.heads * HEAD_DIM, sizeof(float)), *from = s->keys[b];
        for (int h = 0; from && h < m->size.heads; h++)
            memcpy(to + larger * h * HEAD_DIM, from + (s->capacity * h + first) * HEAD_DIM,
                   (size_t)kept * HEAD_DIM * sizeof(float));
        free(from);
        s->keys[b] = to;
    }
    s->capacity = larger;
    s->dropped += first;
    s->start -= first;
    s->end = live;
}

/* Drops the oldest frames until fewer than `horizon` remain; 0 = none. */
static void forget(stream_t *s, int horizon) {
    while (horizon && s->frames_n >= horizon) {
        s->start = at_most(s->start + s->frames[0], s->end);
        memmove(s->frames, s->frames + 1, --s->frames_n * sizeof(int32_t));
    }
}

/* Remembers a frame of `tokens` tokens. */
static void remember(stream_t *s, int tokens) {
    if (s->frames_n == s->frames_room) {
        s->frames_room = 2 * s->frames_room + 16;
        s->frames = realloc(s->frames, s->frames_room * sizeof(int32_t));
        if (!s->frames) __builtin_trap();
    }
    s->frames[s->frames_n++] = tokens;
}

/* Renumbers the positions of a long stream from 0, and rotates its keys back to match: a float32 angle
 * of a large position is not exact enough. */
static void move_back(const model_t *m, stream_t *s) {
    if (s->dropped < 1 << 16) return;
    for (int i = 0; i < HEAD_DIM / 2; i++) {
        double c, sine;
        cos_sin_of((double)m->size.frequencies[i] * s->dropped, &c, &sine);
        for (int l = 0; l < m->size.layers; l++)
            for (int h = 0; h < m->size.heads; h++)
                for (int t = s->start / PANEL * PANEL; t < s->end; t++) {
                    float *a = s->keys[l] + ((size_t)h * s->capacity + t / PANEL * PANEL) * HEAD_DIM +
                               2 * i * PANEL + t % PANEL;
                    double x = a[0], y = a[PANEL];
                    a[0] = (float)(x * c + y * sine);
                    a[PANEL] = (float)(y * c - x * sine);
                }
    }
    s->dropped = 0;
}

/* Extends the caches by n tokens x [n][hidden] from `position` on, and runs the layers; `hidden` is the
 * last token. */
static void extend(const model_t *m, stream_t *s, float *x, int n, int position, float *hidden) {
    const config_t *size = &m->size;
    float *rotations = floats((uint64_t)n * HEAD_DIM);
    cache_t *caches = zeros(size->layers, sizeof(cache_t));
    for (int j = 0; j < n; j++)
        for (int i = 0; i < HEAD_DIM / 2; i++) {
            double c, sine;
            cos_sin_of((float)(position + j) * size->frequencies[i], &c, &sine);
            rotations[j * HEAD_DIM + 2 * i] = (float)c;
            rotations[j * HEAD_DIM + 2 * i + 1] = (float)sine;
        }
    s->end += n;
    for (int l = 0; l < size->layers; l++)
        caches[l] = (cache_t){s->keys[l], s->values[l], s->capacity, s->start, s->end, n};
    if (run(m->decoder, size->layers, size->heads, size->hidden, size->inner, size->eps, x, n, rotations,
            caches, 1, hidden, 1))
        __builtin_trap();
    free(rotations);
    free(caches);
}

/* ------------------------------------------------------------------------------------ decode loop */

typedef struct {
    int32_t *ids;       /* the padding id (vocab - 1) where suppressed */
    float *confidences; /* 0 where suppressed */
    int32_t count, most;
    float requirement; /* NaN = none */
    uint8_t *taken;    /* of each id, whether this frame has it */
} gaze_t;

/* Chooses up to `chunk` tokens from a step's scores; leaves the valid ones in `pending`. Returns whether
 * the frame goes on. */
static int choose_tokens(const model_t *m, stream_t *s, const float *scores, gaze_t *g) {
    int vocab = m->size.vocab, k = m->size.chunk, eos = vocab - 1, size = 0, any = 0;
    int room = at_most(g->most - g->count, k), first = g->count == 0;
    const float *losses = scores + (size_t)k * vocab;
    s->pending_n = 0;
    for (int i = 0; i < k; i++) any |= losses[i] <= g->requirement && !(first && i == 0);
    for (int i = 0; i < room; i++, size++) {
        const float *row = scores + (size_t)i * vocab;
        int best = -1;
        float sum = 0;
        for (int id = 0; id < eos; id++) {
            if (g->taken[id] || !(row[id] - row[id] == 0)) continue; /* infinite or not a number */
            sum += exponential(row[id]);
            if (best < 0 || row[id] > row[best]) best = id;
        }
        if (best < 0) break;
        float confidence = exponential(row[best]) / sum;
        int padded = losses[i] <= g->requirement && !(first && i == 0);
        if (!(confidence > 0 && confidence < INFINITY)) confidence = 1;
        g->taken[best] = 1;
        g->ids[g->count] = padded ? eos : best;
        g->confidences[g->count++] = padded ? 0 : confidence;
        if (!padded) s->pending[s->pending_n++] = best;
    }
    return size == k && !any && g->count < g->most;
}

/* The pending tokens as the decoder reads them. */
static void embed_tokens(const model_t *m, const stream_t *s, float *to) {
    int c = m->size.hidden;
    for (int j = 0; j < s->pending_n; j++)
        memcpy(to + (size_t)j * c, m->embed + (size_t)s->pending[j] * c, c * sizeof(float));
}

/* Gazes at the next frame of a stream.
 *
 * input [3][side][side]; `most` tokens at most; `horizon` frames visible, this one included, 0 = all;
 * tokens whose predicted loss is at most `requirement` are suppressed, NaN = none. Writes ids and
 * confidences, `most` of each, and all scores of the first step if `scores` is given. Returns how many
 * tokens were chosen. */
int gaze_frame(const model_t *m, stream_t *s, const float *input, int most, int horizon,
               float requirement, int32_t *ids, float *confidences, float *scores) {
    const config_t *size = &m->size;
    int c = size->hidden, k = size->chunk, outputs = k * size->vocab + k, valid = 0;
    float *x = floats((uint64_t)(k + m->tokens) * c), *hidden = floats(c), *out = floats(outputs);
    gaze_t g = {ids, confidences, 0, at_most(most, size->vocab - 1), requirement, zeros(size->vocab, 1)};
    forget(s, horizon);
    move_back(m, s);
    reserve(m, s, k + m->tokens + g.most);
    int n = s->pending_n + m->tokens, position = s->dropped + s->end;
    int chunk_position = position + n - k; /* which all chunks of a frame share */
    embed_tokens(m, s, x);
    embed_frame(m, s->past, input, x + (size_t)s->pending_n * c);
    for (;;) {
        extend(m, s, x, n, position, hidden);
        rms_norm(hidden, 1, c, size->eps, hidden);
        linear(hidden, 1, c, m->head, 0, outputs, 0, out, 1);
        if (scores && g.count == 0) memcpy(scores, out, outputs * sizeof(float));
        if (!choose_tokens(m, s, out, &g)) break;
        embed_tokens(m, s, x);
        n = k, position = chunk_position;
    }
    for (int i = 0; i < g.count; i++) valid += ids[i] != size->vocab - 1;
    remember(s, m->tokens + valid);
    free(x), free(hidden), free(out), free(g.taken);
    return g.count;
}

/* The inputs of a picture's pixels, RGBA [h][w][4], for `gaze_frame`: see image.h. */
void input_whole(const model_t *m, const uint8_t *rgba, int w, int h, float *to) {
    whole_input(rgba, w, h, m->size.shortest, m->size.side, (float(*)[256])m->values, to);
}

void input_tile(const model_t *m, const uint8_t *rgba, int w, int h, int canvas_w, int canvas_h, int left,
               int top, int tile, float *to) {
    tile_input(rgba, w, h, canvas_w, canvas_h, left, top, tile, m->size.side,
                      (float(*)[256])m->values, to);
}

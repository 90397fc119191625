/* Cells and image panels, one pixel at a time: the fast version of what panels.py does with arrays.
 *
 * Every step of a mix is one float32 operation, so this is compiled without contraction.
 */
#include <stdint.h>
#include <string.h>

/* One copy for each generation of x86 processors; the loader picks (needs ELF). */
#if defined(__x86_64__) && defined(__linux__)
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLONES
#endif

enum { BLOCK = 1024 }; /* pixels mixed at a time: they stay in the first cache */

/* Draws each cell in turn, with a border of one pixel inside it. rects [n][4] are x0, x1, y0, y1. */
void draw_cells(uint32_t *canvas, int64_t stride, const int64_t *rects, const int64_t *colours,
                int64_t n, const uint32_t *borders, const uint32_t *fills) {
    for (int64_t i = 0; i < n; i++) {
        const int64_t *r = rects + 4 * i;
        uint32_t border = borders[colours[i]], fill = fills[colours[i]];
        for (int64_t y = r[2]; y < r[3]; y++) {
            uint32_t *row = canvas + y * stride, inside = y == r[2] || y == r[3] - 1 ? border : fill;
            for (int64_t x = r[0]; x < r[1]; x++) row[x] = inside;
            row[r[0]] = row[r[1] - 1] = border;
        }
    }
}

/* Sets the bytes of a mask that some rectangle covers. */
void paint(uint8_t *mask, int64_t stride, const int64_t *rects, int64_t n) {
    for (const int64_t *r = rects; r < rects + 4 * n; r += 4)
        for (int64_t y = r[2]; y < r[3]; y++) memset(mask + y * stride + r[0], 1, r[1] - r[0]);
}

/* Copies n pixels of 3 or 4 channels to RGBA. */
static void copy_rgba(uint8_t *to, const uint8_t *from, int64_t n, int64_t channels) {
    if (channels == 4) {
        memcpy(to, from, 4 * n);
        return;
    }
    for (int64_t i = 0; i < n; i++, to += 4, from += 3) {
        to[0] = from[0];
        to[1] = from[1];
        to[2] = from[2];
        to[3] = 255;
    }
}

/* n bytes: base * (1 - weight) + cell * weight, halves up, where a byte of `mixed` is 255; base where
 * one of `kept` is; 0 elsewhere. */
CLONES static void mix(uint8_t *base, const uint8_t *cell, const uint8_t *mixed, const uint8_t *kept,
                int64_t n, float weight) {
    float rest = 1 - weight;
    for (int64_t i = 0; i < n; i++) {
        float value = base[i] * rest;
        float share = cell[i] * weight;
        value += share;
        value += 0.49999997f;
        base[i] = ((uint8_t)(int32_t)value & mixed[i]) | (base[i] & kept[i]);
    }
}

/* An image panel of n RGBA pixels: cells, drawn on clear ground, mixed into a frame of 3 or 4
 * channels. The frame's alpha stays where a cell is. */
void blend_cells(uint8_t *panel, const uint8_t *frame, int64_t channels, const uint32_t *cells,
                 int64_t n, float weight, int keep_image) {
    uint32_t alpha, mixed[BLOCK], kept[BLOCK];
    memcpy(&alpha, (uint8_t[]){0, 0, 0, 255}, 4);
    for (int64_t done = 0; done < n; done += BLOCK) {
        int64_t count = n - done < BLOCK ? n - done : BLOCK;
        copy_rgba(panel, frame, count, channels);
        for (int64_t i = 0; i < count; i++) {
            uint32_t covered = cells[i] ? 0xffffffff : 0;
            mixed[i] = covered & ~alpha;
            kept[i] = keep_image ? ~mixed[i] : covered & alpha;
        }
        mix(panel, (const uint8_t *)cells, (const uint8_t *)mixed, (const uint8_t *)kept, 4 * count,
            weight);
        panel += 4 * count;
        frame += channels * count;
        cells += count;
    }
}

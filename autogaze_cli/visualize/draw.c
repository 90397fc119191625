/* Cells and image panels, a pixel at a time: the same as panels.py does with whole arrays.
 *
 * Every step of mix() is one float32 operation, so it is compiled without contraction.
 */
#include <stdint.h>
#include <string.h>

/* Each cell in turn, with a border of one pixel inside it. rects [n][4] are x0, x1, y0, y1. */
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

/* Sets the byte of each number that occurs. */
void mark(const uint32_t *numbers, int64_t n, uint8_t *marks) {
    for (int64_t i = 0; i < n; i++) marks[numbers[i]] = 1;
}

/* A row of n bytes: where a byte of `covered` is 255, base * (1 - weight) + cell * weight, halves up;
 * elsewhere base & outside. */
__attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
static void mix(uint8_t *base, const uint8_t *cell, const uint8_t *covered, int64_t n, float weight,
                uint8_t outside) {
    float rest = 1 - weight;
    for (int64_t i = 0; i < n; i++) {
        float value = base[i] * rest;
        float share = cell[i] * weight;
        value += share;
        value += 0.49999997f;
        uint8_t mixed = (uint8_t)(int32_t)value;
        base[i] = (mixed & covered[i]) | (base[i] & outside & ~covered[i]);
    }
}

/* An image panel in place: panel [height][width] is the frame, row_of[y] says which of the rows of
 * cells on clear ground lies over its row y; work holds 2 * width pixels. Alpha stays where covered. */
void mix_panel(uint32_t *panel, const uint32_t *rows, const int64_t *row_of, int64_t height,
               int64_t width, float weight, int keep_image, uint32_t *work) {
    uint32_t alpha;
    memcpy(&alpha, (uint8_t[]){0, 0, 0, 255}, 4);
    for (int64_t y = 0; y < height; y++, panel += width) {
        const uint32_t *cells = rows + row_of[y] * width;
        uint32_t *covered = work, *kept = work + width;
        for (int64_t x = 0; x < width; x++) {
            uint32_t is = cells[x] ? 0xffffffff : 0;
            covered[x] = is & ~alpha;
            kept[x] = panel[x] & is & alpha;
        }
        mix((uint8_t *)panel, (const uint8_t *)cells, (const uint8_t *)covered, 4 * width, weight,
            keep_image ? 255 : 0);
        if (!keep_image)
            for (int64_t x = 0; x < width; x++) panel[x] |= kept[x];
    }
}

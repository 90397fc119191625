/* Sums over the cells of a grid on two images: the fast version of cell_sums.py. */
#include <stdint.h>
#include <string.h>

/* One copy for each generation of x86 processors; the loader picks (needs ELF). */
#if defined(__x86_64__) && defined(__linux__)
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLONES
#endif

enum { BLOCK = 2048 }; /* bytes of a row at a time: their sums stay in the first cache */

/* sums[j] = sum over the rows of |a - b| in column j, for at most 66051 rows of n bytes. */
CLONES static void columns_of_differences(const uint8_t *a, const uint8_t *b, int64_t rows, int64_t n,
                                          uint32_t *sums) {
    memset(sums, 0, n * sizeof *sums);
    for (int64_t start = 0; start < n; start += BLOCK) {
        int64_t end = start + BLOCK < n ? start + BLOCK : n;
        for (int64_t row = 0; row < rows; row++)
            for (int64_t j = start; j < end; j++) {
                uint8_t x = a[row * n + j], y = b[row * n + j];
                sums[j] += (uint8_t)(x > y ? x - y : y - x);
            }
    }
}

/* sums[j] = sum over the rows of a * b in column j, and squares[j] that of b * b; as above. */
CLONES static void columns_of_products(const uint8_t *a, const uint8_t *b, int64_t rows, int64_t n,
                                       uint32_t *sums, uint32_t *squares) {
    memset(sums, 0, n * sizeof *sums);
    memset(squares, 0, n * sizeof *squares);
    for (int64_t start = 0; start < n; start += BLOCK) {
        int64_t end = start + BLOCK < n ? start + BLOCK : n;
        for (int64_t row = 0; row < rows; row++)
            for (int64_t j = start; j < end; j++) {
                uint16_t x = a[row * n + j], y = b[row * n + j];
                sums[j] += (uint16_t)(x * y);
                squares[j] += (uint16_t)(y * y);
            }
    }
}

/* One row of cells: the sums of columns over each cell's pixels, a number for each channel. */
static void over_columns(const uint32_t *sums, const int64_t *cols, int64_t grid, int64_t channels,
                         uint64_t *cells) {
    for (int64_t i = 0; i < grid; i++, cells += channels)
        for (int64_t j = cols[2 * i] * channels; j < cols[2 * i + 1] * channels; j += channels)
            for (int64_t c = 0; c < channels; c++) cells[c] += sums[j + c];
}

/* cells [grid][grid][channels] += |a - b|. Images have rows of n bytes; rows and cols [grid][2] are
 * first and one past the last pixel of each cell; scratch has room for n numbers. */
void cell_differences(const uint8_t *a, const uint8_t *b, int64_t n, int64_t channels, int64_t grid,
                      const int64_t *rows, const int64_t *cols, uint32_t *scratch, uint64_t *cells) {
    for (int64_t i = 0; i < grid; i++, cells += grid * channels) {
        int64_t top = rows[2 * i], height = rows[2 * i + 1] - top;
        columns_of_differences(a + top * n, b + top * n, height, n, scratch);
        over_columns(scratch, cols, grid, channels, cells);
    }
}

/* cells [2][grid][grid][channels] += a * b, and += b * b; scratch has room for 2 n numbers. */
void cell_products(const uint8_t *a, const uint8_t *b, int64_t n, int64_t channels, int64_t grid,
                   const int64_t *rows, const int64_t *cols, uint32_t *scratch, uint64_t *cells) {
    uint64_t *squares = cells + grid * grid * channels;
    for (int64_t i = 0; i < grid; i++, cells += grid * channels, squares += grid * channels) {
        int64_t top = rows[2 * i], height = rows[2 * i + 1] - top;
        columns_of_products(a + top * n, b + top * n, height, n, scratch, scratch + n);
        over_columns(scratch, cols, grid, channels, cells);
        over_columns(scratch + n, cols, grid, channels, squares);
    }
}

/* Memory whose last byte is followed by a page that nobody may touch, for processors that the sanitizer of addresses
   is not built for: included before all else. Nothing is freed, so that old memory is not used again either. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 1 << 16 };

static void *fenced(size_t size) {
    size_t pages = (size + PAGE - 1) / PAGE * PAGE;
    char *start = mmap(0, pages + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED || mprotect(start + pages, PAGE, PROT_NONE)) abort();
    return start + pages - size;
}

#define malloc fenced
#define calloc(count, size) fenced((count) * (size))
#define free(memory) ((void)(memory))

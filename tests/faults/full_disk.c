/* A disk that gets full: below the folder FULL_BELOW, every call that needs room fails from one on.

   Preloaded into a process, which chooses that call with full_from() and can count with
   full_calls(). Removing, renaming and shortening files needs no room. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_long calls;
static long first;

void full_from(long call) {
    first = call;
    calls = 0;
}

long full_calls(void) { return calls; }

static int path_is_full(const char *path) {
    const char *below = getenv("FULL_BELOW");
    if (!below || strncmp(path, below, strlen(below)) != 0) return 0;
    return atomic_fetch_add(&calls, 1) + 1 >= first && first > 0;
}

static int is_full(int file) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return path_is_full(path);
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define FAIL_IF(full) \
    do { \
        if (full) { \
            errno = ENOSPC; \
            return -1; \
        } \
    } while (0)

ssize_t write(int file, const void *data, size_t size) {
    FAIL_IF(is_full(file));
    return NEXT(write)(file, data, size);
}

ssize_t pwrite64(int file, const void *data, size_t size, off64_t at) {
    FAIL_IF(is_full(file));
    return NEXT(pwrite64)(file, data, size, at);
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    FAIL_IF(is_full(file));
    return NEXT(writev)(file, parts, count);
}

int fsync(int file) {
    FAIL_IF(is_full(file));
    return NEXT(fsync)(file);
}

int mkdir(const char *path, mode_t mode) {
    FAIL_IF(path_is_full(path));
    return NEXT(mkdir)(path, mode);
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0; \
        va_end(more); \
        FAIL_IF((flags & O_CREAT) && path_is_full(path)); \
        return NEXT(name)(path, flags, mode); \
    }

OPEN(open)
OPEN(open64)

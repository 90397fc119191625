/* A clock of the day that jumps back and forth by days. Preloaded into a process. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    static atomic_int calls;
    int failed = ((__typeof__(&clock_gettime))dlsym(RTLD_NEXT, "clock_gettime"))(clock, now);
    if (!failed && clock == CLOCK_REALTIME)
        now->tv_sec += (atomic_fetch_add(&calls, 1) % 5 - 2) * 86400L;
    return failed;
}

/* Loops of many sizes, from several callers at the same time and in forked children: every item is done
 * once, in its own place. Exits with 1 if not, and with a signal if a loop never ends. */
#include "threads.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST 3000
#define CALLERS 3

typedef struct {
    int threads, seen[MOST];
} items_t;

static void count(void *args, int first, int last, int thread) {
    items_t *items = args;
    if (thread < 0 || thread >= items->threads) _exit(1);
    for (int i = first; i < last; i++) items->seen[i]++;
}

/* Whether a loop of n items does each of them once. */
static int loops(int n, int threads) {
    items_t items = {.threads = threads < 1 ? 1 : threads};
    parallel(count, &items, n, threads);
    for (int i = 0; i < MOST; i++)
        if (items.seen[i] != (i < n)) return 0;
    return 1;
}

static void *caller(void *seed) {
    unsigned state = (unsigned)(intptr_t)seed;
    for (int i = 0; i < 300; i++) {
        int n = rand_r(&state) % 4 ? rand_r(&state) % 20 : rand_r(&state) % MOST;
        if (!loops(n, rand_r(&state) % 6)) _exit(1);
        if (i % 50 == 0) usleep(2000); /* until the threads sleep */
    }
    return 0;
}

/* Whether a child that is forked now can loop. */
static int child_loops(void) {
    pid_t child = fork();
    if (!child) {
        alarm(20);
        _exit(!(loops(MOST, 4) && loops(7, 2)));
    }
    int status = 1;
    waitpid(child, &status, 0);
    return status == 0;
}

int main(void) {
    alarm(300);
    pthread_t callers_of[CALLERS];
    for (int i = 0; i < CALLERS; i++) pthread_create(callers_of + i, 0, caller, (void *)(intptr_t)(i + 1));
    for (int i = 0; i < CALLERS; i++) pthread_join(callers_of[i], 0);
    if (!loops(0, 4) || !loops(1, 4) || !loops(MOST, 1000) || !loops(MOST, 0)) return 1;
    if (!child_loops()) return 1;
    /* As when a thread is about to sleep, or a caller in its loop, while another thread forks. */
    pthread_mutex_lock(&sleepers);
    __atomic_store_n(&sleeping, 1, __ATOMIC_SEQ_CST);
    int ends = child_loops();
    pthread_mutex_unlock(&sleepers);
    return !ends;
}

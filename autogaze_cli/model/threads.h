/* A loop over independent items, spread over threads that the process keeps.
 *
 * The caller takes items like every other thread, and waits only for items that another has begun: a
 * thread that the system runs late costs time but never holds the loop up. A fork's child makes its own.
 * Without threads (wasm, or -DNATIVE_NO_THREADS) it is a plain loop.
 */
#ifndef AUTOGAZE_THREADS_H
#define AUTOGAZE_THREADS_H

/* Does items `first` to `last`, exclusive; `thread` is below the number of threads asked for. */
typedef void task_t(void *args, int first, int last, int thread);

#if defined(__wasm__) || defined(NATIVE_NO_THREADS)
static void parallel(task_t *task, void *args, int count, int threads) {
    (void)threads;
    task(args, 0, count, 0);
}
#else
#include <pthread.h>
#include <sched.h>
#include <stdint.h>

#define MOST_THREADS 256
#define PAUSES 4000 /* looks for work before a thread sleeps: some tenths of a millisecond */
#define ALONE __attribute__((aligned(128))) /* on a cache line of its own */

/* What is left of the present loop: the threads that may help (16 bits), then its number of parts and the
 * next part to take (24 bits each), in one word, so that taking a part is one exchange. */
static uint64_t left ALONE;
static int done ALONE;     /* parts that are finished */
static int sleeping ALONE; /* whether a thread may be asleep */
static struct {
    task_t *task;
    void *args;
    int count, parts;
} job ALONE;
static pthread_mutex_t callers = PTHREAD_MUTEX_INITIALIZER, sleepers = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t awake = PTHREAD_COND_INITIALIZER;
static int started = 1; /* the caller counts as one */

/* A forked child has none of the threads, and whatever they held stays held: it begins anew. */
static void begin_anew(void) {
    callers = sleepers = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    awake = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
    left = sleeping = 0;
    started = 1;
}

/* The children of this process too have this handler. */
static void prepare_for_forks(void) { pthread_atfork(0, 0, begin_anew); }

static inline void rest(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Takes and does one part; whether there was one for this thread. */
static int take_part(int thread) {
    uint64_t now = __atomic_load_n(&left, __ATOMIC_ACQUIRE);
    int64_t part, parts;
    do {
        part = now & 0xffffff, parts = now >> 24 & 0xffffff;
        if (part >= parts || thread >= (int)(now >> 48)) return 0;
    } while (!__atomic_compare_exchange_n(&left, &now, now + 1, 1, __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE));
    job.task(job.args, job.count * part / parts, job.count * (part + 1) / parts, thread);
    __atomic_add_fetch(&done, 1, __ATOMIC_RELEASE);
    return 1;
}

static int work_for(int thread) {
    uint64_t now = __atomic_load_n(&left, __ATOMIC_SEQ_CST);
    return (now & 0xffffff) < (now >> 24 & 0xffffff) && thread < (int)(now >> 48);
}

static void *worker(void *thread) {
    int me = (int)(intptr_t)thread;
    for (;;) {
        for (int i = 0; i < PAUSES; i++)
            if (take_part(me))
                i = 0;
            else
                rest();
        pthread_mutex_lock(&sleepers);
        __atomic_store_n(&sleeping, 1, __ATOMIC_SEQ_CST);
        while (!work_for(me)) {
            pthread_cond_wait(&awake, &sleepers);
            __atomic_store_n(&sleeping, 1, __ATOMIC_SEQ_CST);
        }
        pthread_mutex_unlock(&sleepers);
    }
    return 0;
}

static void parallel(task_t *task, void *args, int count, int threads) {
    threads = threads < MOST_THREADS ? threads : MOST_THREADS;
    /* One loop at a time: a second caller does its own alone. */
    if (threads < 2 || count < 2 || pthread_mutex_trylock(&callers)) {
        task(args, 0, count, 0);
        return;
    }
    static pthread_once_t prepared = PTHREAD_ONCE_INIT;
    pthread_once(&prepared, prepare_for_forks);
    for (pthread_t id; started < threads; started++) {
        if (pthread_create(&id, 0, worker, (void *)(intptr_t)started)) break;
        pthread_detach(id);
    }
    uint64_t parts = count < 8 * threads ? count : 8 * threads;
    job.task = task, job.args = args, job.count = count;
    __atomic_store_n(&done, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&left, (uint64_t)threads << 48 | parts << 24, __ATOMIC_SEQ_CST);
    if (__atomic_exchange_n(&sleeping, 0, __ATOMIC_SEQ_CST)) {
        pthread_mutex_lock(&sleepers);
        pthread_cond_broadcast(&awake);
        pthread_mutex_unlock(&sleepers);
    }
    while (take_part(0)) {}
    for (int i = 1; __atomic_load_n(&done, __ATOMIC_ACQUIRE) < (int)parts; i++)
        if (i % PAUSES) rest();
        else sched_yield(); /* the thread that has it may need this core */
    pthread_mutex_unlock(&callers);
}
#endif
#endif

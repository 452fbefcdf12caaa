#include "pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

enum { STACK_BYTES = 1 << 20 };

typedef struct worker {
    vlorp_pool *pool;
    int number; /* from 1; the caller is 0 */
    pthread_t thread;
} worker;

struct vlorp_pool {
    pthread_mutex_t busy; /* held by the caller whose loop runs */
    pthread_mutex_t lock; /* guards what follows, but for next */
    pthread_cond_t work, done;
    bool stop;
    bool open;       /* workers may join the loop */
    uint64_t loop;   /* counts loops, so that no worker joins one twice */
    int n_working;   /* workers inside the loop */
    vlorp_task *task;
    void *arg;
    int64_t n_items;
    atomic_int_fast64_t next;

    pid_t owner; /* threads do not survive a fork */
    int n_workers;
    worker workers[];
};

static void run_items(vlorp_pool *pool, int thread)
{
    for (;;) {
        int64_t item = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
        if (item >= pool->n_items) {
            return;
        }
        pool->task(pool->arg, item, thread);
    }
}

static void *work(void *arg)
{
    const worker *self = arg;
    vlorp_pool *pool = self->pool;
    uint64_t seen = 0;
    (void)pthread_mutex_lock(&pool->lock);
    while (!pool->stop) {
        if (!pool->open || pool->loop == seen) {
            (void)pthread_cond_wait(&pool->work, &pool->lock);
            continue;
        }
        seen = pool->loop;
        pool->n_working++;
        (void)pthread_mutex_unlock(&pool->lock);
        run_items(pool, self->number);
        (void)pthread_mutex_lock(&pool->lock);
        pool->n_working--;
        if (pool->n_working == 0) {
            (void)pthread_cond_signal(&pool->done);
        }
    }
    (void)pthread_mutex_unlock(&pool->lock);
    return NULL;
}

vlorp_pool *vlorp_pool_create(int n_threads)
{
    int n_workers = n_threads > 1 ? n_threads - 1 : 0;
    vlorp_pool *pool = calloc(1, sizeof *pool + (size_t)n_workers * sizeof(worker));
    if (pool == NULL) {
        return NULL;
    }
    pool->owner = getpid();
    atomic_init(&pool->next, 0);
    (void)pthread_mutex_init(&pool->busy, NULL);
    (void)pthread_mutex_init(&pool->lock, NULL);
    (void)pthread_cond_init(&pool->work, NULL);
    (void)pthread_cond_init(&pool->done, NULL);
    pthread_attr_t attributes;
    (void)pthread_attr_init(&attributes);
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
    for (int i = 0; i < n_workers; i++) {
        pool->workers[i] = (worker){.pool = pool, .number = i + 1};
        if (pthread_create(&pool->workers[i].thread, &attributes, work, &pool->workers[i]) != 0) {
            break;
        }
        pool->n_workers = i + 1;
    }
    (void)pthread_attr_destroy(&attributes);
    return pool;
}

void vlorp_pool_free(vlorp_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    if (pool->owner == getpid()) {
        (void)pthread_mutex_lock(&pool->lock);
        pool->stop = true;
        (void)pthread_cond_broadcast(&pool->work);
        (void)pthread_mutex_unlock(&pool->lock);
        for (int i = 0; i < pool->n_workers; i++) {
            (void)pthread_join(pool->workers[i].thread, NULL);
        }
        (void)pthread_cond_destroy(&pool->work);
        (void)pthread_cond_destroy(&pool->done);
        (void)pthread_mutex_destroy(&pool->lock);
        (void)pthread_mutex_destroy(&pool->busy);
    }
    free(pool);
}

static void for_each(void *ctx, int64_t n_items, vlorp_task *task, void *arg)
{
    vlorp_pool *pool = ctx;
    /* In a forked child the mutexes may be held by threads that are not there. */
    if (n_items < 2 || pool->n_workers == 0 || pool->owner != getpid() || pthread_mutex_trylock(&pool->busy) != 0) {
        for (int64_t i = 0; i < n_items; i++) {
            task(arg, i, 0);
        }
        return;
    }
    (void)pthread_mutex_lock(&pool->lock);
    pool->task = task;
    pool->arg = arg;
    pool->n_items = n_items;
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    pool->loop++;
    pool->open = true;
    (void)pthread_cond_broadcast(&pool->work);
    (void)pthread_mutex_unlock(&pool->lock);
    run_items(pool, 0);
    (void)pthread_mutex_lock(&pool->lock);
    pool->open = false;
    while (pool->n_working > 0) {
        (void)pthread_cond_wait(&pool->done, &pool->lock);
    }
    (void)pthread_mutex_unlock(&pool->lock);
    (void)pthread_mutex_unlock(&pool->busy);
}

vlorp_exec vlorp_pool_exec(vlorp_pool *pool)
{
    return (vlorp_exec){.for_each = for_each, .ctx = pool, .n_threads = pool->n_workers + 1};
}

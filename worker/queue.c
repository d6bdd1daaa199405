#include "worker/queue.h"

#include <stdlib.h>
#include <string.h>

enum {
    SMALL_BYTES = 320, /* a whole claim of such records is read in one go or two */
    LARGE_COUNT_MAX = 64,
    LARGE_COUNT_MIN = 32, /* below, the cost of a command would show */
    LARGE_CLAIM_BYTES = 64 * 1024,
};

int queue_new(struct worker *w, const struct config_queue *cfg, const char *prefix,
              struct queue **ret, struct err *err)
{
    struct queue *q = xcalloc(1, sizeof *q);
    int rc = store_queue_init(&q->keys, prefix, cfg->name, cfg->key, err);
    if (rc < 0) {
        err_prefix(err, "queue \"%s\"", cfg->name);
        free(q);
        return rc;
    }
    q->worker = w;
    q->weight = cfg->weight;
    q->delivery = cfg->delivery;
    q->dead_max = cfg->dead_max;
    q->dead_age_ms = cfg->dead_age_ms;
    q->maybe = true;
    q->pop_step = 1;
    q->parked_page = q->outbox_page = q->oldest_page = QUEUE_PAGE_FIRST;
    *ret = q;
    return 0;
}

void queue_free(struct queue *q)
{
    if (q == NULL)
        return;
    store_queue_done(&q->keys);
    free(q);
}

bool queue_open(const struct queue *q, int64_t now_mono_ms)
{
    return !q->retired && now_mono_ms >= q->blocked_until_mono_ms;
}

static bool worth_a_claim(const struct queue *q, int64_t now_mono_ms)
{
    return q->maybe && q->delivery == DELIVERY_AT_LEAST_ONCE && queue_open(q, now_mono_ms);
}

struct queue *queue_pick(struct queue *const *queues, int count, int64_t now_mono_ms)
{
    struct queue *best = NULL;
    for (int i = 0; i < count; i++) {
        struct queue *q = queues[i];
        if (!worth_a_claim(q, now_mono_ms))
            continue;
        if (q->weight == 0)
            return q;
        if (best == NULL || q->credit + q->weight > best->credit + best->weight)
            best = q;
    }
    return best;
}

void queue_picked(struct queue *const *queues, int count, struct queue *picked, int64_t now_mono_ms)
{
    for (int i = 0; i < count; i++) {
        struct queue *q = queues[i];
        if (picked->weight == 0 || !worth_a_claim(q, now_mono_ms))
            continue;
        q->credit += q->weight;
        picked->credit -= q->weight;
    }
}

int64_t estimate_us(int64_t old_us, int64_t us)
{
    if (us < 1)
        us = 1;
    if (old_us == 0 || us > old_us)
        return us;
    return old_us - (old_us - us + 7) / 8;
}

int queue_claim_count(int room, size_t record_bytes)
{
    int most = STORE_CLAIM_MAX;
    if (record_bytes > SMALL_BYTES) {
        most = (int)(LARGE_CLAIM_BYTES / record_bytes);
        most = most < LARGE_COUNT_MIN   ? LARGE_COUNT_MIN
               : most > LARGE_COUNT_MAX ? LARGE_COUNT_MAX
                                        : most;
    }
    return room < most ? room : most;
}

int queue_page_next(int asked, size_t bytes, int most)
{
    size_t each = bytes / (size_t)asked + 1;
    size_t fit = QUEUE_PAGE_BYTES / each;
    int next = fit < (size_t)asked * 2 ? (int)fit : asked * 2;
    return next < 1 ? 1 : next > most ? most : next;
}

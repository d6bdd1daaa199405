/* queue.h - a queue as the running worker sees it: its keys, its settings, what is known of it, and
 * the choice of which queue to claim from next.
 */
#ifndef BL_WORKER_QUEUE_H
#define BL_WORKER_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/config.h"
#include "common/store.h"

struct worker;
struct waiter;

enum { QUEUE_PAGE_FIRST = 2, QUEUE_PAGE_BYTES = 256 * 1024 };

struct queue {
    struct worker *worker;
    struct store_queue keys;
    uint32_t index; /* in the slots page's queue table */
    int weight; /* 0 = strict */
    enum delivery delivery;
    int64_t dead_max, dead_age_ms;
    bool retired; /* left the configuration: claimed from no more */
    bool maybe; /* may hold records: worth a claim */
    int64_t left; /* a guess at how many: what Redis said last, less what was asked for since */
    int64_t blocked_until_mono_ms; /* paused, or a key of the wrong type */
    int64_t probe_mono_ms; /* LLEN was last asked */
    int credit; /* smooth weighted round robin */
    int64_t job_us; /* what a job of this queue lasts, estimated; 0 = unknown */
    size_t record_bytes; /* of one record, on average in the last claim; 0 = unknown */
    struct waiter *waiter; /* its waiting connection; NULL = none */
    bool hand_doubtful; /* something may lie in our hand that is not wanted or not known of */
    bool hand_letting; /* it is being let go */
    bool hand_refused; /* that is refused here: no wait */
    bool hand_named; /* others find it */
    int hand_holds; /* brought by waits and not in `run` yet */
    int64_t due_mono_ms[2]; /* when to look at :scheduled and :retry next */
    bool due_under_way[2];
    int64_t due_next_in_ms[2]; /* as last answered: -1 = empty, -2 = not known yet */
    int64_t parked_cursor; /* next page of the parked */
    int64_t parked_mono_ms; /* when to look there next */
    bool parked_under_way;
    int pop_step; /* at-most-once: records to ask for, doubling from 1 */
    size_t pop_bytes; /* and the largest seen of late; 0 = none yet */
    int64_t pause_mono_ms; /* when it was last asked whether it is paused */
    int parked_page, outbox_page,
        oldest_page; /* records asked for at once: see queue_page_next() */
    int64_t trim_mono_ms;
    int64_t outbox_mono_ms; /* when to look into :outbox next */
    int outbox_under_way; /* commands about it not answered */
    bool outbox_dirty; /* something was left there that no page has shown yet */
    int64_t done, failed, retried, dead, parked, lost; /* since the start */
};

/* New queue from its configuration; index in the slots page is given by the caller. */
MUST_CHECK int queue_new(struct worker *w, const struct config_queue *cfg, const char *prefix,
                         struct queue **ret, struct err *err);
void queue_free(struct queue *q);

/* Can a claim be sent for it now? */
bool queue_open(const struct queue *q, int64_t now_mono_ms);

/* Which of `queues` to claim from next: the first open one with `maybe` in strict order; among
 * weighted ones by smooth weighted round robin.  NULL = none.  Changes nothing: only a claim that
 * was sent counts as a queue's turn. */
struct queue *queue_pick(struct queue *const *queues, int count, int64_t now_mono_ms);
/* It was the turn of `picked`, which queue_pick() named for the same arguments. */
void queue_picked(struct queue *const *queues, int count, struct queue *picked,
                  int64_t now_mono_ms);

/* How many records to ask for after a page of `asked` that held `bytes`: twice as many, at most `most`,
 * while they are small; fewer when they are large, so that a page stays near QUEUE_PAGE_BYTES. */
int queue_page_next(int asked, size_t bytes, int most);

/* How many of the `room` there is to claim at once, where a record has about `record_bytes` (0 =
 * unknown).  256 records of 100 bytes are one piece; 256 of 1 KB are more than a socket holds, so that
 * Redis would wait for us to read before it goes on, and we for it: several claims of 64 or less do
 * a fifth to a half more a second (docs/performance.md). */
int queue_claim_count(int room, size_t record_bytes);

/* A job of it took `us`: the estimate jumps up at once and comes down slowly, so that nothing is
 * claimed behind a slow job on the strength of an old average. */
int64_t estimate_us(int64_t old_us, int64_t us);

#endif

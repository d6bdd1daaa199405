/* claim.h - takes records out of Redis: how many, from which queue, and what their answer means.
 *
 * The worker claims no more than it expects to begin within CLAIM_AHEAD_MS; of a queue whose jobs
 * it does not know, one per idle runner.
 *
 * A claim that is expected to bring all it asks for is the last of a turn, and at most two lots of jobs
 * (CLAIM_LOT) are under way like that: Redis carries out one while the other is taken in.  What is sent
 * together is answered together, and then each of the two processes waits while the other works through
 * the whole lump.  Where Redis is far away it takes more to keep it busy.
 */
#ifndef BL_WORKER_CLAIM_H
#define BL_WORKER_CLAIM_H

#include <stdbool.h>
#include <stdint.h>

#include "common/config.h"
#include "common/store.h"

struct worker;
struct queue;
struct request;
struct redisReply;

enum {
    CLAIM_AHEAD_MS = 100,
    CLAIM_UNDER_WAY_MAX = 4, /* claims sent and not answered */
    CLAIM_LOT = STORE_CLAIM_MAX, /* jobs claimed at once at most; fewer large ones count as much */
    CLAIM_LOTS_UNDER_WAY = 2, /* of jobs that will come, ... */
    CLAIM_FAR_MS = 2, /* ... without what is under way so long */
    CLAIM_HELD_BYTES_MAX = 64 * 1024 * 1024, /* records held; above it nothing is claimed */
};

/* Sends the claims that are worth it now. */
void claim_run(struct worker *w);
/* Under load nobody waits on queues found empty: asks those of this delivery for their length now and
 * then, so that a push to one of higher rank is not overlooked. */
void claim_probe(struct worker *w, enum delivery delivery, int64_t now_mono_ms);
/* How many more jobs of `q` could begin within CLAIM_AHEAD_MS, beyond what is held already. */
int claim_room(const struct worker *w, const struct queue *q);

/* How much of a lot a claim of `count` will bring, CLAIM_LOT = a whole one; 0 = less than it asks for, or
 * nobody knows. */
int claim_share(const struct queue *q, int count);
/* May one of that share go out beside those `under_way`? */
bool claim_fits(const struct request *under_way, int share, int64_t now_mono_ms);

/* Reserves `count` tokens for a claim about to be written. */
struct request *request_open(struct worker *w, struct queue *q, int count);
void request_close(struct request *r);
/* Is `seq` of a claim that is written and not answered? */
bool request_covers(const struct worker *w, uint64_t seq);

#endif

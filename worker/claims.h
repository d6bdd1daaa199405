/* claims.h - the jobs this worker holds: one `struct claim` per token, from the answer of the claim
 * until the answer of its settlement.
 *
 *   READY     in hand, waiting for a runner          list: dispatch's ready list
 *   SENT      in a runner's slot, queued or begun    list: that runner's jobs, in the order sent
 *   SETTLING  its end is decided; waits for Redis    list: settle's (to send, under way), or none while
 *                                                    its hold is not answered (hand.h)
 *
 * A claim is in one list at most.  Found by sequence number in a hash table.
 */
#ifndef BL_WORKER_CLAIMS_H
#define BL_WORKER_CLAIMS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/document.h"
#include "common/record.h"
#include "worker/decide.h"

struct queue;
struct handler;

enum { CLAIM_SMALL_BYTES = 256 };

enum claim_state { CLAIM_READY = 0, CLAIM_SENT, CLAIM_SETTLING };

/* What a wait brought lies in our hand until a hold was answered (hand.h); it is settled only then. */
enum claim_hold { HOLD_NONE = 0, HOLD_NEEDED, HOLD_SENT };

struct claim_list {
    struct claim *first, *last;
    int count;
};

struct claim {
    uint64_t seq;
    enum claim_state state;
    struct queue *queue;
    struct handler *handler; /* borrowed from the catalog, which keeps them for life */
    char *bytes; /* the record as claimed: `small`, or allocated */
    size_t len;
    bool parsed;
    struct buf storage; /* spans of rec that we made */
    struct claim_list *list;
    struct claim *prev, *next; /* in list */
    struct claim *chain; /* in the hash table */
    int block, slot; /* slots page; -1 = in no slot */
    int64_t claimed_mono_ms;
    int64_t begun_mono_ms; /* as far as the worker has seen; 0 = not seen */
    uint64_t answered_round; /* reconcile round in which its claim was answered */
    uint64_t seen_round; /* last reconcile round that saw its token */
    bool lost; /* its token is not ours any more: drop what comes of it */
    bool timed_out; /* the soft signal was sent for its timeout */
    bool killed; /* and SIGKILL */
    bool reported; /* its end was, but its slot was overwritten since */
    bool once; /* at-most-once: no token in Redis */
    enum claim_hold hold;
    struct buf result; /* from RESULT frames */
    struct buf message; /* from MESSAGE frames: the failure's full text */
    struct buf stderr_tail; /* likewise: the last a program wrote to stderr */
    struct decision decision; /* with SETTLING */
    const char *outcome; /* with SETTLING: not NULL = somebody waits for this end (finish.h) */
    bool relays; /* its settlement leaves something in the outbox */
    bool crashed; /* it ended with its runner */
    bool sent; /* its settlement was sent at least once */
    struct buf record; /* with SETTLING: what is to be stored; empty = as it is */
    /* A new claim's members are zero up to here; those below are set by whoever parses the bytes. */
    struct record rec; /* spans into bytes or storage */
    struct document doc; /* spans into bytes; unset unless `parsed` */
    char small[CLAIM_SMALL_BYTES]; /* most records fit: no allocation for them */
};

struct claims {
    struct claim **table; /* capacity is a power of two */
    uint32_t capacity;
    int count;
    struct claim *spare; /* freed ones, linked by chain */
    int spare_count;
};

void claims_init(struct claims *c);
void claims_done(struct claims *c); /* frees what is left, whatever list it is in */

/* A new claim holding a copy of `bytes`, in no list; rec and doc unset. */
struct claim *claims_add(struct claims *c, uint64_t seq, struct queue *q, struct span bytes);
struct claim *claims_find(const struct claims *c, uint64_t seq);
/* Takes it out of its list and frees it. */
void claims_remove(struct claims *c, struct claim *claim);
/* Calls fn for each; fn may remove the claim it is given, and no other. */
void claims_each(struct claims *c, void (*fn)(void *arg, struct claim *claim), void *arg);

void claim_list_append(struct claim_list *l, struct claim *c); /* out of its old list */
void claim_list_prepend(struct claim_list *l, struct claim *c);
void claim_list_remove(struct claim *c); /* fine if it is in none */
struct claim *claim_list_pop(struct claim_list *l); /* NULL when empty */

#endif

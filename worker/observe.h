/* observe.h - who is dead, without clocks.  Pure: looks at the others' beat counters go in, the
 * incarnations whose counter stood still long enough come out.
 *
 * Only healthy observation counts: each look answered within 0.5 s, on an unbroken connection to
 * the same server, our own beats succeeding.  Any gap starts all windows anew, so a hung,
 * restarted, failed-over or full Redis, a clock step or a suspended machine never make anybody
 * look dead.  An incarnation that the workers' hash does not list, but whose tokens lie in a `run`,
 * is watched too: it is dead when it stays absent as long.
 */
#ifndef BL_WORKER_OBSERVE_H
#define BL_WORKER_OBSERVE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/store.h"

enum {
    OBSERVE_ABSENT = -1, /* counter of one that is not listed */
    OBSERVE_LOOK_MAX_MS = 500, /* a look answered later than this is a gap */
    OBSERVE_STEP_MAX_MS = 3000, /* and so is a longer pause between two looks */
    OBSERVE_PEERS_MAX = 4096,
};

struct observe_peer {
    struct incarnation inc;
    int64_t counter; /* OBSERVE_ABSENT or what it was */
    int64_t still_ms; /* healthy observation since it last changed */
    bool seen; /* in the look being taken */
    enum store_owner named; /* as the owner of a hand: OWNER_WAITS, OWNER_DIED; else OWNER_SILENT */
};

struct observe {
    struct observe_peer *peers;
    int count;
    int64_t last_mono_ms; /* of the last healthy look; 0 = windows begin at the next */
};

void observe_init(struct observe *o);
void observe_done(struct observe *o);
/* Something was not healthy: all windows start anew. */
void observe_gap(struct observe *o);
/* Tokens of `inc` were found (OWNER_SILENT), or its name among the owners of hands (OWNER_WAITS,
 * OWNER_DIED): watch it, if the last look did not list it.  From when it is first found named so its
 * silence counts anew: it may have died only then. */
void observe_unlisted(struct observe *o, const struct incarnation *inc, enum store_owner named);

/* One look: observe_begin(), observe_see() for each listed worker but ourselves, observe_end(). */
void observe_begin(struct observe *o);
void observe_see(struct observe *o, const struct incarnation *inc, int64_t counter);
void observe_end(struct observe *o, int64_t now_mono_ms);

/* The next peer from `*index` on that is dead after `dead_after_ms`; NULL = no more.  The pointer
 * is borrowed until the next call that changes `o`. */
const struct observe_peer *observe_dead(const struct observe *o, int *index, int64_t dead_after_ms);
void observe_forget(struct observe *o, const struct incarnation *inc);

#endif

/* janitor.h - what grows old: dead letters above their caps, parked jobs whose handler never came,
 * runners that have grown too large.
 *
 * Nothing is removed silently: each removal is counted and logged.
 */
#ifndef BL_WORKER_JANITOR_H
#define BL_WORKER_JANITOR_H

#include <stdbool.h>
#include <stdint.h>

#include "common/mem.h"

struct worker;
struct queue;

enum { JANITOR_LOOK_MS = 30000, JANITOR_RSS_MS = 5000 };

/* Does what is due; returns when to look again, mono ms. */
int64_t janitor_run(struct worker *w, int64_t now_mono_ms);

/* A parked record was read: if it waited longer than park_for for a handler, it becomes a dead
 * letter, and true is returned.  `index`: where it was seen in the list. */
bool janitor_parked_too_long(struct worker *w, struct queue *q, struct span record, int64_t index);

#endif

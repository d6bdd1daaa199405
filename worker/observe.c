#include "worker/observe.h"

#include <stdlib.h>
#include <string.h>

/* still_ms of a peer whose counter moved in the look being taken: its window begins with it. */
enum { CHANGED = -1 };

void observe_init(struct observe *o)
{
    *o = (struct observe){0};
}

void observe_done(struct observe *o)
{
    free(o->peers);
    observe_init(o);
}

void observe_gap(struct observe *o)
{
    for (int i = 0; i < o->count; i++)
        o->peers[i].still_ms = 0;
    o->last_mono_ms = 0;
}

static struct observe_peer *find(struct observe *o, const struct incarnation *inc)
{
    for (int i = 0; i < o->count; i++)
        if (incarnation_equal(&o->peers[i].inc, inc))
            return &o->peers[i];
    return NULL;
}

static struct observe_peer *add(struct observe *o, const struct incarnation *inc, int64_t counter)
{
    if (o->count == OBSERVE_PEERS_MAX)
        return NULL; /* the rest waits until these are dealt with */
    o->peers = xreallocarray(o->peers, (size_t)o->count + 1, sizeof *o->peers);
    struct observe_peer *p = &o->peers[o->count++];
    *p = (struct observe_peer){.inc = *inc, .counter = counter, .still_ms = CHANGED};
    return p;
}

void observe_unlisted(struct observe *o, const struct incarnation *inc, enum store_owner named)
{
    struct observe_peer *p = find(o, inc);
    if (p == NULL)
        p = add(o, inc, OBSERVE_ABSENT);
    if (p == NULL || named <= p->named)
        return;
    p->named = named;
    if (p->counter == OBSERVE_ABSENT)
        p->still_ms = CHANGED;
}

void observe_begin(struct observe *o)
{
    for (int i = 0; i < o->count; i++)
        o->peers[i].seen = false;
}

void observe_see(struct observe *o, const struct incarnation *inc, int64_t counter)
{
    struct observe_peer *p = find(o, inc);
    if (p == NULL)
        p = add(o, inc, counter);
    if (p == NULL)
        return;
    p->seen = true;
    if (p->counter != counter) {
        p->counter = counter;
        p->still_ms = CHANGED;
    }
}

void observe_end(struct observe *o, int64_t now_mono_ms)
{
    int64_t step_ms = o->last_mono_ms == 0 ? 0 : now_mono_ms - o->last_mono_ms;
    if (step_ms > OBSERVE_STEP_MAX_MS) {
        observe_gap(o);
        step_ms = 0;
    }
    o->last_mono_ms = now_mono_ms;
    int kept = 0;
    for (int i = 0; i < o->count; i++) {
        struct observe_peer *p = &o->peers[i];
        if (!p->seen && p->counter != OBSERVE_ABSENT)
            continue; /* it left; should it have left tokens behind, an audit finds them */
        p->still_ms = p->still_ms == CHANGED ? 0 : p->still_ms + step_ms;
        o->peers[kept++] = *p;
    }
    o->count = kept;
}

const struct observe_peer *observe_dead(const struct observe *o, int *index, int64_t dead_after_ms)
{
    while (*index < o->count) {
        const struct observe_peer *p = &o->peers[(*index)++];
        if (p->still_ms >= dead_after_ms)
            return p;
    }
    return NULL;
}

void observe_forget(struct observe *o, const struct incarnation *inc)
{
    struct observe_peer *p = find(o, inc);
    if (p != NULL)
        *p = o->peers[--o->count];
}

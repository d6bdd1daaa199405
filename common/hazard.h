/* hazard.h - what makes a Redis server unsafe for jobs, in sentences.  Pure: facts in, texts out.
 *
 * Used by `worker --check`, which prints them, and by the worker, which logs them once at its start.
 * A fact that could not be read (CONFIG is often denied) is left out, and said to be unknown where no
 * other tells.
 */
#ifndef BL_COMMON_HAZARD_H
#define BL_COMMON_HAZARD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/store.h"

enum hazard_grade {
    HAZARD_NOTE = 0, /* worth knowing: a loss that was chosen, a fact that is not known */
    HAZARD_WARN, /* jobs may be lost or late */
    HAZARD_STOP, /* no worker can work with it */
};

enum { HAZARD_MAX = 12, HAZARD_TEXT_BYTES = 200 };

struct hazard {
    enum hazard_grade grade;
    char text[HAZARD_TEXT_BYTES];
};

struct hazard_facts {
    const struct store_info *info;
    bool has_appendfsync, has_save; /* CONFIG told them */
    char appendfsync[16];
    char save[256]; /* save points; "" = none */
    int64_t round_trip_us; /* -1 = not measured */
    bool has_skew;
    int64_t skew_ms; /* our clock less Redis' */
};
#define HAZARD_FACTS_INIT                                                                          \
    {                                                                                              \
        .round_trip_us = -1                                                                        \
    }

/* Our clock less Redis', from its TIME and the moments before and after the question. */
int64_t hazard_skew_ms(int64_t asked_wall_ms, int64_t answered_wall_ms, int64_t redis_wall_ms);

/* Fills in `ret` (HAZARD_MAX of them), the gravest first; returns how many. */
int hazard_list(const struct hazard_facts *facts, struct hazard *ret);

#endif

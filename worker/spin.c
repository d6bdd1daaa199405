#include "worker/spin.h"

bool spin_wanted(struct spin *s, int64_t now_mono_us)
{
    if (s->returned >= SPIN_JOBS) {
        s->returned = 0;
        s->until_us = now_mono_us + SPIN_US;
    } else if (now_mono_us >= s->until_us) {
        s->returned = 0; /* what came slowly does not add up */
    }
    return now_mono_us < s->until_us;
}

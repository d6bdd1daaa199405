#include "worker/settled.h"

#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

static void set_bit(uint64_t *words, uint64_t seq, bool on)
{
    uint64_t at = seq % SETTLED_BITS;
    if (on)
        words[at / 64] |= UINT64_C(1) << (at % 64);
    else
        words[at / 64] &= ~(UINT64_C(1) << (at % 64));
}

void settled_add(struct settled *s, uint64_t seq)
{
    if (s->words == NULL)
        s->words = xcalloc(SETTLED_BITS / 64, sizeof *s->words);
    if (seq >= s->top) {
        if (seq - s->top >= SETTLED_BITS)
            memset(s->words, 0, SETTLED_BITS / 8);
        else
            for (uint64_t i = s->top; i < seq; i++)
                set_bit(s->words, i, false);
        s->top = seq + 1;
    } else if (s->top - seq > SETTLED_BITS) {
        return; /* older than the window */
    }
    set_bit(s->words, seq, true);
}

bool settled_has(const struct settled *s, uint64_t seq)
{
    if (s->words == NULL || seq >= s->top || s->top - seq > SETTLED_BITS)
        return false;
    uint64_t at = seq % SETTLED_BITS;
    return (s->words[at / 64] >> (at % 64) & 1) != 0;
}

void settled_done(struct settled *s)
{
    free(s->words);
    *s = (struct settled){0};
}

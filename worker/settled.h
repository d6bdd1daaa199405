/* settled.h - which of the last 4 million sequence numbers were settled: a bitmap that slides.
 *
 * When Redis goes back in time, tokens we settled reappear in `run`.  Those found here are
 * acknowledged again instead of run again.  Pure.
 */
#ifndef BL_WORKER_SETTLED_H
#define BL_WORKER_SETTLED_H

#include <stdbool.h>
#include <stdint.h>

enum { SETTLED_BITS = 1 << 22 };

struct settled {
    uint64_t *words; /* allocated at the first use */
    uint64_t top; /* one above the highest sequence number the window covers */
};

void settled_add(struct settled *s, uint64_t seq);
bool settled_has(const struct settled *s, uint64_t seq);
void settled_done(struct settled *s);

#endif

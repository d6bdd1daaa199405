/* dispatch.h - which runner gets which job, how many ahead, and when they are taken back.
 *
 * An idle runner comes first, and gets about a millisecond of expected work before the next is looked
 * at.  Short jobs (estimated from what their type took before) are sent several ahead, as many as
 * should begin within DISPATCH_AHEAD_MS; what a runner has not begun stays revocable.  A record that
 * was lost with a worker or crashed a runner runs alone.
 */
#ifndef BL_WORKER_DISPATCH_H
#define BL_WORKER_DISPATCH_H

#include <stdint.h>

#include "common/buf.h"
#include "common/slots.h"
#include "worker/decide.h"

struct worker;
struct claim;
struct runner;

enum {
    DISPATCH_AHEAD_MS = 50, /* jobs sent ahead should begin within this */
    DISPATCH_CHECK_MS = 25, /* while jobs wait in runners: look for one stuck behind a slow job */
    DISPATCH_HOLD_MS = 1000, /* a job in hand that could not begin is given back after this */
    DISPATCH_RESULT_BYTES_MAX = 64 * 1024 * 1024, /* results held; above it nothing more begins */
};

int dispatch_idle_runners(const struct worker *w);
/* Sends ready claims to runners.  true = one of them was called to our core (rest.h), where it begins as
 * soon as we sleep. */
bool dispatch_run(struct worker *w);
/* The job ended as `outcome` says in its slot: settles it and learns from its duration. */
void dispatch_returned(struct worker *w, struct runner *r, struct claim *c);
/* Fills in what a RETURNED slot tells of the end; `message` (full text, may be empty) goes before
 * the slot's own.  The failure's message is borrowed from `message` or `text`. */
void dispatch_read_slot(const struct slot *s, const struct buf *message, struct ending *e,
                        char text[SLOT_MESSAGE_BYTES]);
/* Reads result and full texts of a job that had returned from the file beside the journal. */
void dispatch_read_out(const char *state_dir, const struct incarnation *inc, int block, int slot,
                       struct claim *c);
/* Back to the right end of its queue, unblamed. */
void dispatch_give_back(struct worker *w, struct claim *c);
/* Gives back the ready ones claimed before that time (INT64_MAX = all), in the order they had in their
 * lists. */
void dispatch_give_back_ready(struct worker *w, int64_t claimed_before_mono_ms);
/* Makes ready again what runners have not begun. */
void dispatch_take_back_all(struct worker *w);
/* Takes jobs back that wait behind a slow one, sweeps finished ones, gives back what is held too
 * long.  Returns when to look again, mono ms (INT64_MAX = when something happens). */
int64_t dispatch_check(struct worker *w, int64_t now_mono_ms);

#endif

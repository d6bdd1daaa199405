/* signals.h - what each signal does.  One table; handlers run as events of the loop. */
#ifndef BL_WORKER_SIGNALS_H
#define BL_WORKER_SIGNALS_H

struct worker;

/* First of all, for a worker that is going to run: until signals_start() what arrives is kept for
 * it.  A reload or a stop asked of one that still loads its plugins must not simply end it. */
void signals_hold(void);
void signals_start(struct worker *w);
/* From here on they are blocked, so that an impatient TERM does not spoil the exit status. */
void signals_stop(struct worker *w);

#endif

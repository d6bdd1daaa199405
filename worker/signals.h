/* signals.h - what each signal does.  One table; handlers run as events of the loop. */
#ifndef BL_WORKER_SIGNALS_H
#define BL_WORKER_SIGNALS_H

struct worker;

void signals_start(struct worker *w);
/* From here on they are blocked, so that an impatient TERM does not spoil the exit status. */
void signals_stop(struct worker *w);

#endif

/* reload.h - HUP: reads worker.yaml again, and if it is right, starts a new generation of runners
 * under it.  A wrong file is refused with its errors and the old configuration stays.
 */
#ifndef BL_WORKER_RELOAD_H
#define BL_WORKER_RELOAD_H

struct worker;

void reload_start(struct worker *w);
/* Gives up a reload under way (the worker stops). */
void reload_stop(struct worker *w);

#endif

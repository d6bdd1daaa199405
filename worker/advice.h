/* advice.h - says once, when the worker is first connected, what makes this Redis unsafe for jobs. */
#ifndef BL_WORKER_ADVICE_H
#define BL_WORKER_ADVICE_H

struct store_info;
struct worker;

/* Asks for what INFO does not tell (CONFIG GET, TIME; refusals are fine) and logs when all is
 * answered.  `info` is copied. */
void advice_start(struct worker *w, const struct store_info *info);

#endif

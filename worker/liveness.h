/* liveness.h - beats, looks at the others, and the stamps on the shared page.
 *
 * One beat at a time, every beat_ms, on the main connection; a look at all counters every second.
 * What a beat's answer means (PROTOCOL, "Who is alive"): last+1 .. last+sent is fine; more = a clone
 * of ours beats too; less on the same server = others declared us dead; less on another = Redis went
 * back in time.  No claim or wait is sent before the first good beat on a connection.
 */
#ifndef BL_WORKER_LIVENESS_H
#define BL_WORKER_LIVENESS_H

#include <stdbool.h>
#include <stdint.h>

struct worker;

enum beat_verdict { BEAT_GOOD = 0, BEAT_CLONE, BEAT_BEHIND };
/* Pure: `last` -1 = none answered yet; `same_server` = it was answered by the server that answers
 * now.  Another server may have gone back to before others dropped us: a higher counter there proves
 * nothing. */
enum beat_verdict beat_judge(int64_t last, int64_t sent, int64_t counter, bool same_server);

void liveness_init(struct worker *w);
void liveness_connected(struct worker *w);
void liveness_disconnected(struct worker *w);
/* Tells guard and runners that the loop is alive.  If the last stamp is old, we were frozen: nothing
 * goes out, and no job begins, before a beat and a reconcile.  Before each turn, and by a timer. */
void liveness_stamp(struct worker *w);
/* Were we frozen or unheard for so long that what we hold may be another's?  Then no job is handed to
 * a runner.  It ends with a good beat and the reconcile that follows. */
bool liveness_doubtful(const struct worker *w);
/* The reconcile is over: what we hold is ours. */
void liveness_synced(struct worker *w);
void liveness_stop(struct worker *w); /* stops and closes its timers */

#endif

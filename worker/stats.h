/* stats.h - what the worker tells of itself: its entry for `jobctl workers`, the USR1 dump, and
 * systemd's notifications.
 */
#ifndef BL_WORKER_STATS_H
#define BL_WORKER_STATS_H

struct worker;
struct redisReply;

/* Writes our entry under bucketline:workers:info. */
void stats_publish(struct worker *w);
/* Logs a status dump. */
void stats_dump(struct worker *w);
/* Tells systemd that we are alive (after a good beat). */
void stats_notify(struct worker *w);
/* A reply nobody waits for: what it would have done is done again by the next one. */
void stats_ignore(void *arg, const struct redisReply *reply);

#endif

/* link.h - the main connection: claims, settlements and beats go over it, and what it says of the
 * server decides whether anything may be claimed.
 */
#ifndef BL_WORKER_LINK_H
#define BL_WORKER_LINK_H

#include "common/redis_link.h"

struct worker;

/* Settings of a connection with this role ("main", "wait", "once"), named bucketline:<role>. */
struct redis_link_config link_config(const struct worker *w, const char *role);
/* Makes and starts the main connection. */
void link_start(struct worker *w);

#endif

/* store_find.h - which queues are there, when nobody says so: the keys a search asks Redis for, and
 * which queue a found key belongs to.  Part of store: no I/O.
 *
 * A queue that has jobs anywhere has at least one key: its list, or a companion {list}:run, ... .
 */
#ifndef BL_COMMON_STORE_FIND_H
#define BL_COMMON_STORE_FIND_H

#include <stdbool.h>

#include "common/buf.h"
#include "common/mem.h"
#include "common/store.h"

enum store_find { FIND_LISTS = 0, FIND_COMPANIONS, STORE_FIND_COUNT };

enum { STORE_FIND_PAGE = 1000 }; /* keys Redis looks at per page */

/* One page of the search for `what` below `prefix`; "0" starts and ends.  Read with
 * store_read_scan(). */
void store_cmd_find(struct buf *out, enum store_find what, const char *prefix, struct span cursor);

/* The queue's list (borrowed from `key`) that a found key stands for; false if it is none of ours.
 * `*ret_name` is what the queue is called: without prefix and "queue:", or without the prefix if
 * the list is called otherwise. */
bool store_found_list(enum store_find what, const char *prefix, struct span key,
                      struct span *ret_list, struct span *ret_name);

#endif

/* link_bench.h - a loop, one redis_link on it, and counters of everything it tells.
 *
 * For tests of the transport: run until something counted is so.  A hang ends the process by
 * alarm(); nothing else here looks at the time.
 */
#ifndef BL_TESTS_LIB_LINK_BENCH_H
#define BL_TESTS_LIB_LINK_BENCH_H

#include <stdbool.h>
#include <uv.h>

#include "common/buf.h"
#include "common/redis_link.h"

struct link_bench {
    uv_loop_t loop;
    struct redis_link *link; /* NULL once its memory is gone */
    struct redis_link_config config;
    struct buf command;
    int turns; /* of the loop */
    int readies, downs, closed;
    bool was_ready; /* of the last on_down */
    struct err down; /* of the last on_down */
    int replies, nulls, errors; /* of link_bench_count(); errors are replies too */
    int pending_at_down; /* commands without an answer when on_down came: must be 0 */
    char text[256]; /* of the last string, status or error reply */
    long long integer; /* the last integer reply */
    bool close_on_ready, close_on_down, reset_on_ready, close_on_reply, reset_on_reply;
    uv_check_t check;
};

/* Fills `b->config` for `url` (reconnecting, verifying, no timeouts of replies); change it, then
 * link_bench_start(). */
void link_bench_init(struct link_bench *b, struct redis_url url);
void link_bench_start(struct link_bench *b);
/* Closes what is open, runs the loop dry and asserts that nothing is left on it. */
void link_bench_done(struct link_bench *b);

/* Runs the loop until `cond` (an expression) holds. */
#define link_bench_until(b, cond)                                                                  \
    do {                                                                                           \
        while (!(cond))                                                                            \
            uv_run(&(b)->loop, UV_RUN_ONCE);                                                       \
    } while (0)

/* Encodes into b->command; the words end with NULL. */
struct span link_bench_words(struct link_bench *b, const char *first, ...);
/* Sends and counts what comes. */
void link_bench_send(struct link_bench *b, struct span command);
void link_bench_count(void *arg, const struct redisReply *reply);

#endif

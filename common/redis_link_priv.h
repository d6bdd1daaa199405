/* redis_link_priv.h - what redis_link.c, redis_handshake.c and redis_client.c share. */
#ifndef BL_COMMON_REDIS_LINK_PRIV_H
#define BL_COMMON_REDIS_LINK_PRIV_H

#include <hiredis/hiredis.h>
#include <uv.h>

#include "common/redis_link.h"
#include "common/redis_stream.h"

/* One command without an answer. */
struct link_slot {
    redis_reply_fn fn;
    void *arg;
    int64_t sent_mono_ms;
    int64_t extra_ms; /* it may block for so long */
};

/* A ring: no allocation per command. */
struct link_fifo {
    struct link_slot *slots;
    size_t cap; /* a power of two, or 0 */
    size_t head; /* counts up for ever; slot = head & (cap - 1) */
    size_t count;
};

/* The handshake's commands, in the order sent; scripts follow as SCRIPT + number. */
enum handshake_step {
    HANDSHAKE_AUTH = 0,
    HANDSHAKE_SELECT,
    HANDSHAKE_NAME,
    HANDSHAKE_ID,
    HANDSHAKE_INFO,
    HANDSHAKE_SCRIPT,
};

struct redis_link {
    uv_loop_t *loop;
    struct redis_link_config config;
    struct redis_link_events events;
    void *arg;

    enum link_state state;
    bool closing; /* redis_link_close() was called */
    bool timer_closed;
    int streams; /* the one in use and those that are still closing */
    void (*on_closed)(void *arg);
    void *on_closed_arg;

    struct redis_stream_config stream_config;
    struct redis_stream *stream; /* NULL between attempts */
    redisReader *reader; /* NULL between attempts */
    redisReply *reply; /* while its callback runs; NULL when taken */
    struct link_fifo fifo;

    uv_timer_t timer; /* next attempt, connect deadline or reply deadline, by state */
    int64_t timer_due_ms; /* uv_now() when it fires; 0 = stopped */
    bool second_look; /* the deadline passed: one more turn of the loop, then it is over */
    int64_t life_mono_ms; /* last sign of life: bytes came, or a long write went on */
    size_t stuck_before; /* bytes of a long write at the last look: does it go on? */
    int64_t ready_mono_ms; /* since when */
    unsigned failures; /* attempts in a row without a lasting success */

    enum handshake_step steps[8];
    int step_count, step_next, scripts_left;
    struct err handshake_err; /* the first of the handshake */
    struct store_info info;
    int64_t client_id;
};

/* Redis can be used: called by the handshake when its last answer was good. */
void link_handshake_done(struct redis_link *l);
/* Ends the present attempt or connection. */
void link_lost(struct redis_link *l, const struct err *why);
/* Queues without looking at the state. */
void link_enqueue(struct redis_link *l, struct span command, int64_t extra_ms, redis_reply_fn fn,
                  void *arg);

/* Sends the handshake.  Its end is link_handshake_done() or link_lost(). */
void link_handshake_begin(struct redis_link *l);

/* Inside a reply callback: the reply is the caller's now (redis_reply_free). */
redisReply *link_take_reply(struct redis_link *l);

#endif

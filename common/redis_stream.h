/* redis_stream.h - one attempt at a byte stream to Redis: resolve, connect (every address of a
 * name), TLS, then bytes both ways.  For redis_link.c alone.
 *
 * A stream serves one attempt and is then dropped: so nothing of a lost connection can reach the
 * next one.  It ends with redis_stream_close() in any state, inside its own callbacks too; it calls
 * nobody from then on but on_gone, from the loop, when its memory is free.
 *
 * What is sent during a turn of the loop goes out in one write at the turn's end; while a write is
 * under way more is collected for the next.
 */
#ifndef BL_COMMON_REDIS_STREAM_H
#define BL_COMMON_REDIS_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/redis_url.h"

struct redis_stream;
struct uv_loop_s;

/* Borrowed, with all it points at, until on_gone. */
struct redis_stream_config {
    const struct redis_url *url;
    const char *ca_file, *cert_file, *key_file;
    bool verify;
    int64_t connect_timeout_ms; /* shared out among the addresses; the caller has its own timer */
};

enum stream_stage { STREAM_RESOLVING = 0, STREAM_CONNECTING, STREAM_TLS, STREAM_UP };

struct redis_stream_events {
    void (*on_stage)(void *arg, enum stream_stage stage); /* STREAM_UP: bytes may be sent */
    void (*on_data)(void *arg, struct span bytes); /* borrowed during the call */
    /* Once at most, and the last call but on_gone.  The stream still has to be closed. */
    void (*on_failed)(void *arg, const struct err *why);
    void (*on_gone)(void *arg);
};

struct redis_stream *redis_stream_new(struct uv_loop_s *loop,
                                      const struct redis_stream_config *config,
                                      const struct redis_stream_events *events, void *arg);
/* Begins.  May call on_stage and on_failed before it returns. */
void redis_stream_start(struct redis_stream *s);
void redis_stream_close(struct redis_stream *s);

/* Append what is to be sent here, then call redis_stream_flush_later(). */
struct buf *redis_stream_out(struct redis_stream *s);
void redis_stream_flush_later(struct redis_stream *s);
/* Writes what the socket takes now. */
void redis_stream_flush(struct redis_stream *s);
bool redis_stream_flush_is_due(const struct redis_stream *s);
size_t redis_stream_unsent_bytes(const struct redis_stream *s);

#endif

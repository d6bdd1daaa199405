/* client.h - the barest client of Redis that is still fast: one unix socket, commands gathered in a
 * buffer and written together, replies skipped rather than built.  For the programs of the
 * benchmark alone: whatever goes wrong ends the program with a message.
 */
#ifndef BL_TESTS_BENCH_CLIENT_H
#define BL_TESTS_BENCH_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"

struct client {
    int fd;
    struct buf out; /* encoded, not written yet: append with store_cmd_*() */
    struct buf in;
    size_t pos; /* of the first byte of `in` that was not read yet */
    int64_t pending; /* elements of the array being read that are still to come */
    int64_t elements;
    int64_t head[2];
};

/* What of a reply matters here.  A nested array is not expected. */
struct answer {
    char type; /* '+', ':', '$', '*' */
    bool nil;
    int64_t number; /* of ':'; the length of '$' */
    int64_t elements; /* of '*' */
    int64_t head[2]; /* the first two elements of '*', where they are numbers */
    const char *bytes; /* of '$': borrowed until the next call */
};

/* Connects to a unix socket. */
void client_open(struct client *c, const char *path);
void client_close(struct client *c);

/* Writes all of `out`. */
void client_flush(struct client *c);
/* The next reply, if it has arrived whole; never blocks. */
bool client_arrived(struct client *c, struct answer *ret);
/* Waits for more bytes and reads them. */
void client_read(struct client *c);
/* Reads what has arrived, if anything has. */
void client_peek(struct client *c);
/* The next reply, waiting for it. */
struct answer client_await(struct client *c);

/* Sends a script's text and checks that Redis names it as the build does. */
void client_load_script(struct client *c, int script);

/* Says why and ends the program. */
_Noreturn void die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif

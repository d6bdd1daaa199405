/* options.h - every option of worker.yaml, once.
 *
 * One table says name, type, range, default and meaning; reading, printing, the shipped
 * worker.yaml, "did you mean" and what a reload may change all follow it.  To add an option: a
 * field in config.h and a row in options.c.
 *
 * Names are dotted paths.  Settings of each queue begin with "queues[].", those of each handler
 * with "handlers.*."; the others belong to the file as a whole.
 */
#ifndef BL_COMMON_OPTIONS_H
#define BL_COMMON_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/mem.h"

enum option_type {
    OPTION_BOOL = 0, /* bool */
    OPTION_INT, /* int */
    OPTION_COUNT, /* int64_t */
    OPTION_DURATION, /* int64_t, ms */
    OPTION_BYTES, /* int64_t */
    OPTION_FRACTION, /* double with at most six decimals */
    OPTION_ENUM, /* an enum that counts from 0, in the order of `choices` */
    OPTION_TEXT, /* char *, NULL = not set */
    OPTION_PATH, /* the same; a relative one is resolved by the loader */
    OPTION_LIST, /* char **, NULL-terminated, and an int count */
    OPTION_MAP, /* the same, of "NAME=value" */
    OPTION_QUEUES, /* the list of queues: rows of its own */
    OPTION_HANDLERS, /* the map of handlers: rows of its own */
};
const char *option_type_name(enum option_type type); /* "duration" */

/* Whose struct `offset` counts in. */
enum option_scope { OPTION_OF_CONFIG = 0, OPTION_OF_QUEUE, OPTION_OF_HANDLER };

enum option_flag {
    OPTION_RESTART = 1, /* a reload cannot change it */
    OPTION_EMPTY = 2, /* "" is a value */
    OPTION_NAME = 4, /* 1 to 200 bytes of [A-Za-z0-9._:/-] */
    OPTION_KEY = 8, /* part of a Redis key: no braces, no control characters */
    OPTION_SHOWN = 16, /* the shipped file sets it to `example` */
    OPTION_PROGRAM = 32, /* of a handler with `exec` only */
};

struct option {
    const char *name;
    enum option_type type;
    enum option_scope scope;
    size_t offset, count_offset; /* the latter of lists and maps */
    int64_t min, max; /* numbers: the range, in the field's unit; FRACTION: whole ones */
    const char *const *choices; /* ENUM: NULL-terminated */
    const char *fallback; /* the default as written in the file; NULL = not set: -1, NULL */
    const char *example; /* in the shipped file where there is no default */
    unsigned flags;
    const char *help; /* sentences */
};

/* The table, in the order of the shipped file; sections stand together. */
const struct option *options_all(size_t *ret_count);
/* NULL when there is none of that dotted name. */
const struct option *option_find(const char *name);
/* Is "name." the beginning of an option's name? */
bool option_is_section(const char *name);
/* What messages call it: without "queues[]." or "handlers.*.". */
const char *option_label(const struct option *o);
/* The part after the last dot. */
const char *option_leaf(const char *name);

/* The name most like `key` among what may stand after `prefix` ("", "redis.", "handlers.*."), or
 * the whole name of an option elsewhere whose last part is `key`; NULL when nothing is alike. */
const char *option_nearest(const char *prefix, const char *key, char *out, size_t size);
/* The choice most like `text`, or NULL. */
const char *option_nearest_choice(const struct option *o, const char *text);
/* Insertions, deletions, replacements and swaps of neighbours from `a` to `b`; ASCII case and '-'
 * for '_' are free.  Texts above 63 bytes: 64. */
int option_distance(const char *a, const char *b);

/* Values of `o` in the struct at `base` (of its scope).  No list types here but in release and
 * equal. */

/* Sets it from `text`; `plain` = written without quotes.  -ERR_TYPE, -ERR_RANGE, -ERR_UNKNOWN. */
MUST_CHECK int option_set(const struct option *o, const char *text, bool plain, void *base,
                          struct err *err);
/* Its default, in fresh memory; the old value is overwritten, not freed. */
void option_reset(const struct option *o, void *base);
/* Appends the value as YAML; nothing when it is not set. */
void option_show(const struct option *o, const void *base, struct buf *out);
void option_release(const struct option *o, void *base);
bool option_equal(const struct option *o, const void *a, const void *b);

/* option_reset() and option_release() for all of a scope. */
void options_reset(enum option_scope scope, void *base);
void options_release(enum option_scope scope, void *base);

/* Appends `text` as a YAML scalar, in quotes where it needs them. */
void option_add_text(struct buf *out, const char *text);

/* "a, b, c" of the options marked OPTION_RESTART whose values differ between two struct config;
 * returns how many. */
struct config;
int options_need_restart(const struct config *a, const struct config *b, struct buf *ret_names);

#endif

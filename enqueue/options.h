/* options.h - enqueue's command line: one table for reading it and for --help.  No I/O. */
#ifndef BL_ENQUEUE_OPTIONS_H
#define BL_ENQUEUE_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/document_build.h"
#include "common/err.h"
#include "common/ranges.h"
#include "common/session.h"

enum enqueue_action { ENQUEUE_RUN = 0, ENQUEUE_HELP, ENQUEUE_VERSION };

struct enqueue_options {
    enum enqueue_action action;
    struct session_options session; /* its url is `url` below */
    char *url; /* a copy, since the one in argv is wiped; NULL = not given */
    const char *queue; /* "default" */
    struct document_parts parts; /* all but args, on_success, on_failure and enqueued_at */
    const char *args; /* as given: JSON, @FILE or -; NULL = none */
    const char *on_success, *on_failure; /* JSON or @FILE; NULL = none */
    const char *bulk; /* a file, or "-"; NULL = no bulk */
    struct ranges skip; /* lines (or jobs of --repeat) to leave out */
    int64_t repeat; /* 0 = not given, else 1.. */
    int wait_replicas; /* 0 = do not wait */
    int64_t wait_timeout_ms;
    bool print;

    /* what `parts` points at */
    char backoff_type[8];
    char *unique_key;
    const char **tags;
    const char **meta_keys; /* each a copy of "k", in meta_copies */
    const char **meta_values;
    char **meta_copies;
};

/* Reads argv.  A password in --url is wiped from argv.  `now_wall_ms` is what --in and
 * --expires-in count from.  0, or a negative code with a text for the user (exit 64).  End with
 * enqueue_options_done() in either case. */
MUST_CHECK int enqueue_options_read(struct enqueue_options *o, int argc, char **argv,
                                    int64_t now_wall_ms, struct err *err);
void enqueue_options_done(struct enqueue_options *o);

/* Appends the text of --help. */
void enqueue_options_help(struct buf *out);

#endif

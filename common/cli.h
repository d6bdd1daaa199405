/* cli.h - one table of options per program, from which both getopt_long and --help follow.
 *
 * A row is an option or a heading of the help text.  Programs with verbs give each row the set of
 * verbs it goes with, so that `prog verb --help` shows what that verb takes and nothing else.
 * Used by enqueue and jobctl; no I/O.  getopt keeps its state in the process: one struct cli at a
 * time.
 */
#ifndef BL_COMMON_CLI_H
#define BL_COMMON_CLI_H

#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"

struct cli_option {
    int id; /* what cli_next() returns, > 0; below 128 it is the short option's letter;
                        * 0 = a heading, whose text is `help` */
    const char *name; /* the long option without dashes */
    const char *value; /* what its value is called; NULL = takes none */
    const char *help; /* sentences; a newline starts a new line */
    unsigned where; /* the verbs it goes with, as bits; 0 = all */
};
#define CLI_HEADING(text)                                                                          \
    {                                                                                              \
        .id = 0, .help = (text)                                                                    \
    }
#define CLI_HEADING_OF(bits, text)                                                                 \
    {                                                                                              \
        .id = 0, .help = (text), .where = (bits)                                                   \
    }
#define CLI_END                                                                                    \
    {                                                                                              \
        .id = 0                                                                                    \
    }

/* Ids of options without a letter start here. */
enum { CLI_LONG_ONLY = 256 };

struct cli {
    const struct cli_option *options;
    struct option *longs; /* for getopt_long; ours */
    char *shorts; /* likewise */
    int argc;
    char **argv; /* borrowed; getopt moves the operands to its end */
};

/* Prepares reading argv[1..].  `options` ends with CLI_END and outlives `c`. */
void cli_init(struct cli *c, const struct cli_option *options, int argc, char **argv);
void cli_done(struct cli *c);

/* The next option's id, 0 when all are read, or -ERR_UNKNOWN (no such option), -ERR_MISSING (its
 * value) or -ERR_INVALID (a value it does not take).  `*ret_value` is borrowed from argv, NULL if
 * the option takes none. */
MUST_CHECK int cli_next(struct cli *c, char **ret_value, struct err *err);

/* After cli_next() returned 0: index in argv of the first operand. */
int cli_operands(const struct cli *c);

/* The row of an id; NULL if there is none. */
const struct cli_option *cli_find(const struct cli_option *options, int id);

/* Appends the aligned list of the options that go with any verb of `where` (0 = all). */
void cli_help_options(struct buf *out, const struct cli_option *options, unsigned where);

/* An integer in [min, max] and nothing else.  -ERR_SYNTAX, -ERR_RANGE; the text names `what`. */
MUST_CHECK int cli_int(const char *text, const char *what, int64_t min, int64_t max, int64_t *ret,
                       struct err *err);

#endif

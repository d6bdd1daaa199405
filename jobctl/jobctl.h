/* jobctl.h - what jobctl's files share: the command line as read, the session, and output.
 *
 * Each verb is one function in one row of verbs.c; it reads and mends through common/inspect.h and
 * common/repair.h and only decides what to say about it.
 */
#ifndef BL_JOBCTL_JOBCTL_H
#define BL_JOBCTL_JOBCTL_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "common/buf.h"
#include "common/inspect.h"
#include "common/session.h"

struct verb;

struct jobctl {
    /* the command line */
    struct session_options session_options; /* its url is `url` */
    char *url; /* a copy; the one in argv is wiped */
    const char *queue; /* --queue; NULL = not given */
    const char *type, *reason;
    int64_t limit, offset;
    bool json, scan, yes, all, help, version;
    char **operands; /* after the verb; borrowed from argv */
    int operand_count;
    const struct verb *verb; /* NULL = none named */
    const char *noun; /* the first word, if it needs a verb and has none */

    /* the run */
    struct session session;
    struct inspect_queues queues; /* those the verb works on */
    struct buf out; /* standard output */
    bool json_started;
};

/* One verb.  `noun` NULL = a verb that stands alone, such as `workers`. */
struct verb {
    const char *noun, *name;
    const char *operands; /* for the usage line */
    const char *about; /* one line for the list */
    const char *text; /* for its own --help */
    unsigned bit; /* in struct cli_option.where */
    int min_operands, max_operands;
    enum store_place place; /* of the letters, for their verbs */
    int (*run)(struct jobctl *ctl); /* returns the exit code */
};

/* All verbs, ended by one without a name. */
extern const struct verb jobctl_verbs[];

enum verb_bit {
    VERB_QUEUES = 1 << 0,
    VERB_PAUSE = 1 << 1,
    VERB_RESUME = 1 << 2,
    VERB_WORKERS = 1 << 3,
    VERB_LS = 1 << 4,
    VERB_SHOW = 1 << 5,
    VERB_RETRY = 1 << 6,
    VERB_RM = 1 << 7,
};

/* ---- verbs ------------------------------------------------------------------------------ */

int verb_queues(struct jobctl *ctl);
int verb_pause(struct jobctl *ctl);
int verb_resume(struct jobctl *ctl);
int verb_workers(struct jobctl *ctl);
int verb_ls(struct jobctl *ctl);
int verb_show(struct jobctl *ctl);
int verb_retry(struct jobctl *ctl);
int verb_rm(struct jobctl *ctl);

/* ---- help for them ------------------------------------------------------------------------ */

/* Fills ctl->queues with the queues named (`count` 0 = those of --queue, of worker.yaml, or found
 * in Redis).  Exit code. */
int jobctl_choose_queues(struct jobctl *ctl, int count, char **names);

/* Says the error on standard error; returns `exit_code`. */
int jobctl_complain(const struct err *err, int exit_code);
/* As above with the exit code that belongs to the error. */
int jobctl_fail(const struct err *err);
/* One line on standard error. */
void jobctl_say(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* Writes ctl->out to standard output if it holds more than `above` bytes. */
void jobctl_write(struct jobctl *ctl, size_t above);

/* --json: one array, an element a line.  jobctl_json_item() takes `item`; jobctl_json_end() also
 * makes an empty array. */
void jobctl_json_item(struct jobctl *ctl, json_t *item);
void jobctl_json_end(struct jobctl *ctl);
/* --json: one object alone, indented.  Takes `object`. */
void jobctl_json_object(struct jobctl *ctl, json_t *object);

#endif

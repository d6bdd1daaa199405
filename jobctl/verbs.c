/* verbs.c - the table of all verbs; a new one is a function and a row here. */
#include "jobctl/jobctl.h"

#define LS_TEXT(what, order)                                                                       \
    "Lists the " what ", " order ", at most 50 unless --limit says otherwise."
#define SHOW_TEXT                                                                                  \
    "Shows everything known of one job: its counters, its last failures, and its document\n"       \
    "exactly as it was pushed.  ID is the job's id, or the uid that tells two of one id apart;\n"  \
    "if several match they are listed, and --all shows them all."
#define RM_TEXT                                                                                    \
    "Removes one of them for good, or with --all all that --queue and --type choose.  On a\n"      \
    "terminal it asks first; elsewhere it wants --yes."

/* The four verbs of one place. */
#define LETTERS(noun_, place_, again, what, order, again_about, again_text)                        \
    {.noun = (noun_),                                                                              \
     .name = "ls",                                                                                 \
     .operands = "[QUEUE...]",                                                                     \
     .about = "list the " what,                                                                    \
     .text = LS_TEXT(what, order),                                                                 \
     .bit = VERB_LS,                                                                               \
     .max_operands = 1000,                                                                         \
     .place = (place_),                                                                            \
     .run = verb_ls},                                                                              \
        {.noun = (noun_),                                                                          \
         .name = "show",                                                                           \
         .operands = "ID | --all",                                                                 \
         .about = "show one of them whole",                                                        \
         .text = SHOW_TEXT,                                                                        \
         .bit = VERB_SHOW,                                                                         \
         .max_operands = 1,                                                                        \
         .place = (place_),                                                                        \
         .run = verb_show},                                                                        \
        {.noun = (noun_),                                                                          \
         .name = (again),                                                                          \
         .operands = "ID | --all",                                                                 \
         .about = (again_about),                                                                   \
         .text = (again_text),                                                                     \
         .bit = VERB_RETRY,                                                                        \
         .max_operands = 1,                                                                        \
         .place = (place_),                                                                        \
         .run = verb_retry},                                                                       \
    {                                                                                              \
        .noun = (noun_), .name = "rm", .operands = "ID | --all",                                   \
        .about = "remove one, or all, for good", .text = RM_TEXT, .bit = VERB_RM,                  \
        .max_operands = 1, .place = (place_), .run = verb_rm                                       \
    }

const struct verb jobctl_verbs[] = {
    {.name = "queues",
     .operands = "[QUEUE...]",
     .about = "how many jobs lie where",
     .text =
         "Shows for each queue how many jobs are waiting, running, scheduled, waiting for a "
         "retry,\nparked and dead, how long the longest waiting job has waited (if its producer "
         "said when\nit was enqueued), and whether the queue is paused.",
     .bit = VERB_QUEUES,
     .max_operands = 1000,
     .run = verb_queues},
    {.name = "pause",
     .operands = "QUEUE",
     .about = "no worker claims from it any more",
     .text =
         "Pauses a queue: nothing more is claimed from it, by any worker, until it is resumed.\n"
         "What runs, runs on; producers may push as ever.",
     .bit = VERB_PAUSE,
     .min_operands = 1,
     .max_operands = 1,
     .run = verb_pause},
    {.name = "resume",
     .operands = "QUEUE",
     .about = "workers claim from it again",
     .text = "Resumes a paused queue.",
     .bit = VERB_RESUME,
     .min_operands = 1,
     .max_operands = 1,
     .run = verb_resume},
    {.name = "workers",
     .operands = "",
     .about = "which workers are there",
     .text =
         "Lists the workers that Redis knows.  BEAT counts up every two seconds while a worker "
         "is\nalive: run this twice to see which does not.  A worker that is gone is dropped by "
         "the\nothers.",
     .bit = VERB_WORKERS,
     .run = verb_workers},
    LETTERS(
        "dead", PLACE_DEAD, "retry", "dead letters", "newest first", "run one, or all, once more",
        "Puts a dead letter back to its queue's waiting jobs, in one step that can neither lose "
        "nor\ndouble it.  It starts anew (no attempts, no crashes) and keeps its history; its "
        "document\nstays as it was pushed.  With --all: all that --queue and --type choose."),
    LETTERS(
        "parked", PLACE_PARKED, "retry", "parked jobs", "newest first",
        "give one, or all, back to the queue",
        "Puts a parked job back to its queue's waiting jobs.  If no worker has its handler yet, "
        "it is\nparked again.  With --all: all that --queue and --type choose."),
    LETTERS("scheduled", PLACE_SCHEDULED, "run", "scheduled jobs", "the next due first",
            "run one, or all, now",
            "Puts a scheduled job to its queue's waiting jobs now.  With --all: all that --queue "
            "and\n--type choose."),
    LETTERS("retries", PLACE_RETRY, "run", "jobs that wait for a retry", "the next due first",
            "run one, or all, now",
            "Puts a job that waits for its next attempt to its queue's waiting jobs now; its "
            "attempts\nstay counted.  With --all: all that --queue and --type choose."),
    {.name = NULL},
};

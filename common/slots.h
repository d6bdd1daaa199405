/* slots.h - the page that worker and runners share, which is also the journal.
 *
 * `state_dir/<incarnation>.journal`, mapped MAP_SHARED by the worker (all of it) and by each runner
 * (header read-only, its own slots read-write).  It survives any kill -9: whoever takes over reads
 * from it which jobs had begun and which had returned.  Without a state_dir it is a memfd.
 *
 * Layout: header page | queue table | runner 0's block | runner 1's block | ...; every part a
 * multiple of 4096 bytes.  A runner's block is one `struct runner_page` and SLOTS_PER_RUNNER slots.
 *
 * A slot's word is (seq << 8 | state): one atomic, so that a job and its state never disagree.
 *
 *   worker: FREE -> QUEUED      slots_queue(), then the JOB frame is sent
 *   worker: QUEUED -> REVOKED   slots_revoke(): the job was not begun and will not be
 *   runner: QUEUED -> BEGUN     slots_begin(), before the handler
 *   runner: BEGUN -> RETURNED   slots_return(), after the handler, before it reports
 *   worker: RETURNED -> FREE    after Redis has *answered* the settlement
 *   worker: REVOKED -> FREE     at once: a later frame for it finds another word and is skipped
 *
 * Everything else in a slot is written by the side that makes the transition, before the release
 * store of the word, and read by the other after an acquire load.  The page is written beside
 * untrusted code: an impossible state is a crash of that runner (slots_check), never trusted.
 */
#ifndef BL_COMMON_SLOTS_H
#define BL_COMMON_SLOTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"
#include "common/mem.h"
#include "common/outcome.h"
#include "common/token.h"

enum {
    SLOTS_PER_RUNNER = 256,
    SLOT_MESSAGE_BYTES = 176,
    SLOTS_MAX_RUNNERS = 2048,
    SLOTS_MAX_QUEUES = 1024,
    SLOTS_QUEUE_KEY_BYTES = 508,
    SLOTS_VERSION = 1,
    SLOTS_CORES = 1024, /* more a machine may have, but then worker/rest.h does nothing */
};

enum slot_state { SLOT_FREE = 0, SLOT_QUEUED, SLOT_BEGUN, SLOT_RETURNED, SLOT_REVOKED };
const char *slot_state_name(enum slot_state s);

/* 256 bytes. */
struct slot {
    _Atomic uint64_t word; /* seq << 8 | enum slot_state */
    int64_t delay_ms; /* with RETRY or SNOOZE: asked for by the handler; -1 = not said */
    int64_t begun_us; /* CLOCK_MONOTONIC, by the runner */
    int64_t returned_us;
    uint32_t queue; /* index into the queue table, by the worker */
    uint8_t outcome; /* enum outcome, with RETURNED */
    uint8_t has_out; /* 1 = message/result are in `<incarnation>.<runner>.<slot>.out` */
    uint16_t message_len; /* <= SLOT_MESSAGE_BYTES: the failure's text, cut */
    int32_t exit_code; /* of a program; -1 = none */
    int32_t signal; /* that ended a program; 0 = none */
    int64_t max_rss_bytes; /* of a program or, when a plugin failed, its runner; -1 = unknown */
    int64_t cpu_ms; /* used by the attempt; -1 = unknown */
    uint8_t oom; /* 1 = the kernel killed its program for lack of memory */
    uint8_t reserved[15];
    char message[SLOT_MESSAGE_BYTES];
};

/* What a runner tells of itself; 4096 bytes, a hint only.  Written by the runner but for what is said. */
struct runner_page {
    _Atomic int32_t program_pgid; /* group of the program it runs now; 0 = none.  Believed only if
                                   * getsid(pgid) is the runner's pid */
    _Atomic int32_t current_slot; /* being run; -1 = none */
    _Atomic int32_t out_of_memory; /* 1 = it could not allocate, and ended itself for that */
    _Atomic int32_t rest; /* enum rest of worker/rest.c; by both */
    _Atomic int64_t cpu_us; /* its CPU time when the present job began, up to a ms earlier */
    unsigned char cores[SLOTS_CORES / 8]; /* by the worker: a called one's, once it is awake */
    char pad[4096 - 24 - SLOTS_CORES / 8];
};

/* What the worker tells; read-only to runners. */
struct slots_header {
    char magic[8]; /* "BLSLOTS" */
    uint32_t version;
    uint32_t runner_max; /* blocks that follow */
    uint32_t queue_count;
    int32_t worker_pid;
    char incarnation[INCARNATION_BYTES + 8];
    char boot_id[40]; /* "" where /proc is not there */
    _Atomic int64_t loop_boot_ms; /* the worker's loop was alive */
    _Atomic int64_t good_beat_boot_ms; /* its last answered beat was sent; 0 = none yet */
    _Atomic int32_t runner_pid[SLOTS_MAX_RUNNERS]; /* 0 = none; its own group and session */
    /* clock ticks since boot, from /proc; 0 = unknown */
    _Atomic uint64_t runner_start[SLOTS_MAX_RUNNERS];
};

struct slots; /* a mapping; the fd stays open for handing to runners */

/* Makes and maps a new page for `runner_max` runners and the given queue keys.  `path` NULL = memfd.
 * Space is allocated at once: a full disk fails here, not later.  -ERR_SYSTEM. */
MUST_CHECK int slots_create(const char *path, const struct incarnation *inc, int runner_max,
                            const char *const *queue_keys, int queue_count, struct slots **ret,
                            struct err *err);
/* Maps an existing journal of a dead worker.  -ERR_PROTOCOL if it is none of this version. */
MUST_CHECK int slots_open(const char *path, struct slots **ret, struct err *err);
/* In a runner: maps the header read-only and block `runner` read-write; other blocks are not there
 * (BUG to ask for them).  `runner` -1: all of it, read-only, for the guard.  The descriptor is
 * closed on success, so that nothing can be done to the file through it: slots_fd() is -1 then.
 * -ERR_SYSTEM, -ERR_PROTOCOL, -ERR_RANGE. */
MUST_CHECK int slots_attach(int fd, int runner, struct slots **ret, struct err *err);
void slots_free(struct slots *s); /* unmaps and closes; the file stays */

int slots_fd(const struct slots *s);
struct slots_header *slots_header(struct slots *s);
/* NUL-terminated key of queue `index`, or NULL if there is none.  Borrowed until slots_free(). */
const char *slots_queue_key(const struct slots *s, uint32_t index);
/* Adds a queue key (after a reload); returns its index (existing or new), -ERR_TOO_BIG when full. */
MUST_CHECK int slots_add_queue(struct slots *s, const char *key);
struct runner_page *slots_runner_page(struct slots *s, int runner);
struct slot *slots_get(struct slots *s, int runner, int slot);

static inline enum slot_state slot_word_state(uint64_t word)
{
    return (enum slot_state)(word & 0xff);
}
static inline uint64_t slot_word_seq(uint64_t word)
{
    return word >> 8;
}

/* The transitions.  Those that return bool say whether the word was as expected. */
/* FREE -> QUEUED.  The worker knows by its own books that the slot is free; false = the page says
 * otherwise (a stray write of that runner): it is queued nevertheless. */
bool slot_queue(struct slot *s, uint64_t seq, uint32_t queue);
bool slot_begin(struct slot *s, uint64_t seq, int64_t now_mono_us); /* false: revoked, skip */
/* BUG if the word is not BEGUN with `seq`: the handler wrote over it, which ends the runner. */
void slot_return(struct slot *s, uint64_t seq, enum outcome o, int64_t delay_ms,
                 int64_t now_mono_us);
bool slot_revoke(struct slot *s, uint64_t seq); /* false: it has begun (or is odd) */
void slot_free(struct slot *s);
/* Sets the message (cut at SLOT_MESSAGE_BYTES, at a character).  By the runner, before return. */
void slot_set_message(struct slot *s, struct span message);

/* Is the word one that can be, given that the worker put `seq` there? */
bool slot_plausible(const struct slot *s, uint64_t seq);

/* Beside the journal.  `out` >= 4096.  "<dir>/<incarnation>.journal", ".lock", ".<runner>.<slot>.out" */
void slots_path(char *out, size_t size, const char *dir, const struct incarnation *inc,
                const char *suffix);

#endif

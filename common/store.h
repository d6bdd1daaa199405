/* store.h - every Redis command we send, and how its answer reads.  No I/O: a verb appends one
 * encoded command to a buffer, a reader decodes the reply that the transport hands back.  So the
 * worker's loop and the commands share it, and its tests need no Redis.
 *
 * Files: store_keys.c (names), store.c (encoding, scripts, what an answer is), store_server.c
 * (handshake, INFO), store_claim.c, store_settle.c, store_periodic.c, store_admin.c (jobctl);
 * store_find.h (which queues are there) and store_print.h (commands as text) go with it.
 *
 * Only store_keys.c spells a key, only store_*.c and lua/ spell a command.  Scripts are embedded at
 * build time with their SHA1 and sent as EVALSHA; each connection loads them in its handshake.  A
 * NOSCRIPT answer means "had no effect": load again (store_cmd_script_load) and send again.
 *
 * Rules every script obeys are in PROTOCOL and at the head of each lua file: dirty first, types and
 * numbers before writes, copy before remove, consuming the token is the commit, bounded.
 */
#ifndef BL_COMMON_STORE_H
#define BL_COMMON_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/mem.h"
#include "common/token.h"

struct redisReply;

enum {
    STORE_CLAIM_MAX = 256, /* records of one claim */
    STORE_CLAIM_MAX_BYTES = 256 * 1024, /* and bytes; one larger record comes alone */
    STORE_BATCH_MAX = 200, /* items of any other script call */
};

/* ---- keys ------------------------------------------------------------------------------- */

/* The keys of one queue, all in its list's Cluster slot.  store_queue_init() fills it; caller owns
 * (store_queue_done). */
struct store_queue {
    char *name; /* as in worker.yaml and messages */
    char *list; /* prefix + key: the plain Redis list; never contains { or } */
    char *run; /* {list}:run       hash  token -> record */
    char *scheduled; /* {list}:scheduled zset */
    char *retry; /* {list}:retry     zset */
    char *parked; /* {list}:parked    list */
    char *dead; /* {list}:dead      list */
    char *outbox; /* {list}:outbox    list */
    char *stats; /* {list}:stats     hash of counters, never load-bearing */
    char *paused; /* {list}:paused    string; exists = claim nothing */
    char *hands; /* {list}:hands     hash incarnation -> "waits" or "died": hands to look after */
};
/* `key` NULL = "queue:" + name.  `prefix` NULL = "".  -ERR_INVALID for an empty name or key, for { or
 * } in the list's name, for the name of a reply list, and for a key of ours. */
MUST_CHECK int store_queue_init(struct store_queue *q, const char *prefix, const char *name,
                                const char *key, struct err *err);
void store_queue_done(struct store_queue *q);

/* Keys that belong to no queue. */
struct store_globals {
    char *workers; /* bucketline:workers  hash incarnation -> beat counter */
    char *info; /* {bucketline:workers}:info  hash incarnation -> JSON about the worker; in the
                    * slot of `workers`, so that a script may touch both */
};
void store_globals_init(struct store_globals *g, const char *prefix);
void store_globals_done(struct store_globals *g);

/* Appends the key of a worker's hand, where its wait moves one record: {list}:hand:<incarnation>. */
void store_hand_key(const struct store_queue *q, const struct incarnation *inc, struct buf *out);
/* Appends the key under which the result of job `id` is kept: {list}:result:<id>. */
void store_result_key(const struct store_queue *q, struct span id, struct buf *out);
/* A reply list expires one day after it was last pushed to, so its name must never be a queue's:
 * only names that start with "reply:" or hold ":reply:" expire, and store_queue_init() refuses
 * those.  Other reply_to lists live until they are read. */
bool store_is_reply_key(struct span key);
/* Appends {target's slot}:relayed:<id>.  -ERR_INVALID for a name whose slot no companion can share
 * (empty, or braces that make no hash tag). */
MUST_CHECK int store_relayed_key(struct span target, struct span id, struct buf *out,
                                 struct err *err);

/* ---- scripts ---------------------------------------------------------------------------- */

enum store_script {
    SCRIPT_CLAIM = 0,
    SCRIPT_RETRY,
    SCRIPT_BURY,
    SCRIPT_BACK,
    SCRIPT_DUE,
    SCRIPT_BEAT,
    SCRIPT_SCAN,
    SCRIPT_DROP_OWNER,
    SCRIPT_TAKE, /* one record from a list/zset to another place or into run, by value */
    SCRIPT_FINISH,
    SCRIPT_RELAY,
    SCRIPT_TRIM, /* caps on the dead list */
    SCRIPT_HOLD, /* from a hand into run */
    SCRIPT_LET_GO, /* from a hand back to its list */
    STORE_SCRIPT_COUNT,
};
const char *store_script_name(enum store_script s);
const char *store_script_text(enum store_script s);
const char *store_script_sha(enum store_script s); /* 40 hex digits */

/* ---- what a reply is --------------------------------------------------------------------- */

enum store_answer {
    STORE_OK = 0,
    STORE_GONE, /* no reply: the connection was lost, the outcome is unknown */
    STORE_NOSCRIPT, /* had no effect */
    STORE_AWAY, /* LOADING READONLY MASTERDOWN CLUSTERDOWN TRYAGAIN BUSY MISCONF NOREPLICAS
                      * NOAUTH WRONGPASS UNBLOCKED, "max number of clients": Redis cannot now; back
                      * off, reconnect, reconcile */
    STORE_MOVED, /* MOVED / ASK */
    STORE_OOM, /* command not allowed when used memory > 'maxmemory' */
    STORE_WRONGTYPE, /* a key of the queue holds another type: quarantine the queue */
    STORE_DENIED, /* NOPERM, unknown command: names the missing right */
    STORE_DUPTOKEN, /* claim, unpark: a token exists already: we are a clone */
    STORE_ERROR, /* any other error reply */
};
const char *store_answer_name(enum store_answer a);
/* Classifies; for anything but STORE_OK `err` (may be NULL) gets Redis' text. */
enum store_answer store_classify(const struct redisReply *reply, struct err *err);

/* ---- encoding ---------------------------------------------------------------------------- */

/* Appends one RESP command. */
void store_command(struct buf *out, int argc, const struct span *argv);
/* For commands with many arguments: exactly `argc` store_arg_*() calls must follow. */
void store_begin(struct buf *out, int argc);
void store_arg(struct buf *out, struct span arg);
void store_arg_str(struct buf *out, const char *s);
void store_arg_int(struct buf *out, int64_t v);

/* ---- handshake --------------------------------------------------------------------------- */
void store_cmd_auth(struct buf *out, const char *user, const char *password); /* user "" = none */
void store_cmd_select(struct buf *out, int db);
void store_cmd_set_name(struct buf *out, const char *name);
void store_cmd_client_id(struct buf *out);
void store_cmd_info(struct buf *out); /* INFO everything we read: one bulk string */
void store_cmd_script_load(struct buf *out, enum store_script s);
void store_cmd_ping(struct buf *out);
/* CONFIG GET name, which an ACL may deny; TIME. */
void store_cmd_config_get(struct buf *out, const char *name);
void store_cmd_time(struct buf *out);
/* The value of one setting into ret, cut at size; -ERR_REDIS if it was denied, -ERR_NOT_FOUND if the
 * server does not know it. */
MUST_CHECK int store_read_config(const struct redisReply *reply, char *ret, size_t size,
                                 struct err *err);
/* Redis' clock, ms since the epoch. */
MUST_CHECK int store_read_time(const struct redisReply *reply, int64_t *ret_wall_ms,
                               struct err *err);
void store_cmd_client_kill(struct buf *out, int64_t client_id);
void store_cmd_client_unblock(struct buf *out, int64_t client_id);

struct store_info {
    char version[32];
    int version_num; /* 70015 for 7.0.15 */
    char run_id[48];
    bool is_master;
    bool loading;
    bool cluster;
    bool aof; /* appendonly on */
    bool rdb; /* has a last bgsave or changes are tracked: best effort */
    char maxmemory_policy[32];
    int64_t maxmemory;
    bool write_failed; /* of its last snapshot or append to the file */
};
/* Reads the bulk string of INFO; unknown parts stay zero.  -ERR_PROTOCOL if it is no INFO. */
MUST_CHECK int store_read_info(const struct redisReply *reply, struct store_info *ret,
                               struct err *err);

/* ---- claiming ---------------------------------------------------------------------------- */

/* Claims up to `count` (1..STORE_CLAIM_MAX) records of together `max_bytes` (one larger record comes
 * alone) under tokens inc:first_seq, +1, ...: the record that waited longest gets the first. */
void store_cmd_claim(struct buf *out, const struct store_queue *q, const struct incarnation *inc,
                     uint64_t first_seq, int count, size_t max_bytes);
struct store_claimed {
    bool paused;
    int64_t remaining; /* records left in the list (also when paused) */
    int count; /* records claimed; record i lies under first_seq + i */
    const struct redisReply *const *records; /* borrowed from the reply: bulk strings */
};
MUST_CHECK int store_read_claim(const struct redisReply *reply, struct store_claimed *ret,
                                struct err *err);
/* The wait: BLMOVE list hand RIGHT LEFT seconds.  Nil, or the record that lies in the hand now. */
void store_cmd_wait(struct buf *out, const struct store_queue *q, const struct incarnation *inc,
                    int seconds);
/* EXISTS paused: a count, 1 = paused.  Written behind a wait it is answered with it. */
void store_cmd_is_paused(struct buf *out, const struct store_queue *q);
/* Puts the record that a wait brought into `run`.  Reply (store_read_count): how many are left in the
 * list, -1 = the hand does not hold it any more and `run` has no such token.  May be sent again. */
void store_cmd_hold(struct buf *out, const struct store_queue *q, const struct incarnation *inc,
                    uint64_t seq, struct span record);
/* What is known of the owner of a hand, and so what becomes of its name in `hands`, where others find
 * hands to look after. */
enum store_owner {
    OWNER_SILENT = 0, /* but listed, it may be alive: the name is let be */
    OWNER_WAITS, /* it is about to: named so */
    OWNER_DIED, /* just now, with a wait that may still fire: named so */
    OWNER_LEFT, /* or was unlisted so long that no wait of it can fire: named as waiting no more */
    OWNER_BURIED, /* died so long ago that none can: named as dead no more */
};
/* Gives what lies in the hand of `inc` back to the right end of the list.  Reply: how many. */
void store_cmd_let_go(struct buf *out, const struct store_queue *q, const struct incarnation *inc,
                      enum store_owner owner);
/* HGETALL hands: pairs.  Pair `i`, OWNER_WAITS or OWNER_DIED; false when it is none. */
void store_cmd_hands(struct buf *out, const struct store_queue *q);
bool store_read_hand(const struct redisReply *reply, size_t i, struct incarnation *ret,
                     enum store_owner *ret_owner);
/* LLEN of the list. */
void store_cmd_length(struct buf *out, const struct store_queue *q);
/* EXISTS of the lists of `count` queues.  Reply: how many are there. */
void store_cmd_exist(struct buf *out, const struct store_queue *const *queues, int count);
/* At-most-once: BRPOP q1 q2 ... seconds; RPOP list n; give back what came too late: RPUSH. */
void store_cmd_brpop(struct buf *out, const struct store_queue *const *queues, int count,
                     int seconds);
void store_cmd_rpop(struct buf *out, const struct store_queue *q, int count);
void store_cmd_rpush(struct buf *out, const struct store_queue *q, const struct span *records,
                     int count);
void store_cmd_push_dead(struct buf *out, const struct store_queue *q, struct span record);
void store_cmd_push_parked(struct buf *out, const struct store_queue *q, struct span record);

/* ---- settling ---------------------------------------------------------------------------- */

/* HDEL run token...: reply = how many were ours. */
void store_cmd_ack(struct buf *out, const struct store_queue *q, const struct incarnation *inc,
                   const uint64_t *seqs, int count);
/* The others: reply 1 = done, 0 = the token was not there (lost).  `inc` is the claim's owner, who
 * may be a dead worker. */
void store_cmd_retry(struct buf *out, const struct store_queue *q, const struct incarnation *inc,
                     uint64_t seq, int64_t delay_ms, struct span record);
/* To :scheduled.  `at_ms` is Redis' wall time, or a delay if `relative`. */
void store_cmd_schedule(struct buf *out, const struct store_queue *q, const struct incarnation *inc,
                        uint64_t seq, int64_t at_ms, bool relative, struct span record);
/* For these two an empty record = the bytes that lie in `run` now. */
void store_cmd_bury(struct buf *out, const struct store_queue *q, const struct incarnation *inc,
                    uint64_t seq, struct span record);
void store_cmd_park(struct buf *out, const struct store_queue *q, const struct incarnation *inc,
                    uint64_t seq, struct span record);
/* Back to the right end.  An empty record = the bytes that lie in `run` now.  Items are pushed in
 * the order given: pass the newest claim first, so that the oldest ends up rightmost.  1 to
 * STORE_CLAIM_MAX items; keep their bytes within STORE_CLAIM_MAX_BYTES.  Reply: how many were ours. */
struct store_back {
    uint64_t seq;
    struct span record;
};
void store_cmd_back(struct buf *out, const struct store_queue *q, const struct incarnation *inc,
                    const struct store_back *items, int count);
MUST_CHECK int store_read_count(const struct redisReply *reply, int64_t *ret, struct err *err);

/* What happens besides the ack when an attempt ends with more to do, in one atomic step.  Spans of
 * length 0 and zero numbers = not wanted.  What goes to the queue's own list is pushed there at
 * once; what goes to any other list lies in the outbox first and is relayed (below), because that
 * list may live in another slot, or hold another type. */
struct store_finish {
    struct span reply_to; /* list key that gets `outcome` (RPUSH; see store_is_reply_key()) */
    struct span outcome; /* JSON text for reply_to and keep */
    struct span follow_up; /* document to push (LPUSH) ... */
    struct span follow_list; /* ... onto this list (full key) */
    struct span relay_id; /* fixed id of the relay, unique: the token; empty = the token */
    struct span keep_key; /* SETs `outcome` here (store_result_key()) for keep_ms, if > 0 */
    int64_t keep_ms;
    struct span dead; /* record for the dead letters: the end was a failure (on_failure) */
};
/* Reply 1 = done, 0 = the token was not there, and nothing was done. */
void store_cmd_finish(struct buf *out, const struct store_queue *q, const struct incarnation *inc,
                      uint64_t seq, const struct store_finish *f);
/* True if that finish leaves something in the outbox: relay it as soon as it is answered. */
bool store_finish_relays(const struct store_queue *q, const struct store_finish *f);

/* ---- the outbox: what is on its way to another slot --------------------------------------- */

/* Oldest `count` records of the outbox, oldest LAST (LRANGE -count -1). */
void store_cmd_outbox_page(struct buf *out, const struct store_queue *q, int count);
struct store_relay {
    bool reply; /* an outcome for a reply_to list, else a document */
    struct span id, target, body; /* borrowed from the record */
};
/* Reads one record of the outbox.  -ERR_SYNTAX for what we did not write, -ERR_INVALID for a target
 * nothing can be relayed to: move such a record to the dead letters or drop it, and say so. */
MUST_CHECK int store_read_relay(struct span record, struct store_relay *ret, struct err *err);
/* Pushes it, in the target's slot, unless that id was relayed before.  Reply 1 = pushed, 0 = was
 * there already; both mean: remove it from the outbox.  STORE_WRONGTYPE is about the target, not
 * about the queue. */
void store_cmd_relay(struct buf *out, const struct store_relay *r);
/* Reply: 1, or 0 if another worker was faster. */
void store_cmd_outbox_remove(struct buf *out, const struct store_queue *q, struct span record);

/* ---- periodic ---------------------------------------------------------------------------- */

/* Moves what is due from zset `which` (q->retry or q->scheduled) to the left end of the list, in due
 * order, at most `max`, STORE_BATCH_MAX and STORE_CLAIM_MAX_BYTES. */
void store_cmd_due(struct buf *out, const struct store_queue *q, const char *which, int max);
struct store_due {
    int64_t moved;
    int64_t next_in_ms; /* until the next is due; -1 = the zset is empty; 0 = more are due now */
};
MUST_CHECK int store_read_due(const struct redisReply *reply, struct store_due *ret,
                              struct err *err);

void store_cmd_beat(struct buf *out, const struct store_globals *g, const struct incarnation *inc);
void store_cmd_look(struct buf *out, const struct store_globals *g); /* HGETALL workers */
/* HGET of one worker's counter. */
void store_cmd_counter(struct buf *out, const struct store_globals *g,
                       const struct incarnation *inc);
/* Its reply; -1 = it is not listed. */
MUST_CHECK int store_read_counter(const struct redisReply *reply, int64_t *ret, struct err *err);
struct store_beat {
    struct incarnation inc;
    int64_t counter;
};
/* Pair `i` of a look's reply; false when it is no valid pair. */
bool store_read_look(const struct redisReply *reply, size_t i, struct store_beat *ret);
size_t store_look_count(const struct redisReply *reply);
/* Removes a dead owner and its info if its counter still stands at `counter` (-1 = absent, -2 =
 * wherever it stands: it is known to be gone).  Reply 1/0. */
void store_cmd_drop_owner(struct buf *out, const struct store_globals *g,
                          const struct incarnation *inc, int64_t counter);
/* bucketline:workers has another type: rename it aside.  Reply 1/0. */
void store_cmd_rename_workers(struct buf *out, const struct store_globals *g, int64_t now_wall_ms);
void store_cmd_set_info(struct buf *out, const struct store_globals *g,
                        const struct incarnation *inc, struct span json);

/* One page of the tokens in `run`: of `inc` only, or (NULL) of everybody.  "0" starts and ends; a
 * token that is there throughout is seen at least once, perhaps twice. */
void store_cmd_scan(struct buf *out, const struct store_queue *q, const struct incarnation *inc,
                    struct span cursor);
struct store_scan {
    struct span cursor; /* borrowed from the reply; "0" = done */
    size_t count;
    const struct redisReply *const *tokens; /* bulk strings */
};
MUST_CHECK int store_read_scan(const struct redisReply *reply, struct store_scan *ret,
                               struct err *err);
/* HMGET run token...: array of bulk or nil. */
void store_cmd_get_run(struct buf *out, const struct store_queue *q, const struct incarnation *inc,
                       const uint64_t *seqs, int count);
/* Parked records `start`..`stop` (LRANGE) and taking one of them, seen at `index`, straight into run:
 * reply 1, or 0 if it is not parked there any more; STORE_DUPTOKEN as for a claim. */
void store_cmd_parked_page(struct buf *out, const struct store_queue *q, int64_t start,
                           int64_t stop);
void store_cmd_unpark(struct buf *out, const struct store_queue *q, const struct incarnation *inc,
                      uint64_t seq, struct span record, int64_t index);

/* ---- producing --------------------------------------------------------------------------- */

/* LPUSH list doc...  Reply: the length of the list. */
void store_cmd_push(struct buf *out, const struct store_queue *q, const struct span *docs,
                    int count);
/* The beginning of the same: exactly `count` store_arg() calls with the documents must follow. */
void store_begin_push(struct buf *out, const struct store_queue *q, int count);
/* ZADD scheduled with a wrapped record, due at `at_ms` (wall). */
void store_cmd_push_scheduled(struct buf *out, const struct store_queue *q, int64_t at_ms,
                              struct span record);
void store_cmd_wait_replicas(struct buf *out, int replicas, int64_t timeout_ms);

/* ---- inspecting and repairing (jobctl, and the caps on dead letters) ----------------------- */

enum store_place {
    PLACE_WAITING = 0, /* list */
    PLACE_RUNNING, /* hash */
    PLACE_SCHEDULED, /* zset */
    PLACE_RETRY, /* zset */
    PLACE_PARKED, /* list */
    PLACE_DEAD, /* list */
    PLACE_OUTBOX, /* list */
    STORE_PLACE_COUNT,
};
const char *store_place_name(enum store_place p); /* "waiting", ... */
/* How many records lie there: an integer. */
void store_cmd_size(struct buf *out, const struct store_queue *q, enum store_place p);
/* Records `start`..`stop` as LRANGE counts them: an array; for a zset record and score alternate.
 * For PLACE_RUNNING use store_cmd_scan() and store_cmd_get_run(). */
void store_cmd_page(struct buf *out, const struct store_queue *q, enum store_place p, int64_t start,
                    int64_t stop);
/* Takes the one record equal to `record` from a place (not PLACE_WAITING or PLACE_RUNNING: nothing
 * scans the queue's list, and only a token takes a job out of `run`) and pushes `moved` to the left
 * end of the queue's list, or of `to`; an empty `moved` = removes it for good.  `index`
 * says where in a list it was seen (as LINDEX counts): it is looked for there and a few places around.
 * Reply 1, or 0 if it is not there. */
void store_cmd_take(struct buf *out, const struct store_queue *q, enum store_place from,
                    struct span record, enum store_place to, struct span moved, int64_t index);
/* Removes the oldest dead letters above `keep`, at most STORE_BATCH_MAX at once.  Reply: how many. */
void store_cmd_trim(struct buf *out, const struct store_queue *q, int64_t keep);
/* While paused nothing is claimed.  `why` is for people. */
void store_cmd_pause(struct buf *out, const struct store_queue *q, struct span why);
void store_cmd_resume(struct buf *out, const struct store_queue *q);
void store_cmd_paused(struct buf *out, const struct store_queue *q); /* GET: nil = not paused */
/* HINCRBY stats name n; HGETALL stats.  Never load-bearing. */
void store_cmd_count(struct buf *out, const struct store_queue *q, const char *name, int64_t n);
void store_cmd_stats(struct buf *out, const struct store_queue *q);
void store_cmd_infos(struct buf *out, const struct store_globals *g); /* HGETALL of the info */
/* GET of a kept result's key. */
void store_cmd_result(struct buf *out, struct span key);

#endif

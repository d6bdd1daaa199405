/* worker.h - the whole of a running worker, as the modules of the loop side share it.
 *
 * The way of a job: claim.c, or wait.c and hand.c (Redis -> claim) -> intake.c (what is it, is it
 * due?) -> dispatch.c (which runner) -> pool.c (the runner's process and socket) -> settle.c (what follows,
 * back to Redis).  Around it: link.c (the main connection), liveness.c (beats, who is dead),
 * reconcile.c (what Redis thinks is ours), recover.c and takeover.c (what dead workers held),
 * schedule.c (what is due), once.c (at-most-once queues), lifecycle.c (start and stop).
 *
 * Everything runs on one thread in one loop; turn.c has what is done once in each turn of it.
 */
#ifndef BL_WORKER_WORKER_H
#define BL_WORKER_WORKER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "common/config.h"
#include "common/redis_link.h"
#include "common/slots.h"
#include "common/store.h"
#include "common/token.h"
#include "worker/catalog.h"
#include "worker/claims.h"
#include "worker/handover.h"
#include "worker/notify.h"
#include "worker/observe.h"
#include "worker/pool.h"
#include "worker/queue.h"
#include "worker/settled.h"
#include "worker/spin.h"

enum phase {
    PHASE_STARTING = 0, /* connecting for the first time */
    PHASE_RUNNING,
    PHASE_QUIET, /* TSTP: claims nothing, finishes what it has */
    PHASE_DRAINING, /* TERM: gives back what has not begun, waits for the rest */
    PHASE_KILLING, /* shutdown_timeout is over, or a second TERM: runners were killed */
    PHASE_LEAVING, /* everything settled: drops the owner, closes */
};
const char *phase_name(enum phase p);

/* A claim written and not answered: its tokens are ours, whether they exist or not. */
struct request {
    struct worker *worker;
    struct queue *queue;
    uint64_t first_seq;
    int count;
    int share; /* see claim_share() */
    int64_t sent_mono_ms;
    struct request *next;
};

struct worker {
    uv_loop_t *loop;
    struct config cfg;
    struct redis_url url;
    struct incarnation inc;
    uint64_t next_seq;
    struct uuid_source uuids;
    uint64_t random; /* state of worker_random() */
    uint64_t wall_read_at; /* uv_now() when wall_now_ms was read */
    int64_t wall_now_ms;
    struct store_globals globals;
    char prefix[256];
    char *state_dir; /* NULL = none */
    int lock_fd; /* held for life; -1 = no state_dir */
    int exe_fd;
    char *const *argv; /* to start over, in lifecycle_end_as_clone() */
    struct slots *slots;
    enum phase phase;
    int exit_code;
    int64_t started_wall_ms;

    uv_check_t turn_check;
    uv_idle_t turn_idle; /* makes the loop turn again without waiting */
    bool turn_wanted;
    struct spin spin; /* whether the loop looks again instead of sleeping */
    uv_timer_t stamp_timer; /* the loop's stamp on the page, every 500 ms */
    uv_timer_t phase_timer; /* shutdown_timeout, then giving up */

    /* the main connection: claims, settlements, beats */
    struct redis_link *main;
    char server_run_id[48]; /* of the last server we were ready on */
    int64_t kill_client_ids[16]; /* connections that died with commands unanswered */
    int kill_count;
    bool server_changed; /* the present server is not the one before */
    bool synced; /* beat answered and reconciled: claims and settlements may go */
    struct log_gate away_gate;
    bool was_away;

    struct queue **queues; /* in configured order, retired ones last */
    int queue_count;
    struct catalog catalog;
    struct claims claims;
    struct request *requests;
    int claims_under_way; /* records asked for: on the main connection, and by pops at most once */
    int64_t held_bytes; /* of records */
    int64_t result_bytes; /* of results whose jobs are not settled: grows while Redis is away */
    struct settled settled; /* the last sequence numbers settled */

    struct claim_list ready;
    struct pool pool;

    struct {
        struct claim_list to_send; /* decided */
        struct claim_list sent; /* under way */
        struct claim_list blocked; /* refused: tried again at blocked_mono_ms */
        int64_t blocked_mono_ms;
        bool scripts_reloading;
    } settle;

    struct {
        uv_timer_t beat_timer, look_timer;
        int64_t last; /* last answered counter; -1 = none on this server yet */
        int64_t sent; /* beats sent since */
        int64_t beat_sent_boot_ms, beat_sent_mono_ms;
        int64_t good_beat_boot_ms; /* when the last well answered one was sent; 0 = none yet */
        bool doubt; /* what we hold may be another's, until the next reconcile */
        bool beat_under_way, look_under_way;
        int64_t look_sent_mono_ms;
        bool good; /* the last beat was answered well on this connection */
        bool first_done; /* ... and one was on this connection */
        struct observe observe;
        int64_t info_mono_ms;
        int live_count; /* workers in the last look */
    } live;

    int64_t sweep_mono_ms; /* when queues that nobody wakes us for are looked at next */
    bool sweep_under_way;
    struct reconcile *reconcile; /* NULL = none under way */
    uint64_t round; /* reconcile rounds begun */
    int64_t reconcile_mono_ms; /* when the next one is due */
    int unsure_rounds; /* so many follow each other sooner: an old connection may still run a claim */
    struct recovery *recoveries; /* of dead workers, under way */
    uv_timer_t duty_timer; /* due jobs, ahead checks, take-overs: sleeps to the next deadline */
    int64_t takeover_mono_ms;
    int64_t audit_mono_ms;
    int64_t rss_mono_ms; /* when runners are weighed next */
    struct once *once; /* at-most-once queues; NULL = there are none */
    struct takeover *takeovers; /* dead workers of this machine, their locks in our hands */
    struct reload *reload; /* NULL = none under way */
    struct signals *signals;
    struct notify notify;
    int64_t duty_mono_ms; /* when the periodic duties ran last */
    int64_t offer_mono_ms; /* when our core was offered to a runner last */
    int64_t kill_mono_ms; /* when the runners were killed for the shutdown */
    bool settled_all; /* nothing of ours is left in Redis: the journal may go */
    bool closed; /* handles are closing: no further turn */

    bool burst;
    int64_t burst_deadline_mono_ms; /* retries due by then are waited for */
    int64_t burst_wait_ms;
    int64_t dead_count; /* buried since the start */
    int64_t handlers_since_wall_ms; /* when this generation of runners began */
};

/* Asks for the work of a turn (turn.h) once the callbacks of this one are through. */
void worker_wake(struct worker *w);
/* May new jobs be claimed now? */
bool worker_claiming(const struct worker *w);
/* The clocks as they stood when this turn of the loop began: for what is done once a job, where
 * reading them costs more than the rest. */
int64_t worker_mono_ms(const struct worker *w);
int64_t worker_wall_ms(struct worker *w);
/* In [0,1). */
double worker_random(struct worker *w);

#endif

/* The shared page: its transitions, what it takes for impossible, and that it outlives a kill. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/slots.h"

static const struct incarnation someone = {.hex = "0123456789abcdef0123456789abcdef"};
static const char *const two_keys[] = {"queue:default", "{queue:mail}"};

static struct slots *in_memory(int runner_max)
{
    struct slots *s = NULL;
    struct err err = {0};
    assert_int_equal(slots_create(NULL, &someone, runner_max, two_keys, 2, &s, &err), 0);
    return s;
}

/* As a runner gets it: a descriptor of its own. */
static struct slots *attach(struct slots *s, int runner)
{
    struct slots *mine = NULL;
    struct err err = {0};
    int fd = fcntl(slots_fd(s), F_DUPFD_CLOEXEC, 0);
    assert_int_equal(slots_attach(fd, runner, &mine, &err), 0);
    assert_int_equal(slots_fd(mine), -1);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    return mine;
}

static enum slot_state state_of(struct slot *s)
{
    return slot_word_state(atomic_load(&s->word));
}

static void a_new_page_is_empty_and_names_its_owner(void **state)
{
    (void)state;
    struct slots *s = in_memory(3);
    struct slots_header *h = slots_header(s);
    assert_string_equal(h->magic, "BLSLOTS");
    assert_int_equal(h->version, SLOTS_VERSION);
    assert_int_equal(h->runner_max, 3);
    assert_int_equal(h->worker_pid, getpid());
    assert_string_equal(h->incarnation, someone.hex);
    assert_int_equal(atomic_load(&h->good_beat_boot_ms), 0);
    assert_string_equal(slots_queue_key(s, 0), "queue:default");
    assert_string_equal(slots_queue_key(s, 1), "{queue:mail}");
    assert_null(slots_queue_key(s, 2));
    for (int r = 0; r < 3; r++) {
        assert_int_equal(atomic_load(&slots_runner_page(s, r)->current_slot), -1);
        for (int i = 0; i < SLOTS_PER_RUNNER; i++)
            assert_int_equal(state_of(slots_get(s, r, i)), SLOT_FREE);
    }
    slots_free(s);
}

static void a_job_goes_through_its_states(void **state)
{
    (void)state;
    struct slots *s = in_memory(1);
    struct slot *slot = slots_get(s, 0, 5);
    assert_true(slot_queue(slot, 77, 1));
    assert_int_equal(state_of(slot), SLOT_QUEUED);
    assert_int_equal(slot_word_seq(atomic_load(&slot->word)), 77);
    assert_int_equal(slot->queue, 1);
    assert_int_equal(slot->exit_code, -1);
    assert_int_equal(slot->delay_ms, -1);
    assert_true(slot_begin(slot, 77, 1000));
    assert_int_equal(state_of(slot), SLOT_BEGUN);
    assert_int_equal(slot->begun_us, 1000);
    slot_set_message(slot, SPAN_OF_STR("why"));
    slot_return(slot, 77, OUTCOME_RETRY, 250, 2000);
    assert_int_equal(state_of(slot), SLOT_RETURNED);
    assert_int_equal(slot->outcome, OUTCOME_RETRY);
    assert_int_equal(slot->delay_ms, 250);
    assert_int_equal(slot->returned_us, 2000);
    assert_int_equal(slot->message_len, 3);
    slot_free(slot);
    assert_int_equal(state_of(slot), SLOT_FREE);
    assert_true(slot_queue(slot, 78, 0));
    assert_int_equal(slot->message_len, 0);
    assert_int_equal(slot->outcome, OUTCOME_NONE);
    slots_free(s);
}

static void only_the_right_word_moves_on(void **state)
{
    (void)state;
    struct slots *s = in_memory(1);
    struct slot *slot = slots_get(s, 0, 0);
    assert_false(slot_begin(slot, 1, 0)); /* free */
    assert_false(slot_revoke(slot, 1)); /* free */
    assert_true(slot_queue(slot, 1, 0));
    assert_false(slot_begin(slot, 2, 0)); /* another job's */
    assert_false(slot_revoke(slot, 2));
    assert_true(slot_revoke(slot, 1));
    assert_false(slot_begin(slot, 1, 0)); /* revoked */
    assert_false(slot_revoke(slot, 1)); /* twice */
    slot_free(slot);
    assert_true(slot_queue(slot, 3, 0));
    assert_true(slot_begin(slot, 3, 0));
    assert_false(slot_begin(slot, 3, 0)); /* twice */
    assert_false(slot_revoke(slot, 3)); /* it has begun */
    assert_false(slot_queue(slot, 4, 0)); /* not free: said, and queued nevertheless */
    assert_int_equal(state_of(slot), SLOT_QUEUED);
    slots_free(s);
}

static void returning_a_job_that_was_overwritten_ends_the_process(void **state)
{
    (void)state;
    struct slots *s = in_memory(1);
    struct slot *slot = slots_get(s, 0, 0);
    assert_true(slot_queue(slot, 1, 0));
    pid_t pid = fork();
    if (pid == 0) {
        if (freopen("/dev/null", "w", stderr) == NULL)
            _exit(2);
        signal(SIGABRT, SIG_DFL);
        slot_return(slot, 1, OUTCOME_DONE, -1, 0);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    slots_free(s);
}

static void a_message_is_cut_at_a_character(void **state)
{
    (void)state;
    struct slots *s = in_memory(1);
    struct slot *slot = slots_get(s, 0, 0);
    char text[SLOT_MESSAGE_BYTES + 50];
    memset(text, 'a', sizeof text);
    slot_set_message(slot, (struct span){text, sizeof text});
    assert_int_equal(slot->message_len, SLOT_MESSAGE_BYTES);
    slot_set_message(slot, (struct span){text, SLOT_MESSAGE_BYTES});
    assert_int_equal(slot->message_len, SLOT_MESSAGE_BYTES);
    memcpy(text + SLOT_MESSAGE_BYTES - 2, "\xf0\x9f\xaa\xa3", 4);
    slot_set_message(slot, (struct span){text, sizeof text});
    assert_int_equal(slot->message_len, SLOT_MESSAGE_BYTES - 2);
    memset(text, 0x80, sizeof text); /* no UTF-8 at all: cut anywhere */
    slot_set_message(slot, (struct span){text, sizeof text});
    assert_int_equal(slot->message_len, SLOT_MESSAGE_BYTES);
    slot_set_message(slot, (struct span){NULL, 0});
    assert_int_equal(slot->message_len, 0);
    slots_free(s);
}

static void impossible_states_are_not_plausible(void **state)
{
    (void)state;
    struct slots *s = in_memory(1);
    struct slot *slot = slots_get(s, 0, 0);
    assert_false(slot_plausible(slot, 5));
    slot_queue(slot, 5, 0);
    assert_true(slot_plausible(slot, 5));
    assert_false(slot_plausible(slot, 6));
    assert_true(slot_begin(slot, 5, 0));
    assert_true(slot_plausible(slot, 5));
    slot_return(slot, 5, OUTCOME_DEAD, -1, 0);
    assert_true(slot_plausible(slot, 5));
    slot->outcome = OUTCOME_NONE;
    assert_false(slot_plausible(slot, 5));
    slot->outcome = OUTCOME_COUNT;
    assert_false(slot_plausible(slot, 5));
    slot->outcome = OUTCOME_DONE;
    slot->message_len = SLOT_MESSAGE_BYTES + 1;
    assert_false(slot_plausible(slot, 5));
    slot->message_len = 0;
    slot->delay_ms = -2;
    assert_false(slot_plausible(slot, 5));
    slot->delay_ms = 0;
    slot->has_out = 2;
    assert_false(slot_plausible(slot, 5));
    slot->has_out = 1;
    assert_true(slot_plausible(slot, 5));
    for (uint64_t odd = SLOT_REVOKED + 1; odd < 256; odd++) {
        atomic_store(&slot->word, UINT64_C(5) << 8 | odd);
        assert_false(slot_plausible(slot, 5));
    }
    slots_free(s);
}

static void a_runner_sees_its_own_block_and_the_header(void **state)
{
    (void)state;
    struct slots *s = in_memory(3);
    struct slots *mine = attach(s, 1);
    atomic_store(&slots_header(s)->good_beat_boot_ms, 4711);
    assert_int_equal(atomic_load(&slots_header(mine)->good_beat_boot_ms), 4711);
    assert_string_equal(slots_queue_key(mine, 0), "queue:default");
    slot_queue(slots_get(s, 1, 255), 9, 0);
    assert_true(slot_begin(slots_get(mine, 1, 255), 9, 1));
    assert_int_equal(state_of(slots_get(s, 1, 255)), SLOT_BEGUN);
    assert_int_equal(state_of(slots_get(s, 0, 255)), SLOT_FREE);
    assert_int_equal(state_of(slots_get(s, 2, 255)), SLOT_FREE);
    atomic_store(&slots_runner_page(mine, 1)->program_pgid, 123);
    assert_int_equal(atomic_load(&slots_runner_page(s, 1)->program_pgid), 123);
    slots_free(mine);
    struct slots *all = attach(s, -1);
    assert_int_equal(state_of(slots_get(all, 1, 255)), SLOT_BEGUN);
    assert_int_equal(atomic_load(&slots_runner_page(all, 1)->program_pgid), 123);
    slots_free(all);
    slots_free(s);
}

static void a_runner_cannot_write_the_header(void **state)
{
    (void)state;
    struct slots *s = in_memory(1);
    struct slots *mine = attach(s, 0);
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGSEGV, SIG_DFL);
        slots_header(mine)->worker_pid = 1;
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(slots_header(s)->worker_pid, getpid());
    slots_free(mine);
    slots_free(s);
}

static void a_page_in_memory_cannot_be_shrunk(void **state)
{
    (void)state;
    struct slots *s = in_memory(1);
    assert_int_equal(ftruncate(slots_fd(s), 0), -1);
    slots_free(s);
}

static void queues_are_added_once(void **state)
{
    (void)state;
    struct slots *s = in_memory(1);
    assert_int_equal(slots_add_queue(s, "{queue:mail}"), 1);
    assert_int_equal(slots_add_queue(s, "third"), 2);
    assert_string_equal(slots_queue_key(s, 2), "third");
    char key[SLOTS_QUEUE_KEY_BYTES + 1];
    memset(key, 'k', sizeof key);
    key[SLOTS_QUEUE_KEY_BYTES] = '\0';
    assert_int_equal(slots_add_queue(s, key), -ERR_TOO_BIG);
    key[SLOTS_QUEUE_KEY_BYTES - 1] = '\0';
    assert_int_equal(slots_add_queue(s, key), 3);
    assert_string_equal(slots_queue_key(s, 3), key);
    for (int i = 4; i < SLOTS_MAX_QUEUES; i++) {
        snprintf(key, sizeof key, "q%d", i);
        assert_int_equal(slots_add_queue(s, key), i);
    }
    assert_int_equal(slots_add_queue(s, "one more"), -ERR_TOO_BIG);
    assert_int_equal(slots_add_queue(s, "queue:default"), 0);
    slots_free(s);
}

struct place {
    char dir[64], path[200];
};

static struct place make_place(void)
{
    struct place p = {.dir = "/tmp/bl-slots-XXXXXX"};
    assert_non_null(mkdtemp(p.dir));
    slots_path(p.path, sizeof p.path, p.dir, &someone, ".journal");
    return p;
}

static void remove_place(const struct place *p)
{
    unlink(p->path);
    assert_int_equal(rmdir(p->dir), 0);
}

static void the_journal_outlives_kill_9(void **state)
{
    (void)state;
    struct place p = make_place();
    pid_t pid = fork();
    if (pid == 0) {
        struct slots *s = NULL;
        if (slots_create(p.path, &someone, 2, two_keys, 2, &s, NULL) != 0)
            _exit(1);
        slot_queue(slots_get(s, 0, 0), 10, 0);
        slot_queue(slots_get(s, 0, 1), 11, 1);
        slot_queue(slots_get(s, 1, 0), 12, 0);
        if (!slot_begin(slots_get(s, 0, 1), 11, 5) || !slot_begin(slots_get(s, 1, 0), 12, 6))
            _exit(1);
        slot_set_message(slots_get(s, 1, 0), SPAN_OF_STR("text"));
        slot_return(slots_get(s, 1, 0), 12, OUTCOME_SNOOZE, 60000, 7);
        kill(getpid(), SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    struct slots *s = NULL;
    struct err err = {0};
    assert_int_equal(slots_open(p.path, &s, &err), 0);
    assert_int_equal(slots_header(s)->worker_pid, pid);
    assert_string_equal(slots_header(s)->incarnation, someone.hex);
    assert_string_equal(slots_queue_key(s, 1), "{queue:mail}");
    assert_int_equal(state_of(slots_get(s, 0, 0)), SLOT_QUEUED);
    assert_int_equal(state_of(slots_get(s, 0, 1)), SLOT_BEGUN);
    struct slot *r = slots_get(s, 1, 0);
    assert_int_equal(state_of(r), SLOT_RETURNED);
    assert_true(slot_plausible(r, 12));
    assert_int_equal(r->outcome, OUTCOME_SNOOZE);
    assert_int_equal(r->delay_ms, 60000);
    assert_memory_equal(r->message, "text", 4);
    slots_free(s);
    remove_place(&p);
}

static void a_second_journal_of_one_name_is_refused(void **state)
{
    (void)state;
    struct place p = make_place();
    struct slots *s = NULL, *t = NULL;
    struct err err = {0};
    assert_int_equal(slots_create(p.path, &someone, 1, two_keys, 2, &s, &err), 0);
    assert_int_equal(slots_create(p.path, &someone, 1, two_keys, 2, &t, &err), -ERR_SYSTEM);
    assert_null(t);
    struct stat st;
    assert_int_equal(stat(p.path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    slots_free(s);
    remove_place(&p);
}

static void a_file_that_is_no_journal_is_refused(void **state)
{
    (void)state;
    struct place p = make_place();
    struct slots *s = NULL;
    struct err err = {0};
    assert_int_equal(slots_open(p.path, &s, &err), -ERR_SYSTEM);
    int fd = open(p.path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, "BLSLOTS", 8), 8);
    err = (struct err){0};
    assert_int_equal(slots_open(p.path, &s, &err), -ERR_PROTOCOL); /* too short */
    assert_int_equal(ftruncate(fd, 16 << 20), 0);
    assert_int_equal(slots_open(p.path, &s, &err), -ERR_PROTOCOL); /* version 0 */
    close(fd);
    unlink(p.path);

    struct slots *good = NULL;
    err = (struct err){0};
    assert_int_equal(slots_create(p.path, &someone, 2, two_keys, 2, &good, &err), 0);
    static const struct {
        size_t offset;
        uint32_t bad;
    } rows[] = {
        {offsetof(struct slots_header, magic), 0},
        {offsetof(struct slots_header, version), SLOTS_VERSION + 1},
        {offsetof(struct slots_header, runner_max), 0},
        {offsetof(struct slots_header, runner_max), 3},
        {offsetof(struct slots_header, runner_max), UINT32_MAX},
        {offsetof(struct slots_header, queue_count), SLOTS_MAX_QUEUES + 1},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        uint32_t *at = (uint32_t *)(void *)((char *)slots_header(good) + rows[i].offset);
        uint32_t was = *at;
        *at = rows[i].bad;
        err = (struct err){0};
        assert_int_equal(slots_open(p.path, &s, &err), -ERR_PROTOCOL);
        assert_int_not_equal(err.text[0], '\0');
        *at = was;
    }
    assert_int_equal(truncate(p.path, 4096), 0);
    assert_int_equal(slots_open(p.path, &s, &err), -ERR_PROTOCOL);
    assert_null(s);
    slots_free(good);
    remove_place(&p);
}

static void bad_arguments_are_refused(void **state)
{
    (void)state;
    struct slots *s = NULL;
    struct err err = {0};
    assert_int_equal(slots_create(NULL, &someone, 0, NULL, 0, &s, &err), -ERR_RANGE);
    assert_int_equal(slots_create(NULL, &someone, SLOTS_MAX_RUNNERS + 1, NULL, 0, &s, &err),
                     -ERR_RANGE);
    char key[SLOTS_QUEUE_KEY_BYTES + 1];
    memset(key, 'k', sizeof key);
    key[SLOTS_QUEUE_KEY_BYTES] = '\0';
    const char *const keys[] = {key};
    struct place p = make_place();
    assert_int_equal(slots_create(p.path, &someone, 1, keys, 1, &s, &err), -ERR_TOO_BIG);
    assert_int_equal(access(p.path, F_OK), -1); /* nothing is left behind */
    assert_null(s);
    s = in_memory(2);
    struct slots *mine = NULL;
    assert_int_equal(slots_attach(slots_fd(s), 2, &mine, &err), -ERR_RANGE);
    assert_null(mine);
    slots_free(s);
    remove_place(&p);
}

/* Begin against revoke: each job is begun or revoked, never both, never neither. */
enum { RACE_ROUNDS = 100000 };
struct race {
    struct slots *worker, *runner;
    pthread_barrier_t start, end;
    bool begun;
};

static void *race_runner(void *arg)
{
    struct race *r = arg;
    struct slot *slot = slots_get(r->runner, 0, 3);
    for (uint64_t seq = 1; seq <= RACE_ROUNDS; seq++) {
        pthread_barrier_wait(&r->start);
        r->begun = slot_begin(slot, seq, (int64_t)seq);
        if (r->begun)
            slot_return(slot, seq, OUTCOME_DONE, -1, (int64_t)seq);
        pthread_barrier_wait(&r->end);
    }
    return NULL;
}

static void a_job_is_begun_or_revoked_never_both(void **state)
{
    (void)state;
    struct race r = {.worker = in_memory(1)};
    r.runner = attach(r.worker, 0);
    pthread_barrier_init(&r.start, NULL, 2);
    pthread_barrier_init(&r.end, NULL, 2);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, race_runner, &r), 0);
    struct slot *slot = slots_get(r.worker, 0, 3);
    int odd = 0;
    for (uint64_t seq = 1; seq <= RACE_ROUNDS; seq++) {
        odd += slot_queue(slot, seq, 0) ? 0 : 1;
        pthread_barrier_wait(&r.start);
        bool revoked = slot_revoke(slot, seq);
        pthread_barrier_wait(&r.end);
        odd += revoked == r.begun ? 1 : 0;
        odd += state_of(slot) == (revoked ? SLOT_REVOKED : SLOT_RETURNED) ? 0 : 1;
        odd += !revoked && slot->returned_us != (int64_t)seq ? 1 : 0;
        slot_free(slot);
    }
    pthread_join(thread, NULL);
    assert_int_equal(odd, 0);
    pthread_barrier_destroy(&r.start);
    pthread_barrier_destroy(&r.end);
    slots_free(r.runner);
    slots_free(r.worker);
}

static void states_have_names(void **state)
{
    (void)state;
    assert_string_equal(slot_state_name(SLOT_FREE), "free");
    assert_string_equal(slot_state_name(SLOT_REVOKED), "revoked");
    assert_string_equal(slot_state_name((enum slot_state)99), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_page_is_empty_and_names_its_owner),
        cmocka_unit_test(a_job_goes_through_its_states),
        cmocka_unit_test(only_the_right_word_moves_on),
        cmocka_unit_test(returning_a_job_that_was_overwritten_ends_the_process),
        cmocka_unit_test(a_message_is_cut_at_a_character),
        cmocka_unit_test(impossible_states_are_not_plausible),
        cmocka_unit_test(a_runner_sees_its_own_block_and_the_header),
        cmocka_unit_test(a_runner_cannot_write_the_header),
        cmocka_unit_test(a_page_in_memory_cannot_be_shrunk),
        cmocka_unit_test(queues_are_added_once),
        cmocka_unit_test(the_journal_outlives_kill_9),
        cmocka_unit_test(a_second_journal_of_one_name_is_refused),
        cmocka_unit_test(a_file_that_is_no_journal_is_refused),
        cmocka_unit_test(bad_arguments_are_refused),
        cmocka_unit_test(a_job_is_begun_or_revoked_never_both),
        cmocka_unit_test(states_have_names),
    };
    return cmocka_run_group_tests_name("slots", tests, NULL, NULL);
}

/* test_store.c - how keys are spelled, and every command argument by argument.
 *
 * shown() reads the encoded bytes strictly (counts, lengths, line ends, nothing left over) and gives
 * them as one line, a script's SHA1 as its name; so equal lines mean equal bytes.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/store.h"

#define INC "0123456789abcdef0123456789abcdef"

static const struct incarnation inc = {INC};

struct fixture {
    struct store_queue q;
    struct store_globals g;
    struct buf out, text;
};

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    assert_int_equal(store_queue_init(&f->q, "", "a", NULL, NULL), 0);
    store_globals_init(&f->g, "");
    buf_init(&f->out);
    buf_init(&f->text);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    store_queue_done(&f->q);
    store_globals_done(&f->g);
    buf_done(&f->out);
    buf_done(&f->text);
    free(f);
    return 0;
}

static struct span span_of(const char *s)
{
    return SPAN_OF_STR(s);
}

/* Reads "<kind><digits>\r\n" at *at. */
static size_t read_number(const struct buf *b, size_t *at, char kind)
{
    assert_true(*at < b->len);
    assert_int_equal(b->data[*at], kind);
    char *end = NULL;
    size_t n = strtoul(b->data + *at + 1, &end, 10);
    char again[32];
    int len = snprintf(again, sizeof again, "%c%zu\r\n", kind, n);
    assert_true(*at + (size_t)len <= b->len);
    assert_memory_equal(b->data + *at, again, len);
    *at += (size_t)len;
    return n;
}

static void show_arg(struct buf *text, struct span arg)
{
    for (int s = 0; s < STORE_SCRIPT_COUNT; s++)
        if (arg.len == 40 && memcmp(arg.ptr, store_script_sha(s), 40) == 0) {
            buf_printf(text, "<%s>", store_script_name(s));
            return;
        }
    if (arg.len == 0)
        buf_add_str(text, "''");
    for (size_t i = 0; i < arg.len; i++) {
        unsigned char c = (unsigned char)arg.ptr[i];
        if (c > ' ' && c < 127)
            buf_add_char(text, (char)c);
        else
            buf_printf(text, "\\x%02x", c);
    }
}

/* All of f->out as text, which it then is empty of. */
static const char *shown(struct fixture *f)
{
    buf_clear(&f->text);
    size_t at = 0;
    while (at < f->out.len) {
        if (at > 0)
            buf_add_str(&f->text, " ; ");
        size_t argc = read_number(&f->out, &at, '*');
        for (size_t i = 0; i < argc; i++) {
            size_t len = read_number(&f->out, &at, '$');
            assert_true(at + len + 2 <= f->out.len);
            if (i > 0)
                buf_add_char(&f->text, ' ');
            show_arg(&f->text, (struct span){f->out.data + at, len});
            assert_memory_equal(f->out.data + at + len, "\r\n", 2);
            at += len + 2;
        }
    }
    buf_clear(&f->out);
    return f->text.data;
}

/* ---- keys -------------------------------------------------------------------------------- */

static void keys_of_a_queue(void **state)
{
    (void)state;
    static const struct {
        const char *prefix, *name, *key, *list, *run;
    } rows[] = {
        {"", "default", NULL, "queue:default", "{queue:default}:run"},
        {NULL, "default", NULL, "queue:default", "{queue:default}:run"},
        {"app:", "mail", NULL, "app:queue:mail", "{app:queue:mail}:run"},
        {"", "mail", "task_queue", "task_queue", "{task_queue}:run"},
        {"app:", "mail", "tasks", "app:tasks", "{app:tasks}:run"},
        {"", "reply", NULL, "queue:reply", "{queue:reply}:run"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct store_queue q;
        assert_int_equal(store_queue_init(&q, rows[i].prefix, rows[i].name, rows[i].key, NULL), 0);
        assert_string_equal(q.name, rows[i].name);
        assert_string_equal(q.list, rows[i].list);
        assert_string_equal(q.run, rows[i].run);
        store_queue_done(&q);
        store_queue_done(&q); /* harmless */
    }
}

static void all_companions(void **state)
{
    struct fixture *f = *state;
    const struct store_queue *q = &f->q;
    assert_string_equal(q->scheduled, "{queue:a}:scheduled");
    assert_string_equal(q->retry, "{queue:a}:retry");
    assert_string_equal(q->parked, "{queue:a}:parked");
    assert_string_equal(q->dead, "{queue:a}:dead");
    assert_string_equal(q->outbox, "{queue:a}:outbox");
    assert_string_equal(q->stats, "{queue:a}:stats");
    assert_string_equal(q->paused, "{queue:a}:paused");
    assert_string_equal(q->hands, "{queue:a}:hands");
    store_hand_key(q, &inc, &f->text);
    assert_string_equal(f->text.data, "{queue:a}:hand:" INC);
    buf_clear(&f->text);
    store_result_key(q, span_of("id 1"), &f->text);
    assert_string_equal(f->text.data, "{queue:a}:result:id 1");
    assert_string_equal(f->g.workers, "bucketline:workers");
    assert_string_equal(f->g.info, "{bucketline:workers}:info");
    struct store_globals g;
    store_globals_init(&g, "app:");
    assert_string_equal(g.workers, "app:bucketline:workers");
    assert_string_equal(g.info, "{app:bucketline:workers}:info");
    store_globals_done(&g);
}

static void refused_names(void **state)
{
    (void)state;
    static const struct {
        const char *prefix, *name, *key;
    } rows[] = {
        {"", "", NULL},
        {"", NULL, "k"},
        {"", "a", ""},
        {"", "a{b", NULL},
        {"", "a}b", NULL},
        {"", "a", "{x}"},
        {"{app}:", "a", NULL},
        {"", "a", "reply:a"},
        {"", "a:reply:b", NULL},
        {"reply:", "a", NULL},
        {"app:", "a", "reply:b"},
        {"", "a", "bucketline:workers"},
        {"x:", "a", "bucketline:workers"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct store_queue q = {.name = NULL};
        struct err err = {0};
        assert_int_equal(store_queue_init(&q, rows[i].prefix, rows[i].name, rows[i].key, &err),
                         -ERR_INVALID);
        assert_true(err.text[0] != '\0');
        assert_null(q.list);
    }
}

static void reply_lists_by_name(void **state)
{
    (void)state;
    static const char *const yes[] = {"reply:", "reply:1", "app:reply:1", "{x}:reply:1"};
    static const char *const no[] = {"",         "reply",      "queue:reply",
                                     "replys:1", "my-reply:1", "queue:default"};
    for (size_t i = 0; i < ARRAY_COUNT(yes); i++)
        assert_true(store_is_reply_key(span_of(yes[i])));
    for (size_t i = 0; i < ARRAY_COUNT(no); i++)
        assert_false(store_is_reply_key(span_of(no[i])));
}

static void relayed_keys_share_the_targets_slot(void **state)
{
    (void)state;
    static const struct {
        const char *target, *key;
    } rows[] = {
        {"queue:b", "{queue:b}:relayed:7"},
        {"{tag}:x", "{tag}:relayed:7"},
        {"a{tag}b{c}", "{tag}:relayed:7"},
        {"a{b", "{a{b}:relayed:7"},
        {"{{a}", "{{a}:relayed:7"},
        {"{}x", NULL},
        {"a}b", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct buf key = BUF_INIT;
        int rc = store_relayed_key(span_of(rows[i].target), span_of("7"), &key, NULL);
        assert_int_equal(rc, rows[i].key != NULL ? 0 : -ERR_INVALID);
        assert_string_equal(key.data, rows[i].key != NULL ? rows[i].key : "");
        buf_done(&key);
    }
}

/* ---- encoding ---------------------------------------------------------------------------- */

static void bytes_of_a_command(void **state)
{
    struct fixture *f = *state;
    const struct span argv[] = {{"SET", 3}, {"k\0\r\n", 4}, {NULL, 0}};
    store_command(&f->out, 3, argv);
    static const char wanted[] = "*3\r\n$3\r\nSET\r\n$4\r\nk\0\r\n\r\n$0\r\n\r\n";
    assert_int_equal(f->out.len, sizeof wanted - 1);
    assert_memory_equal(f->out.data, wanted, sizeof wanted - 1);
    buf_clear(&f->out);
    store_begin(&f->out, 3);
    store_arg_str(&f->out, "X");
    store_arg_int(&f->out, INT64_MIN);
    store_arg_int(&f->out, INT64_MAX);
    assert_string_equal(shown(f), "X -9223372036854775808 9223372036854775807");
}

static void scripts_are_embedded(void **state)
{
    (void)state;
    for (int s = 0; s < STORE_SCRIPT_COUNT; s++) {
        const char *name = store_script_name(s), *text = store_script_text(s);
        assert_int_equal(strlen(store_script_sha(s)), 40);
        assert_int_equal(strncmp(text, "-- ", 3), 0);
        assert_int_equal(strncmp(text + 3, name, strlen(name)), 0);
        assert_non_null(strstr(text, "-- KEYS "));
        assert_non_null(strstr(text, "-- ARGV "));
        assert_non_null(strstr(text, "-- Returns "));
        assert_non_null(strstr(text, "-- Atomic: "));
        int lines = 0;
        for (const char *p = text; *p != '\0'; p++)
            lines += *p == '\n';
        assert_in_range(lines, 1, 40);
        for (int other = 0; other < s; other++)
            assert_string_not_equal(store_script_sha(s), store_script_sha(other));
    }
}

#define CHECK(text, call)                                                                          \
    do {                                                                                           \
        call;                                                                                      \
        assert_string_equal(shown(f), text);                                                       \
    } while (0)

static void handshake(void **state)
{
    struct fixture *f = *state;
    struct buf *out = &f->out;
    CHECK("AUTH secret\\x20word", store_cmd_auth(out, "", "secret word"));
    CHECK("AUTH secret", store_cmd_auth(out, NULL, "secret"));
    CHECK("AUTH me secret", store_cmd_auth(out, "me", "secret"));
    CHECK("SELECT 3", store_cmd_select(out, 3));
    CHECK("CLIENT SETNAME worker", store_cmd_set_name(out, "worker"));
    CHECK("CLIENT ID", store_cmd_client_id(out));
    CHECK("CLIENT KILL ID 77", store_cmd_client_kill(out, 77));
    CHECK("CLIENT UNBLOCK 77", store_cmd_client_unblock(out, 77));
    CHECK("INFO", store_cmd_info(out));
    CHECK("PING", store_cmd_ping(out));
    store_cmd_script_load(out, SCRIPT_BEAT);
    assert_int_equal(strncmp(shown(f), "SCRIPT LOAD --\\x20beat", 22), 0);
}

static void claiming(void **state)
{
    struct fixture *f = *state;
    struct buf *out = &f->out;
    const struct store_queue *q = &f->q;
    CHECK("EVALSHA <claim> 3 queue:a {queue:a}:run {queue:a}:paused " INC " 41 5 1000",
          store_cmd_claim(out, q, &inc, 41, 5, 1000));
    CHECK("EVALSHA <claim> 3 queue:a {queue:a}:run {queue:a}:paused " INC
          " 9007199254740991 256 262144",
          store_cmd_claim(out, q, &inc, TOKEN_SEQ_MAX, STORE_CLAIM_MAX, SIZE_MAX));
    CHECK("LLEN queue:a", store_cmd_length(out, q));
    struct store_queue b;
    assert_int_equal(store_queue_init(&b, "", "b", NULL, NULL), 0);
    const struct store_queue *const both[] = {q, &b};
    CHECK("BRPOP queue:a queue:b 2", store_cmd_brpop(out, both, 2, 2));
    store_queue_done(&b);
    CHECK("RPOP queue:a 10", store_cmd_rpop(out, q, 10));
    const struct span records[] = {{"r1", 2}, {"", 0}};
    CHECK("RPUSH queue:a r1 ''", store_cmd_rpush(out, q, records, 2));
    CHECK("LPUSH {queue:a}:dead r1", store_cmd_push_dead(out, q, records[0]));
    CHECK("LPUSH {queue:a}:parked r1", store_cmd_push_parked(out, q, records[0]));
}

#define HAND "{queue:a}:hand:" INC

static void waiting_with_a_hand(void **state)
{
    struct fixture *f = *state;
    struct buf *out = &f->out;
    const struct store_queue *q = &f->q;
    CHECK("BLMOVE queue:a " HAND " RIGHT LEFT 4", store_cmd_wait(out, q, &inc, 4));
    CHECK("EXISTS {queue:a}:paused", store_cmd_is_paused(out, q));
    CHECK("EVALSHA <hold> 3 {queue:a}:run " HAND " queue:a " INC ":9007199254740991 re\\x00c",
          store_cmd_hold(out, q, &inc, TOKEN_SEQ_MAX, (struct span){"re\0c", 4}));
    CHECK("EVALSHA <hold> 3 {queue:a}:run " HAND " queue:a " INC ":0 ''",
          store_cmd_hold(out, q, &inc, 0, span_of("")));
    CHECK("EVALSHA <let_go> 4 {queue:a}:run " HAND " queue:a {queue:a}:hands " INC " '' ''",
          store_cmd_let_go(out, q, &inc, OWNER_SILENT));
    CHECK("EVALSHA <let_go> 4 {queue:a}:run " HAND " queue:a {queue:a}:hands " INC " waits ''",
          store_cmd_let_go(out, q, &inc, OWNER_WAITS));
    CHECK("EVALSHA <let_go> 4 {queue:a}:run " HAND " queue:a {queue:a}:hands " INC " died ''",
          store_cmd_let_go(out, q, &inc, OWNER_DIED));
    CHECK("EVALSHA <let_go> 4 {queue:a}:run " HAND " queue:a {queue:a}:hands " INC " '' waits",
          store_cmd_let_go(out, q, &inc, OWNER_LEFT));
    CHECK("EVALSHA <let_go> 4 {queue:a}:run " HAND " queue:a {queue:a}:hands " INC " '' died",
          store_cmd_let_go(out, q, &inc, OWNER_BURIED));
    CHECK("HGETALL {queue:a}:hands", store_cmd_hands(out, q));
}

static void settling(void **state)
{
    struct fixture *f = *state;
    struct buf *out = &f->out;
    const struct store_queue *q = &f->q;
    const uint64_t seqs[] = {0, 12};
    CHECK("HDEL {queue:a}:run " INC ":0 " INC ":12", store_cmd_ack(out, q, &inc, seqs, 2));
    CHECK("EVALSHA <retry> 2 {queue:a}:run {queue:a}:retry " INC ":3 1500 1 rec",
          store_cmd_retry(out, q, &inc, 3, 1500, span_of("rec")));
    CHECK("EVALSHA <retry> 2 {queue:a}:run {queue:a}:scheduled " INC ":3 1893456000000 0 rec",
          store_cmd_schedule(out, q, &inc, 3, INT64_C(1893456000000), false, span_of("rec")));
    CHECK("EVALSHA <retry> 2 {queue:a}:run {queue:a}:scheduled " INC ":3 60 1 rec",
          store_cmd_schedule(out, q, &inc, 3, 60, true, span_of("rec")));
    CHECK("EVALSHA <bury> 2 {queue:a}:run {queue:a}:dead " INC ":3 rec",
          store_cmd_bury(out, q, &inc, 3, span_of("rec")));
    CHECK("EVALSHA <bury> 2 {queue:a}:run {queue:a}:parked " INC ":3 ''",
          store_cmd_park(out, q, &inc, 3, span_of("")));
    const struct store_back items[] = {{9, {NULL, 0}}, {8, {"rec", 3}}};
    CHECK("EVALSHA <back> 2 {queue:a}:run queue:a " INC ":9 '' " INC ":8 rec",
          store_cmd_back(out, q, &inc, items, 2));
}

#define FINISH4 "EVALSHA <finish> 4 {queue:a}:run queue:a {queue:a}:dead {queue:a}:outbox "
#define FINISH5 "EVALSHA <finish> 5 {queue:a}:run queue:a {queue:a}:dead {queue:a}:outbox "

static void finishing(void **state)
{
    struct fixture *f = *state;
    struct buf *out = &f->out;
    const struct store_queue *q = &f->q;
    struct store_finish none = {.keep_ms = 0};
    CHECK(FINISH4 INC ":3 '' '' '' '' '' 0", store_cmd_finish(out, q, &inc, 3, &none));
    assert_false(store_finish_relays(q, &none));

    struct store_finish own = {.follow_up = {"doc", 3}, .follow_list = {"queue:a", 7}};
    CHECK(FINISH4 INC ":3 '' doc '' '' '' 0", store_cmd_finish(out, q, &inc, 3, &own));
    assert_false(store_finish_relays(q, &own));

    struct store_finish all = {
        .reply_to = {"reply:1", 7},
        .outcome = {"{}", 2},
        .follow_up = {"doc", 3},
        .follow_list = {"q:b", 3},
        .relay_id = {"id", 2},
        .keep_key = {"{queue:a}:k", 11},
        .keep_ms = 5000,
        .dead = {"gone", 4},
    };
    CHECK(FINISH5 "{queue:a}:k " INC ":3 gone '' reply\\x202\\x207\\x0aidreply:1{} "
                  "job\\x202\\x203\\x0aidq:bdoc {} 5000",
          store_cmd_finish(out, q, &inc, 3, &all));
    assert_true(store_finish_relays(q, &all));

    /* A list's name without a document, or a key without a time, asks for nothing. */
    struct store_finish half = {
        .follow_list = {"q:b", 3}, .keep_key = {"k", 1}, .outcome = {"{}", 2}};
    CHECK(FINISH4 INC ":3 '' '' '' '' '' 0", store_cmd_finish(out, q, &inc, 3, &half));
    assert_false(store_finish_relays(q, &half));
}

static void relaying(void **state)
{
    struct fixture *f = *state;
    struct buf *out = &f->out;
    struct store_relay r;
    CHECK("LRANGE {queue:a}:outbox -5 -1", store_cmd_outbox_page(out, &f->q, 5));
    assert_int_equal(store_read_relay(span_of("reply 2 7\nidreply:1{}"), &r, NULL), 0);
    CHECK("EVALSHA <relay> 2 {reply:1}:relayed:reply:id reply:1 {} RPUSH 3600 86400",
          store_cmd_relay(out, &r));
    assert_int_equal(store_read_relay(span_of("reply 2 5\nidplain{}"), &r, NULL), 0);
    CHECK("EVALSHA <relay> 2 {plain}:relayed:reply:id plain {} RPUSH 3600 0",
          store_cmd_relay(out, &r));
    assert_int_equal(store_read_relay(span_of("job 2 7\nidreply:1doc"), &r, NULL), 0);
    CHECK("EVALSHA <relay> 2 {reply:1}:relayed:job:id reply:1 doc LPUSH 86400 0",
          store_cmd_relay(out, &r));
    CHECK("LREM {queue:a}:outbox -1 rec", store_cmd_outbox_remove(out, &f->q, span_of("rec")));
}

static void by_the_clock(void **state)
{
    struct fixture *f = *state;
    struct buf *out = &f->out;
    CHECK("EVALSHA <due> 3 {queue:a}:retry queue:a {queue:a}:run 50",
          store_cmd_due(out, &f->q, f->q.retry, 50));
    CHECK("EVALSHA <due> 3 {queue:a}:scheduled queue:a {queue:a}:run 200",
          store_cmd_due(out, &f->q, f->q.scheduled, 5000));
    CHECK("EVALSHA <beat> 1 bucketline:workers " INC, store_cmd_beat(out, &f->g, &inc));
    CHECK("HGETALL bucketline:workers", store_cmd_look(out, &f->g));
    CHECK("HGETALL {bucketline:workers}:info", store_cmd_infos(out, &f->g));
    CHECK("EVALSHA <drop_owner> 2 bucketline:workers {bucketline:workers}:info " INC " -1",
          store_cmd_drop_owner(out, &f->g, &inc, -1));
    CHECK("RENAMENX bucketline:workers {bucketline:workers}:aside:1234",
          store_cmd_rename_workers(out, &f->g, 1234));
    CHECK("HSET {bucketline:workers}:info " INC " {}",
          store_cmd_set_info(out, &f->g, &inc, span_of("{}")));
}

static void looking_into_run_and_parked(void **state)
{
    struct fixture *f = *state;
    struct buf *out = &f->out;
    const struct store_queue *q = &f->q;
    const uint64_t seqs[] = {5, 6};
    CHECK("EVALSHA <scan> 1 {queue:a}:run 0 " INC, store_cmd_scan(out, q, &inc, span_of("0")));
    CHECK("EVALSHA <scan> 1 {queue:a}:run 17 ''", store_cmd_scan(out, q, NULL, span_of("17")));
    CHECK("HMGET {queue:a}:run " INC ":5 " INC ":6", store_cmd_get_run(out, q, &inc, seqs, 2));
    CHECK("LRANGE {queue:a}:parked -100 -1", store_cmd_parked_page(out, q, -100, -1));
    CHECK("EVALSHA <take> 2 {queue:a}:run {queue:a}:parked rec '' 7 " INC ":5",
          store_cmd_unpark(out, q, &inc, 5, span_of("rec"), 7));
}

static void producing(void **state)
{
    struct fixture *f = *state;
    struct buf *out = &f->out;
    const struct span docs[] = {{"d1", 2}, {"d2", 2}};
    CHECK("LPUSH queue:a d1 d2", store_cmd_push(out, &f->q, docs, 2));
    CHECK("ZADD {queue:a}:scheduled 1893456000000 rec",
          store_cmd_push_scheduled(out, &f->q, INT64_C(1893456000000), span_of("rec")));
    CHECK("WAIT 1 500", store_cmd_wait_replicas(out, 1, 500));
}

static void sizes_and_pages(void **state)
{
    struct fixture *f = *state;
    struct buf *out = &f->out;
    static const char *const sizes[STORE_PLACE_COUNT] = {
        "LLEN queue:a",          "HLEN {queue:a}:run",    "ZCARD {queue:a}:scheduled",
        "ZCARD {queue:a}:retry", "LLEN {queue:a}:parked", "LLEN {queue:a}:dead",
        "LLEN {queue:a}:outbox",
    };
    for (int p = 0; p < STORE_PLACE_COUNT; p++) {
        CHECK(sizes[p], store_cmd_size(out, &f->q, p));
        assert_true(strlen(store_place_name(p)) > 3);
    }
    CHECK("LRANGE queue:a -10 -1", store_cmd_page(out, &f->q, PLACE_WAITING, -10, -1));
    CHECK("ZRANGE {queue:a}:retry 0 9 WITHSCORES", store_cmd_page(out, &f->q, PLACE_RETRY, 0, 9));
}

static void repairing(void **state)
{
    struct fixture *f = *state;
    struct buf *out = &f->out;
    const struct store_queue *q = &f->q;
    CHECK("EVALSHA <take> 3 {queue:a}:run {queue:a}:dead queue:a rec new -1",
          store_cmd_take(out, q, PLACE_DEAD, span_of("rec"), PLACE_WAITING, span_of("new"), -1));
    CHECK("EVALSHA <take> 2 {queue:a}:run {queue:a}:retry rec '' 0",
          store_cmd_take(out, q, PLACE_RETRY, span_of("rec"), PLACE_WAITING, span_of(""), 0));
    CHECK("EVALSHA <trim> 2 {queue:a}:run {queue:a}:dead 10000", store_cmd_trim(out, q, 10000));
    CHECK("SET {queue:a}:paused by\\x20me", store_cmd_pause(out, q, span_of("by me")));
    CHECK("DEL {queue:a}:paused", store_cmd_resume(out, q));
    CHECK("GET {queue:a}:paused", store_cmd_paused(out, q));
    CHECK("HINCRBY {queue:a}:stats done 5", store_cmd_count(out, q, "done", 5));
    CHECK("HGETALL {queue:a}:stats", store_cmd_stats(out, q));
    CHECK("GET k", store_cmd_result(out, span_of("k")));
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(keys_of_a_queue),
        TEST(all_companions),
        TEST(refused_names),
        TEST(reply_lists_by_name),
        TEST(relayed_keys_share_the_targets_slot),
        TEST(bytes_of_a_command),
        TEST(scripts_are_embedded),
        TEST(handshake),
        TEST(claiming),
        TEST(waiting_with_a_hand),
        TEST(settling),
        TEST(finishing),
        TEST(relaying),
        TEST(by_the_clock),
        TEST(looking_into_run_and_parked),
        TEST(producing),
        TEST(sizes_and_pages),
        TEST(repairing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

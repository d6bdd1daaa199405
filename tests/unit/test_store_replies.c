/* test_store_replies.c - what each answer of Redis means, and that answers of another shape are
 * told apart and leave outputs alone. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "common/store.h"

#define INC "0123456789abcdef0123456789abcdef"

/* Fake replies own nothing: literals and compound literals of the calling block. */
#define STR(s)  (&(redisReply){.type = REDIS_REPLY_STRING, .str = (char *)(s), .len = sizeof(s) - 1})
#define FAIL(s) (&(redisReply){.type = REDIS_REPLY_ERROR, .str = (char *)(s), .len = strlen(s)})
#define INT(n)  (&(redisReply){.type = REDIS_REPLY_INTEGER, .integer = (n)})
#define NIL     (&(redisReply){.type = REDIS_REPLY_NIL})
#define ARRAY(...)                                                                                 \
    (&(redisReply){.type = REDIS_REPLY_ARRAY,                                                      \
                   .element = (redisReply *[]){__VA_ARGS__},                                       \
                   .elements = sizeof((redisReply *[]){__VA_ARGS__}) / sizeof(redisReply *)})
#define EMPTY (&(redisReply){.type = REDIS_REPLY_ARRAY})

/* ---- classify ---------------------------------------------------------------------------- */

static void every_error_has_its_class(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum store_answer answer;
    } rows[] = {
        {"NOSCRIPT No matching script. Please use EVAL.", STORE_NOSCRIPT},
        {"LOADING Redis is loading the dataset in memory", STORE_AWAY},
        {"READONLY You can't write against a read only replica.", STORE_AWAY},
        {"MASTERDOWN Link with MASTER is down", STORE_AWAY},
        {"CLUSTERDOWN The cluster is down", STORE_AWAY},
        {"TRYAGAIN Multiple keys request during rehashing of slot", STORE_AWAY},
        {"BUSY Redis is busy running a script.", STORE_AWAY},
        {"MISCONF Redis is configured to save RDB snapshots", STORE_AWAY},
        {"NOREPLICAS Not enough good replicas to write.", STORE_AWAY},
        {"NOAUTH Authentication required.", STORE_AWAY},
        {"WRONGPASS invalid username-password pair or user is disabled.", STORE_AWAY},
        {"UNBLOCKED force unblock from blocking operation", STORE_AWAY},
        {"ERR max number of clients reached", STORE_AWAY},
        {"MOVED 3999 127.0.0.1:6381", STORE_MOVED},
        {"ASK 3999 127.0.0.1:6381", STORE_MOVED},
        {"OOM command not allowed when used memory > 'maxmemory'.", STORE_OOM},
        {"WRONGTYPE Operation against a key holding the wrong kind of value", STORE_WRONGTYPE},
        {"NOPERM this user has no permissions to run the 'eval' command", STORE_DENIED},
        {"ERR unknown command 'BLMOVE', with args beginning with: ", STORE_DENIED},
        {"ERR Unknown Redis command called from script script: 12", STORE_DENIED},
        {"ERR The user executing the script can't run this command or subcommand", STORE_DENIED},
        {"DUPTOKEN " INC ":5", STORE_DUPTOKEN},
        {"ERR syntax error", STORE_ERROR},
        {"CROSSSLOT Keys in request don't hash to the same slot", STORE_ERROR},
        {"BUSYKEY Target key name already exists.", STORE_ERROR}, /* not BUSY */
        {"BUSYGROUP Consumer Group name already exists", STORE_ERROR},
        {"OOMS", STORE_ERROR},
        {"", STORE_ERROR},
        {"OOM", STORE_OOM},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct err err = {0};
        enum store_answer a = store_classify(FAIL(rows[i].text), &err);
        assert_string_equal(store_answer_name(a), store_answer_name(rows[i].answer));
        assert_int_equal(err.code, ERR_REDIS);
        assert_string_equal(err.text, rows[i].text);
        assert_int_equal(store_classify(FAIL(rows[i].text), NULL), rows[i].answer);
    }
}

/* As servers before version 7 tell what went wrong inside a script. */
static void errors_in_scripts_of_older_servers(void **state)
{
    (void)state;
#define WRAPPED "ERR Error running script (call to f_0123): @user_script:7: "
    static const struct {
        const char *text;
        enum store_answer answer;
    } rows[] = {
        {WRAPPED "@user_script: 7: -OOM command not allowed when used memory", STORE_OOM},
        {WRAPPED "@user_script: 7: -READONLY You can't write against a", STORE_AWAY},
        {WRAPPED "@user_script: 7: -NOREPLICAS Not enough good replicas", STORE_AWAY},
        {WRAPPED "@user_script: 7: -MISCONF Redis is configured to save", STORE_AWAY},
        {WRAPPED "WRONGTYPE Operation against a key holding the wrong", STORE_WRONGTYPE},
        {WRAPPED "@user_script: 7: Unknown Redis command called from Lua script", STORE_DENIED},
        {WRAPPED "@user_script: 7: Wrong number of args calling Redis command", STORE_ERROR},
        {"ERR Error running script", STORE_ERROR},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++)
        assert_int_equal(store_classify(FAIL(rows[i].text), NULL), rows[i].answer);
}

static void other_answers_are_ok(void **state)
{
    (void)state;
    struct err err = {0};
    assert_int_equal(store_classify(INT(0), &err), STORE_OK);
    assert_int_equal(store_classify(NIL, &err), STORE_OK);
    assert_int_equal(store_classify(STR("OOM is a fine payload"), &err), STORE_OK);
    assert_int_equal(store_classify(EMPTY, &err), STORE_OK);
    assert_int_equal(err.code, 0);
    assert_int_equal(store_classify(NULL, &err), STORE_GONE);
    assert_int_equal(err.code, ERR_CONNECT);
}

/* ---- readers ----------------------------------------------------------------------------- */

static void count(void **state)
{
    (void)state;
    int64_t n = -7;
    struct err err = {0};
    assert_int_equal(store_read_count(NULL, &n, NULL), -ERR_CONNECT);
    assert_int_equal(store_read_count(FAIL("OOM no"), &n, &err), -ERR_REDIS);
    assert_string_equal(err.text, "count: OOM no");
    assert_int_equal(store_read_count(STR("1"), &n, NULL), -ERR_PROTOCOL);
    assert_int_equal(n, -7);
    assert_int_equal(store_read_count(INT(3), &n, NULL), 0);
    assert_int_equal(n, 3);
}

static void claim(void **state)
{
    (void)state;
    struct store_claimed c = {.count = -1};
    redisReply *bad[] = {
        EMPTY,
        ARRAY(INT(0)),
        ARRAY(STR("0"), INT(1)),
        ARRAY(INT(0), STR("1")),
        ARRAY(INT(0), INT(1), NIL),
        ARRAY(INT(0), INT(1), STR("a"), INT(4)),
        INT(0),
    };
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        assert_int_equal(store_read_claim(bad[i], &c, NULL), -ERR_PROTOCOL);
    redisReply *many[3 + STORE_CLAIM_MAX] = {INT(0), INT(1)};
    redisReply *one = STR("a");
    for (size_t i = 2; i < ARRAY_COUNT(many); i++)
        many[i] = one;
    redisReply big = {.type = REDIS_REPLY_ARRAY, .element = many, .elements = ARRAY_COUNT(many)};
    assert_int_equal(store_read_claim(&big, &c, NULL), -ERR_PROTOCOL);
    assert_int_equal(store_read_claim(FAIL("DUPTOKEN x"), &c, NULL), -ERR_REDIS);
    assert_int_equal(c.count, -1);

    assert_int_equal(store_read_claim(ARRAY(INT(0), INT(9), STR("a"), STR("b\0c")), &c, NULL), 0);
    assert_false(c.paused);
    assert_int_equal(c.remaining, 9);
    assert_int_equal(c.count, 2);
    assert_int_equal(c.records[1]->len, 3);
    assert_memory_equal(c.records[1]->str, "b\0c", 3);
    big.elements = 2 + STORE_CLAIM_MAX;
    assert_int_equal(store_read_claim(&big, &c, NULL), 0);
    assert_int_equal(c.count, STORE_CLAIM_MAX);
    assert_int_equal(store_read_claim(ARRAY(INT(1), INT(4)), &c, NULL), 0);
    assert_true(c.paused);
    assert_int_equal(c.remaining, 4);
    assert_int_equal(c.count, 0);
}

static void due(void **state)
{
    (void)state;
    struct store_due d = {.moved = -1};
    assert_int_equal(store_read_due(ARRAY(INT(1)), &d, NULL), -ERR_PROTOCOL);
    assert_int_equal(store_read_due(ARRAY(INT(1), NIL), &d, NULL), -ERR_PROTOCOL);
    assert_int_equal(store_read_due(ARRAY(INT(1), INT(2), INT(3)), &d, NULL), -ERR_PROTOCOL);
    assert_int_equal(d.moved, -1);
    assert_int_equal(store_read_due(ARRAY(INT(200), INT(0)), &d, NULL), 0);
    assert_int_equal(d.moved, 200);
    assert_int_equal(d.next_in_ms, 0);
    assert_int_equal(store_read_due(ARRAY(INT(0), INT(-1)), &d, NULL), 0);
    assert_int_equal(d.next_in_ms, -1);
}

static void scan(void **state)
{
    (void)state;
    struct store_scan s = {.count = 99};
    assert_int_equal(store_read_scan(EMPTY, &s, NULL), -ERR_PROTOCOL);
    assert_int_equal(store_read_scan(ARRAY(INT(0)), &s, NULL), -ERR_PROTOCOL);
    assert_int_equal(store_read_scan(ARRAY(STR("0"), NIL), &s, NULL), -ERR_PROTOCOL);
    assert_int_equal(store_read_scan(ARRAY(STR("0"), ARRAY(INT(1))), &s, NULL), -ERR_PROTOCOL);
    assert_int_equal(s.count, 99);
    assert_int_equal(store_read_scan(ARRAY(STR("0")), &s, NULL), 0);
    assert_int_equal(s.count, 0);
    assert_int_equal(store_read_scan(ARRAY(STR("18"), STR("t1"), STR("t2")), &s, NULL), 0);
    assert_int_equal(s.cursor.len, 2);
    assert_memory_equal(s.cursor.ptr, "18", 2);
    assert_int_equal(s.count, 2);
    assert_string_equal(s.tokens[1]->str, "t2");
    /* SCAN itself */
    assert_int_equal(store_read_scan(ARRAY(STR("5"), ARRAY(STR("k1"), STR("k2"))), &s, NULL), 0);
    assert_int_equal(s.count, 2);
    assert_string_equal(s.tokens[0]->str, "k1");
    assert_int_equal(store_read_scan(ARRAY(STR("0"), EMPTY), &s, NULL), 0);
    assert_int_equal(s.count, 0);
}

static void look(void **state)
{
    (void)state;
    redisReply *reply =
        ARRAY(STR(INC), STR("17"), STR("short"), STR("1"), STR(INC), STR("-1"), STR(INC), STR("1x"),
              STR(INC), STR(""), STR(INC), INT(1), STR(INC), STR("9999999999999999999"));
    struct store_beat b;
    assert_int_equal(store_look_count(reply), 7);
    assert_true(store_read_look(reply, 0, &b));
    assert_string_equal(b.inc.hex, INC);
    assert_int_equal(b.counter, 17);
    for (size_t i = 1; i < 8; i++)
        assert_false(store_read_look(reply, i, &b));
    assert_int_equal(store_look_count(NULL), 0);
    assert_int_equal(store_look_count(FAIL("WRONGTYPE")), 0);
    assert_false(store_read_look(EMPTY, 0, &b));
}

static const char info_text[] =
    "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n"
    "run_id:0123456789012345678901234567890123456789\r\n"
    "# Memory\r\nused_memory:1\r\nmaxmemory:1048576\r\nmaxmemory_human:1.00M\r\n"
    "maxmemory_policy:noeviction\r\n"
    "# Persistence\r\nloading:0\r\nasync_loading:0\r\nrdb_bgsave_in_progress:0\r\nrdb_saves:0\r\n"
    "rdb_last_bgsave_time_sec:-1\r\naof_enabled:1\r\n"
    "# Replication\r\nrole:master\r\n# Cluster\r\ncluster_enabled:0\r\n";

static void hands(void **state)
{
    (void)state;
    struct incarnation inc = {"as it was"};
    enum store_owner owner = OWNER_SILENT;
    const redisReply *reply = ARRAY(STR(INC), STR("waits"), STR(INC), STR("died"), STR("me"),
                                    STR("waits"), INT(5), NIL, STR(INC), NIL, STR(INC));
    assert_true(store_read_hand(reply, 0, &inc, &owner));
    assert_string_equal(inc.hex, INC);
    assert_int_equal(owner, OWNER_WAITS);
    assert_true(store_read_hand(reply, 1, &inc, &owner));
    assert_int_equal(owner, OWNER_DIED);
    inc = (struct incarnation){"as it was"};
    for (size_t i = 2; i <= reply->elements; i++)
        assert_false(store_read_hand(reply, i, &inc, &owner));
    assert_false(store_read_hand(EMPTY, 0, &inc, &owner));
    assert_false(store_read_hand(FAIL("WRONGTYPE"), 0, &inc, &owner));
    assert_string_equal(inc.hex, "as it was");
}

static void info(void **state)
{
    (void)state;
    struct store_info i;
    assert_int_equal(store_read_info(STR(info_text), &i, NULL), 0);
    assert_string_equal(i.version, "7.0.15");
    assert_int_equal(i.version_num, 70015);
    assert_string_equal(i.run_id, "0123456789012345678901234567890123456789");
    assert_string_equal(i.maxmemory_policy, "noeviction");
    assert_int_equal(i.maxmemory, 1048576);
    assert_true(i.is_master);
    assert_true(i.aof);
    assert_false(i.rdb);
    assert_false(i.loading);
    assert_false(i.cluster);

    assert_int_equal(store_read_info(STR("redis_version:255.255.255\nrole:slave\nloading:1\n"
                                         "cluster_enabled:1\nrdb_last_bgsave_time_sec:0"),
                                     &i, NULL),
                     0);
    assert_false(i.is_master);
    assert_true(i.loading);
    assert_true(i.cluster);
    assert_true(i.rdb);
    assert_false(i.aof);
    assert_string_equal(i.run_id, "");
}

static void info_of_another_shape(void **state)
{
    (void)state;
    struct store_info i = {.maxmemory = 77};
    assert_int_equal(store_read_info(STR(""), &i, NULL), -ERR_PROTOCOL);
    assert_int_equal(store_read_info(STR("x_redis_version:7\r\n"), &i, NULL), -ERR_PROTOCOL);
    assert_int_equal(store_read_info(NIL, &i, NULL), -ERR_PROTOCOL);
    assert_int_equal(store_read_info(FAIL("NOPERM no"), &i, NULL), -ERR_REDIS);
    assert_int_equal(i.maxmemory, 77);
    assert_int_equal(store_read_info(STR("redis_version:strange\r\n"), &i, NULL), 0);
    assert_int_equal(i.version_num, 0);
}

static void relay(void **state)
{
    (void)state;
    struct store_relay r = {.reply = true};
    static const char good[] = "job 3 4\nid\0list\0body";
    assert_int_equal(store_read_relay((struct span){good, sizeof good - 1}, &r, NULL), 0);
    assert_false(r.reply);
    assert_int_equal(r.id.len, 3);
    assert_memory_equal(r.id.ptr, "id", 3);
    assert_int_equal(r.target.len, 4);
    assert_memory_equal(r.target.ptr, "list", 4);
    assert_int_equal(r.body.len, 5);
    assert_int_equal(store_read_relay(SPAN_OF_STR("reply 1 1\nxy"), &r, NULL), 0);
    assert_true(r.reply);
    assert_int_equal(r.body.len, 0);

    static const char *const bad[] = {
        "",
        "job",
        "job 1 1",
        "job 1 1\n",
        "job 1 1\na",
        "job 0 1\nab",
        "job -1 1\n",
        "job 1  1\nab",
        "job 9 1\nab",
        "job 1 9\nab",
        "jobs 1 1\nab",
        "reply1 1\nab",
        "job 9999999999 1\nab",
        "{\"type\":\"x\"}",
        "job 1 1 \nab",
    };
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        assert_int_equal(store_read_relay(SPAN_OF_STR(bad[i]), &r, NULL), -ERR_SYNTAX);
    assert_int_equal(store_read_relay((struct span){NULL, 0}, &r, NULL), -ERR_SYNTAX);
    assert_int_equal(store_read_relay(SPAN_OF_STR("job 1 3\nia}b"), &r, NULL), -ERR_INVALID);
    assert_int_equal(store_read_relay(SPAN_OF_STR("job 1 0\ni"), &r, NULL), -ERR_INVALID);
    assert_true(r.reply); /* untouched */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_error_has_its_class),
        cmocka_unit_test(errors_in_scripts_of_older_servers),
        cmocka_unit_test(other_answers_are_ok),
        cmocka_unit_test(count),
        cmocka_unit_test(claim),
        cmocka_unit_test(due),
        cmocka_unit_test(scan),
        cmocka_unit_test(look),
        cmocka_unit_test(hands),
        cmocka_unit_test(info),
        cmocka_unit_test(info_of_another_shape),
        cmocka_unit_test(relay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_store.c - the encoded commands on a real Redis: that what store_*.c sends is what the scripts
 * read, and that what they answer is what the readers take.  What each script promises beyond that
 * is tried in test_scripts.py. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "common/store.h"
#include "tests/lib/redis_server.h"

struct fixture {
    struct redis_server *server;
    redisContext *link;
    struct store_queue q;
    struct store_globals g;
    struct incarnation me;
    struct buf out;
    redisReply *reply; /* of the last command */
};

static struct fixture f;

static redisReply *run(void)
{
    if (f.reply != NULL)
        freeReplyObject(f.reply);
    f.reply = NULL;
    assert_int_equal(redisAppendFormattedCommand(f.link, f.out.data, f.out.len), REDIS_OK);
    assert_int_equal(redisGetReply(f.link, (void **)&f.reply), REDIS_OK);
    buf_clear(&f.out);
    return f.reply;
}

static int64_t run_count(void)
{
    int64_t n = -99;
    struct err err = {0};
    if (store_read_count(run(), &n, &err) < 0)
        fail_msg("%s", err.text);
    return n;
}

static int set_up_server(void **state)
{
    (void)state;
    f.server = redis_server_new(NULL);
    f.link = redisConnectUnix(redis_server_socket(f.server));
    buf_init(&f.out);
    if (f.link == NULL || f.link->err != 0 || incarnation_new(&f.me, NULL) < 0)
        return -1;
    store_globals_init(&f.g, "t:");
    return store_queue_init(&f.q, "t:", "a", NULL, NULL);
}

static int tear_down_server(void **state)
{
    (void)state;
    if (f.reply != NULL)
        freeReplyObject(f.reply);
    redisFree(f.link);
    store_queue_done(&f.q);
    store_globals_done(&f.g);
    buf_done(&f.out);
    redis_server_free(f.server);
    return 0;
}

static int set_up(void **state)
{
    (void)state;
    freeReplyObject(redis_server_ask(f.server, "FLUSHALL"));
    freeReplyObject(redis_server_ask(f.server, "SCRIPT FLUSH"));
    for (int s = 0; s < STORE_SCRIPT_COUNT; s++) {
        store_cmd_script_load(&f.out, s);
        assert_int_equal(run()->type, REDIS_REPLY_STRING);
        assert_string_equal(f.reply->str, store_script_sha(s)); /* embedded exactly */
    }
    return 0;
}

static void push(const char *const *docs, int count)
{
    struct span spans[8];
    for (int i = 0; i < count; i++)
        spans[i] = SPAN_OF_STR(docs[i]);
    store_cmd_push(&f.out, &f.q, spans, count);
    assert_int_equal(run_count(), count);
}

/* Claims all under first_seq..; returns how many. */
static int claim(uint64_t first_seq)
{
    struct store_claimed c;
    store_cmd_claim(&f.out, &f.q, &f.me, first_seq, 8, STORE_CLAIM_MAX_BYTES);
    assert_int_equal(store_read_claim(run(), &c, NULL), 0);
    return c.count;
}

static int64_t size_of(enum store_place p)
{
    store_cmd_size(&f.out, &f.q, p);
    return run_count();
}

static void expect_sizes(int waiting, int running, int scheduled, int retry, int parked, int dead)
{
    const int wanted[] = {waiting, running, scheduled, retry, parked, dead};
    for (size_t p = 0; p < ARRAY_COUNT(wanted); p++)
        if (size_of(p) != wanted[p])
            fail_msg("%s: %lld records, not %d", store_place_name(p), f.reply->integer, wanted[p]);
}

static const char *const docs[] = {"{\"n\":1}", "{\"n\":2}", "{\"n\":3}", "{\"n\":4}"};

/* ------------------------------------------------------------------------------------------- */

static void handshake(void **state)
{
    (void)state;
    struct store_info info;
    store_cmd_set_name(&f.out, "tests");
    assert_string_equal(run()->str, "OK");
    store_cmd_select(&f.out, 0);
    assert_string_equal(run()->str, "OK");
    store_cmd_client_id(&f.out);
    assert_true(run_count() > 0);
    store_cmd_ping(&f.out);
    assert_string_equal(run()->str, "PONG");
    store_cmd_info(&f.out);
    assert_int_equal(store_read_info(run(), &info, NULL), 0);
    assert_true(info.version_num >= 60200);
    assert_int_equal(strlen(info.run_id), 40);
    assert_true(info.is_master);
    assert_false(info.loading);
    assert_string_equal(info.maxmemory_policy, "noeviction");
    store_cmd_client_unblock(&f.out, 999999);
    assert_int_equal(run_count(), 0);
    store_cmd_client_kill(&f.out, 999999);
    assert_int_equal(run_count(), 0);
}

static void without_the_script_nothing_happens(void **state)
{
    (void)state;
    push(docs, 1);
    freeReplyObject(redis_server_ask(f.server, "SCRIPT FLUSH"));
    store_cmd_claim(&f.out, &f.q, &f.me, 1, 1, 1000);
    assert_int_equal(store_classify(run(), NULL), STORE_NOSCRIPT);
    expect_sizes(1, 0, 0, 0, 0, 0);
}

static void a_claim_and_its_ack(void **state)
{
    (void)state;
    struct store_claimed c;
    push(docs, 3);
    store_cmd_claim(&f.out, &f.q, &f.me, TOKEN_SEQ_MAX - 1, 2, 1000);
    assert_int_equal(store_read_claim(run(), &c, NULL), 0);
    assert_int_equal(c.count, 2);
    assert_int_equal(c.remaining, 1);
    assert_string_equal(c.records[0]->str, docs[0]);
    assert_string_equal(c.records[1]->str, docs[1]);
    const uint64_t seqs[] = {TOKEN_SEQ_MAX - 1, TOKEN_SEQ_MAX, 5};
    store_cmd_get_run(&f.out, &f.q, &f.me, seqs, 3);
    assert_int_equal(run()->elements, 3);
    assert_string_equal(f.reply->element[1]->str, docs[1]);
    assert_int_equal(f.reply->element[2]->type, REDIS_REPLY_NIL);
    store_cmd_claim(&f.out, &f.q, &f.me, TOKEN_SEQ_MAX, 1, 1000);
    assert_int_equal(store_classify(run(), NULL), STORE_DUPTOKEN);
    store_cmd_ack(&f.out, &f.q, &f.me, seqs, 3);
    assert_int_equal(run_count(), 2);
    expect_sizes(1, 0, 0, 0, 0, 0);
}

/* What lies in our hand, newest first. */
static void expect_hand(int count, const char *const *wanted)
{
    struct buf key = BUF_INIT;
    store_hand_key(&f.q, &f.me, &key);
    redisReply *hand = redis_server_ask(f.server, "LRANGE %s 0 -1", key.data);
    assert_int_equal(hand->type, REDIS_REPLY_ARRAY);
    assert_int_equal(hand->elements, count);
    for (int i = 0; i < count; i++)
        assert_string_equal(hand->element[i]->str, wanted[i]);
    freeReplyObject(hand);
    buf_done(&key);
}

/* The wait of a queue that has something: answered at once. */
static void wait_for(const char *record)
{
    store_cmd_wait(&f.out, &f.q, &f.me, 1);
    assert_string_equal(run()->str, record);
}

static int64_t hold(uint64_t seq, const char *record)
{
    store_cmd_hold(&f.out, &f.q, &f.me, seq, SPAN_OF_STR(record));
    return run_count();
}

static int64_t let_go(enum store_owner owner)
{
    store_cmd_let_go(&f.out, &f.q, &f.me, owner);
    return run_count();
}

/* As what is our hand, and no other, named?  OWNER_SILENT = it is not. */
static enum store_owner named(void)
{
    struct incarnation inc;
    enum store_owner owner;
    store_cmd_hands(&f.out, &f.q);
    assert_int_equal(run()->type, REDIS_REPLY_ARRAY);
    if (f.reply->elements == 0)
        return OWNER_SILENT;
    assert_int_equal(f.reply->elements, 2);
    assert_true(store_read_hand(f.reply, 0, &inc, &owner));
    assert_true(incarnation_equal(&inc, &f.me));
    return owner;
}

static void a_wait_and_its_hold(void **state)
{
    (void)state;
    store_cmd_wait(&f.out, &f.q, &f.me, 1);
    assert_int_equal(run()->type, REDIS_REPLY_NIL);
    push(docs, 3);
    wait_for(docs[0]); /* the oldest */
    expect_hand(1, docs);
    expect_sizes(2, 0, 0, 0, 0, 0);

    assert_int_equal(hold(7, docs[1]), -1); /* lies in the list, not in the hand */
    assert_int_equal(hold(7, "other"), -1);
    expect_hand(1, docs);
    expect_sizes(2, 0, 0, 0, 0, 0);

    for (int again = 0; again < 2; again++) {
        assert_int_equal(hold(7, docs[0]), 2);
        expect_hand(0, NULL);
        expect_sizes(2, 1, 0, 0, 0, 0);
        const uint64_t seq = 7;
        store_cmd_get_run(&f.out, &f.q, &f.me, &seq, 1);
        assert_string_equal(run()->element[0]->str, docs[0]);
    }
    assert_int_equal(hold(8, docs[0]), -1); /* in `run`, but under another token */
    expect_sizes(2, 1, 0, 0, 0, 0);

    store_cmd_ack(&f.out, &f.q, &f.me, (const uint64_t[]){7}, 1);
    assert_int_equal(run_count(), 1);
    assert_int_equal(hold(7, docs[0]), -1);
    expect_sizes(2, 0, 0, 0, 0, 0);
}

static void a_hold_leaves_another_in_the_hand(void **state)
{
    (void)state;
    push(docs, 2);
    wait_for(docs[0]);
    wait_for(docs[1]);
    expect_hand(2, (const char *const[]){docs[1], docs[0]});
    assert_int_equal(hold(1, docs[1]), 0);
    expect_hand(1, docs);
    assert_int_equal(hold(1, docs[1]), 0); /* again */
    expect_hand(1, docs);
    assert_int_equal(hold(2, docs[0]), 0);
    expect_hand(0, NULL);
    expect_sizes(0, 2, 0, 0, 0, 0);
}

static void letting_go(void **state)
{
    (void)state;
    assert_int_equal(named(), OWNER_SILENT);
    assert_int_equal(let_go(OWNER_WAITS), 0);
    assert_int_equal(named(), OWNER_WAITS);
    push(docs, 3);
    wait_for(docs[0]);
    wait_for(docs[1]);
    assert_int_equal(let_go(OWNER_WAITS), 2);
    assert_int_equal(named(), OWNER_WAITS);
    expect_hand(0, NULL);
    assert_int_equal(hold(1, docs[0]), -1);
    store_cmd_page(&f.out, &f.q, PLACE_WAITING, 0, -1);
    assert_int_equal(run()->elements, 3);
    for (int i = 0; i < 3; i++) /* as they were pushed */
        assert_string_equal(f.reply->element[2 - i]->str, docs[i]);

    wait_for(docs[0]);
    assert_int_equal(let_go(OWNER_SILENT), 1);
    assert_int_equal(named(), OWNER_WAITS);
    assert_int_equal(let_go(OWNER_DIED), 0);
    assert_int_equal(let_go(OWNER_LEFT), 0); /* by somebody who found it waiting, and was slow */
    assert_int_equal(named(), OWNER_DIED);
    wait_for(docs[0]);
    assert_int_equal(let_go(OWNER_BURIED), 1);
    assert_int_equal(named(), OWNER_SILENT);
    assert_int_equal(let_go(OWNER_WAITS), 0);
    assert_int_equal(let_go(OWNER_BURIED), 0);
    assert_int_equal(named(), OWNER_WAITS);
    assert_int_equal(let_go(OWNER_LEFT), 0);
    assert_int_equal(named(), OWNER_SILENT);
    assert_int_equal(let_go(OWNER_SILENT), 0);
    assert_int_equal(let_go(OWNER_LEFT), 0);
    assert_int_equal(named(), OWNER_SILENT);
    expect_sizes(3, 0, 0, 0, 0, 0);
}

static void pausing(void **state)
{
    (void)state;
    struct store_claimed c;
    push(docs, 1);
    store_cmd_is_paused(&f.out, &f.q);
    assert_int_equal(run_count(), 0);
    store_cmd_pause(&f.out, &f.q, SPAN_OF_STR("maintenance"));
    assert_string_equal(run()->str, "OK");
    store_cmd_paused(&f.out, &f.q);
    assert_string_equal(run()->str, "maintenance");
    store_cmd_is_paused(&f.out, &f.q);
    assert_int_equal(run_count(), 1);
    store_cmd_claim(&f.out, &f.q, &f.me, 1, 1, 1000);
    assert_int_equal(store_read_claim(run(), &c, NULL), 0);
    assert_true(c.paused);
    assert_int_equal(c.remaining, 1);
    store_cmd_resume(&f.out, &f.q);
    assert_int_equal(run_count(), 1);
    assert_int_equal(claim(1), 1);
}

static void every_way_to_settle(void **state)
{
    (void)state;
    push(docs, 4);
    assert_int_equal(claim(1), 4);
    for (int again = 1; again >= 0; again--) { /* the second time each claim is lost */
        store_cmd_retry(&f.out, &f.q, &f.me, 1, 60000, SPAN_OF_STR("w1"));
        assert_int_equal(run_count(), again);
        store_cmd_schedule(&f.out, &f.q, &f.me, 2, 0, false, SPAN_OF_STR("w2"));
        assert_int_equal(run_count(), again);
        store_cmd_bury(&f.out, &f.q, &f.me, 3, SPAN_OF_STR("w3"));
        assert_int_equal(run_count(), again);
        store_cmd_park(&f.out, &f.q, &f.me, 4, SPAN_OF_STR(""));
        assert_int_equal(run_count(), again);
    }
    expect_sizes(0, 0, 1, 1, 1, 1);
    struct store_due due;
    store_cmd_due(&f.out, &f.q, f.q.scheduled, 10);
    assert_int_equal(store_read_due(run(), &due, NULL), 0);
    assert_int_equal(due.moved, 1);
    assert_int_equal(due.next_in_ms, -1);
    store_cmd_due(&f.out, &f.q, f.q.retry, 10);
    assert_int_equal(store_read_due(run(), &due, NULL), 0);
    assert_int_equal(due.moved, 0);
    assert_in_range(due.next_in_ms, 1, 60000);
    expect_sizes(1, 0, 0, 1, 1, 1);
}

static void giving_back(void **state)
{
    (void)state;
    push(docs, 3);
    assert_int_equal(claim(1), 3);
    const struct store_back items[] = {
        {.seq = 3}, {.seq = 9}, {.seq = 2, .record = {"new", 3}}, {.seq = 1}};
    store_cmd_back(&f.out, &f.q, &f.me, items, 4);
    assert_int_equal(run_count(), 3);
    store_cmd_page(&f.out, &f.q, PLACE_WAITING, 0, -1);
    assert_int_equal(run()->elements, 3);
    assert_string_equal(f.reply->element[0]->str, docs[2]);
    assert_string_equal(f.reply->element[1]->str, "new");
    assert_string_equal(f.reply->element[2]->str, docs[0]);
}

static void finishing_and_relaying(void **state)
{
    (void)state;
    push(docs, 1);
    assert_int_equal(claim(1), 1);
    struct buf key = BUF_INIT;
    store_result_key(&f.q, SPAN_OF_STR("id-1"), &key);
    struct store_finish finish = {
        .reply_to = SPAN_OF_STR("reply:1"),
        .outcome = SPAN_OF_STR("{\"ok\":true}"),
        .follow_up = SPAN_OF_STR("{\"n\":5}"),
        .follow_list = SPAN_OF_STR("t:queue:b"),
        .keep_key = buf_span(&key),
        .keep_ms = 60000,
    };
    store_cmd_finish(&f.out, &f.q, &f.me, 1, &finish);
    assert_int_equal(run_count(), 1);
    store_cmd_finish(&f.out, &f.q, &f.me, 1, &finish);
    assert_int_equal(run_count(), 0);
    store_cmd_result(&f.out, buf_span(&key));
    assert_string_equal(run()->str, "{\"ok\":true}");
    buf_done(&key);
    expect_sizes(0, 0, 0, 0, 0, 0);

    store_cmd_outbox_page(&f.out, &f.q, 10);
    redisReply *page = run();
    f.reply = NULL; /* ours now */
    assert_int_equal(page->elements, 2);
    for (int again = 1; again >= 0; again--)
        for (size_t i = 0; i < page->elements; i++) {
            struct store_relay relay;
            struct span record = {page->element[i]->str, page->element[i]->len};
            assert_int_equal(store_read_relay(record, &relay, NULL), 0);
            store_cmd_relay(&f.out, &relay);
            assert_int_equal(run_count(), again);
            store_cmd_outbox_remove(&f.out, &f.q, record);
            assert_int_equal(run_count(), again);
        }
    freeReplyObject(page);
    assert_int_equal(size_of(PLACE_OUTBOX), 0);
    assert_int_equal(redis_server_ask_int(f.server, "LLEN t:queue:b"), 1);
    assert_int_equal(redis_server_ask_int(f.server, "TTL t:queue:b"), -1);
    assert_int_equal(redis_server_ask_int(f.server, "LLEN reply:1"), 1);
    assert_in_range(redis_server_ask_int(f.server, "TTL reply:1"), 1, 86400);
}

static void who_lives(void **state)
{
    (void)state;
    struct store_beat beat;
    store_cmd_beat(&f.out, &f.g, &f.me);
    assert_int_equal(run_count(), 1);
    store_cmd_beat(&f.out, &f.g, &f.me);
    assert_int_equal(run_count(), 2);
    store_cmd_set_info(&f.out, &f.g, &f.me, SPAN_OF_STR("{\"host\":\"x\"}"));
    assert_int_equal(run_count(), 1);
    store_cmd_look(&f.out, &f.g);
    assert_int_equal(store_look_count(run()), 1);
    assert_true(store_read_look(f.reply, 0, &beat));
    assert_true(incarnation_equal(&beat.inc, &f.me));
    assert_int_equal(beat.counter, 2);
    store_cmd_drop_owner(&f.out, &f.g, &f.me, 1);
    assert_int_equal(run_count(), 0);
    store_cmd_drop_owner(&f.out, &f.g, &f.me, 2);
    assert_int_equal(run_count(), 1);
    store_cmd_infos(&f.out, &f.g);
    assert_int_equal(run()->elements, 0);
    freeReplyObject(redis_server_ask(f.server, "SET %s x", f.g.workers));
    store_cmd_beat(&f.out, &f.g, &f.me);
    assert_int_equal(store_classify(run(), NULL), STORE_WRONGTYPE);
    store_cmd_rename_workers(&f.out, &f.g, 1234);
    assert_int_equal(run_count(), 1);
    store_cmd_beat(&f.out, &f.g, &f.me);
    assert_int_equal(run_count(), 1);
}

static void paging_through_run(void **state)
{
    (void)state;
    struct incarnation other;
    assert_int_equal(incarnation_new(&other, NULL), 0);
    for (int i = 0; i < 2000; i++)
        freeReplyObject(redis_server_ask(f.server, "HSET %s %s:%d x", f.q.run,
                                         i % 2 ? f.me.hex : other.hex, i));
    const struct incarnation *const whose[] = {&f.me, NULL};
    for (int w = 0; w < 2; w++) {
        char cursor[24] = "0";
        size_t seen = 0, pages = 0;
        do {
            struct store_scan scan;
            store_cmd_scan(&f.out, &f.q, whose[w], SPAN_OF_STR(cursor));
            assert_int_equal(store_read_scan(run(), &scan, NULL), 0);
            assert_in_range(scan.cursor.len, 1, sizeof cursor - 1);
            memcpy(cursor, scan.cursor.ptr, scan.cursor.len);
            cursor[scan.cursor.len] = '\0';
            seen += scan.count;
            pages++;
        } while (strcmp(cursor, "0") != 0);
        assert_in_range(seen, w == 0 ? 1000 : 2000, w == 0 ? 1500 : 3000);
        assert_true(pages > 3);
    }
}

static void unparking(void **state)
{
    (void)state;
    push(docs, 1);
    assert_int_equal(claim(1), 1);
    store_cmd_park(&f.out, &f.q, &f.me, 1, SPAN_OF_STR("parked"));
    assert_int_equal(run_count(), 1);
    store_cmd_parked_page(&f.out, &f.q, 0, 9);
    assert_string_equal(run()->element[0]->str, "parked");
    store_cmd_unpark(&f.out, &f.q, &f.me, 2, SPAN_OF_STR("parked"), 0);
    assert_int_equal(run_count(), 1);
    store_cmd_unpark(&f.out, &f.q, &f.me, 3, SPAN_OF_STR("parked"), 0);
    assert_int_equal(run_count(), 0);
    expect_sizes(0, 1, 0, 0, 0, 0);
}

static void repairing(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        store_cmd_push_dead(&f.out, &f.q, SPAN_OF_STR(docs[i]));
        assert_int_equal(run_count(), i + 1);
    }
    store_cmd_push_scheduled(&f.out, &f.q, 5, SPAN_OF_STR("later"));
    assert_int_equal(run_count(), 1);
    store_cmd_page(&f.out, &f.q, PLACE_SCHEDULED, 0, -1);
    assert_string_equal(run()->element[1]->str, "5");
    store_cmd_take(&f.out, &f.q, PLACE_DEAD, SPAN_OF_STR(docs[0]), PLACE_WAITING,
                   SPAN_OF_STR("again"), -1);
    assert_int_equal(run_count(), 1);
    store_cmd_take(&f.out, &f.q, PLACE_SCHEDULED, SPAN_OF_STR("later"), PLACE_WAITING,
                   SPAN_OF_STR(""), 0);
    assert_int_equal(run_count(), 1);
    expect_sizes(1, 0, 0, 0, 0, 3);
    store_cmd_trim(&f.out, &f.q, 1);
    assert_int_equal(run_count(), 2);
    store_cmd_page(&f.out, &f.q, PLACE_DEAD, 0, -1);
    assert_int_equal(run()->elements, 1);
    assert_string_equal(f.reply->element[0]->str, docs[3]);
    store_cmd_count(&f.out, &f.q, "trimmed", 2);
    assert_int_equal(run_count(), 2);
    store_cmd_stats(&f.out, &f.q);
    assert_string_equal(run()->element[1]->str, "2");
}

static void at_most_once(void **state)
{
    (void)state;
    push(docs, 3);
    const struct store_queue *const queues[] = {&f.q};
    store_cmd_brpop(&f.out, queues, 1, 2);
    assert_string_equal(run()->element[1]->str, docs[0]);
    store_cmd_rpop(&f.out, &f.q, 5);
    assert_int_equal(run()->elements, 2);
    const struct span back[] = {SPAN_OF_STR(docs[2]), SPAN_OF_STR(docs[1])};
    store_cmd_rpush(&f.out, &f.q, back, 2);
    assert_int_equal(run_count(), 2);
    store_cmd_wait_replicas(&f.out, 0, 100);
    assert_int_equal(run_count(), 0);
    store_cmd_length(&f.out, &f.q);
    assert_int_equal(run_count(), 2);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup(fn, set_up)
    const struct CMUnitTest tests[] = {
        TEST(handshake),
        TEST(without_the_script_nothing_happens),
        TEST(a_claim_and_its_ack),
        TEST(a_wait_and_its_hold),
        TEST(a_hold_leaves_another_in_the_hand),
        TEST(letting_go),
        TEST(pausing),
        TEST(every_way_to_settle),
        TEST(giving_back),
        TEST(finishing_and_relaying),
        TEST(who_lives),
        TEST(paging_through_run),
        TEST(unparking),
        TEST(repairing),
        TEST(at_most_once),
    };
    return cmocka_run_group_tests(tests, set_up_server, tear_down_server);
}

/* Replies in one piece: the same as hiredis makes them, element by element. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <hiredis/hiredis.h>
#include <string.h>

#include "common/buf.h"
#include "common/mem.h"
#include "common/redis_reply.h"

static void assert_same(const redisReply *a, const redisReply *b)
{
    assert_int_equal(a->type, b->type);
    switch (a->type) {
    case REDIS_REPLY_INTEGER:
        assert_int_equal(a->integer, b->integer);
        return;
    case REDIS_REPLY_ARRAY:
        assert_int_equal(a->elements, b->elements);
        for (size_t i = 0; i < a->elements; i++)
            assert_same(a->element[i], b->element[i]);
        return;
    case REDIS_REPLY_NIL:
        return;
    default:
        assert_int_equal(a->len, b->len);
        assert_memory_equal(a->str, b->str, a->len + 1); /* with the NUL */
    }
}

/* Both parsers get `text` in pieces of `step` bytes; both must make one reply, the same. */
static void check(struct span text, size_t step)
{
    redisReader *ours = redis_reply_reader(), *theirs = redisReaderCreate();
    void *a = NULL, *b = NULL;
    for (size_t at = 0; at < text.len; at += step) {
        assert_null(a);
        size_t n = text.len - at < step ? text.len - at : step;
        assert_int_equal(redisReaderFeed(ours, text.ptr + at, n), REDIS_OK);
        assert_int_equal(redisReaderFeed(theirs, text.ptr + at, n), REDIS_OK);
        assert_int_equal(redisReaderGetReply(ours, &a), REDIS_OK);
        assert_int_equal(redisReaderGetReply(theirs, &b), REDIS_OK);
    }
    assert_non_null(a);
    assert_non_null(b);
    assert_same(a, b);
    redis_reply_free(a);
    freeReplyObject(b);
    redisReaderFree(ours);
    redisReaderFree(theirs);
}

static void every_kind(void **state)
{
    static const char *const texts[] = {
        "+OK\r\n",
        "-ERR no\r\n",
        ":-9007199254740993\r\n",
        "$-1\r\n",
        "*-1\r\n",
        "*0\r\n",
        "$0\r\n\r\n",
        "$5\r\na\r\nbc\r\n",
        "*3\r\n$1\r\na\r\n$-1\r\n:3\r\n",
        "*2\r\n*2\r\n$1\r\na\r\n*-1\r\n*1\r\n*1\r\n-ERR deep\r\n",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++)
        for (size_t step = 1; step < 8; step++)
            check(SPAN_OF_STR(texts[i]), step);
}

/* Records of all sizes, so that blocks are filled, outgrown and skipped. */
static void many_elements(void **state)
{
    struct buf text = BUF_INIT;
    enum { COUNT = 700 };
    (void)state;
    buf_printf(&text, "*%d\r\n", COUNT);
    for (int i = 0; i < COUNT; i++) {
        size_t len = i % 50 == 49 ? 100000 + (size_t)i : (size_t)i % 300;
        buf_printf(&text, "$%zu\r\n", len);
        for (size_t k = 0; k < len; k++)
            buf_add_char(&text, (char)('a' + (k + (size_t)i) % 26));
        buf_add_str(&text, "\r\n");
    }
    check(buf_span(&text), 65536);
    check(buf_span(&text), 7919);
    buf_done(&text);
}

static void an_unfinished_reply_is_freed_with_its_reader(void **state)
{
    static const char part[] = "*2\r\n$3\r\nabc\r\n$10\r\nabc";
    redisReader *r = redis_reply_reader();
    void *reply = NULL;
    (void)state;
    assert_int_equal(redisReaderFeed(r, part, sizeof part - 1), REDIS_OK);
    assert_int_equal(redisReaderGetReply(r, &reply), REDIS_OK);
    assert_null(reply);
    redisReaderFree(r);
}

static void rubbish_is_an_error(void **state)
{
    static const char *const texts[] = {"*2\r\n$3\r\nabc\r\n?\r\n", "*2000000000\r\n",
                                        "nothing\r\n"};
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        redisReader *r = redis_reply_reader();
        void *reply = NULL;
        assert_int_equal(redisReaderFeed(r, texts[i], strlen(texts[i])), REDIS_OK);
        assert_int_equal(redisReaderGetReply(r, &reply), REDIS_ERR);
        assert_null(reply);
        redisReaderFree(r);
    }
    redis_reply_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind),
        cmocka_unit_test(many_elements),
        cmocka_unit_test(an_unfinished_reply_is_freed_with_its_reader),
        cmocka_unit_test(rubbish_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

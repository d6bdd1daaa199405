/* lines and ranges: what a bulk reads, and how it accounts for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/lines.h"
#include "common/ranges.h"

/* A pipe into which `step` bytes of `text` are written before each reading; then it is closed. */
struct source {
    int fds[2];
    const char *text;
    size_t left, step;
};

static void feed(struct source *s)
{
    size_t n = s->left < s->step ? s->left : s->step;
    if (n == 0) { /* the end is read once */
        assert_int_equal(close(s->fds[1]), 0);
        return;
    }
    assert_int_equal(write(s->fds[1], s->text, n), (ssize_t)n);
    s->text += n;
    s->left -= n;
}

static int next_line(struct lines *l, struct source *s, struct span *ret_line)
{
    int got;
    struct err err = {0};
    while ((got = (int)lines_next(l, ret_line)) == LINES_MORE) {
        if (s != NULL)
            feed(s);
        if (lines_fill(l, &err) != 0)
            fail_msg("%s", err.text);
    }
    return got;
}

static void assert_lines_by(const char *text, size_t step, size_t max_bytes,
                            const char *const *expected)
{
    struct lines l;
    struct span line;
    struct source s = {.text = text, .left = strlen(text), .step = step};
    assert_int_equal(pipe(s.fds), 0);
    lines_init(&l, s.fds[0], max_bytes);
    int number = 0;
    for (; *expected != NULL; expected++) {
        int rc = next_line(&l, &s, &line);
        assert_int_equal(l.number, ++number);
        if (strcmp(*expected, "TOO LONG") == 0) {
            assert_int_equal(rc, LINES_TOO_LONG);
            continue;
        }
        assert_int_equal(rc, LINES_LINE);
        assert_int_equal(line.len, strlen(*expected));
        assert_memory_equal(line.ptr, *expected, line.len);
    }
    assert_int_equal(next_line(&l, &s, &line), LINES_END);
    assert_int_equal(next_line(&l, &s, &line), LINES_END);
    assert_int_equal(s.left, 0);
    lines_done(&l);
    close(s.fds[0]);
}

/* However the text is cut into pieces. */
static void assert_lines(const char *text, size_t max_bytes, const char *const *expected)
{
    for (size_t step = 1; step <= strlen(text) + 1; step++)
        assert_lines_by(text, step, max_bytes, expected);
}

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_lines_end_as_they_may(void **state)
{
    (void)state;
    assert_lines("", 10, (const char *const[]){NULL});
    assert_lines("a\nb\n", 10, LIST("a", "b"));
    assert_lines("a\r\n\r\nb", 10, LIST("a", "", "b"));
    assert_lines("\n\n", 10, LIST("", ""));
}

static void test_long_lines_are_left_out(void **state)
{
    (void)state;
    assert_lines("1234\n12345\n1\n", 4, LIST("1234", "TOO LONG", "1"));
    assert_lines("1234\r\n12345", 4, LIST("1234", "TOO LONG"));
    assert_lines("12345\r\n1234\r\n", 4, LIST("TOO LONG", "1234"));
    assert_lines("1234\r", 4, LIST("TOO LONG")); /* no newline: the '\r' is of the text */
    assert_lines("123456789012345678901234567890\nx", 4, LIST("TOO LONG", "x"));
}

static void test_a_line_longer_than_any_buffer(void **state)
{
    (void)state;
    char path[] = "/tmp/bl-lines-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    size_t len = 5 * 1000 * 1000;
    char *text = malloc(len);
    assert_non_null(text);
    memset(text, 'x', len);
    memcpy(text + len - 3, "\ny\n", 3);
    assert_int_equal(write(fd, text, len), (ssize_t)len);
    lseek(fd, 0, SEEK_SET);

    struct lines l;
    struct span line;
    lines_init(&l, fd, 1000);
    assert_int_equal(next_line(&l, NULL, &line), LINES_TOO_LONG);
    assert_true(l.pending.cap < 1000 * 1000); /* it was never held */
    assert_int_equal(next_line(&l, NULL, &line), LINES_LINE);
    assert_int_equal(l.number, 2);
    assert_memory_equal(line.ptr, "y", 1);
    lines_done(&l);
    free(text);
    close(fd);
}

static void assert_shown(const struct ranges *r, const char *expected)
{
    struct buf out = BUF_INIT;
    ranges_show(r, ",", &out);
    assert_string_equal(out.data, expected);
    buf_done(&out);
}

static void test_neighbours_merge(void **state)
{
    (void)state;
    struct ranges r = RANGES_INIT;
    assert_shown(&r, "none");
    ranges_append(&r, 1, 500);
    ranges_append(&r, 501, 1000);
    assert_int_equal(r.count, 1);
    ranges_append(&r, 1501, 1501);
    ranges_append(&r, 2000, 2001);
    assert_shown(&r, "1-1000,1501,2000-2001");
    assert_int_equal(ranges_last(&r), 2001);
    ranges_done(&r);
}

static void test_shown_ranges_read_back(void **state)
{
    (void)state;
    const char *texts[] = {"5-5", "1-1", "1-1000,1501,2000-2001", "7-9"};
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        struct ranges r;
        struct err err = {0};
        assert_int_equal(ranges_parse(texts[i], &r, &err), 0);
        assert_shown(&r, texts[i]);
        ranges_done(&r);
    }
}

static void test_ranges_text(void **state)
{
    (void)state;
    struct ranges r;
    struct err err = {0};
    assert_int_equal(ranges_parse("1000", &r, &err), 0); /* the first thousand */
    assert_shown(&r, "1-1000");
    ranges_done(&r);
    assert_int_equal(ranges_parse("0", &r, &err), 0);
    assert_shown(&r, "none");
    ranges_done(&r);
    assert_int_equal(ranges_parse("2-3,5", &r, &err), 0);
    const bool in[] = {false, false, true, true, false, true, false};
    for (int64_t n = 1; n < 7; n++)
        assert_int_equal(ranges_pass(&r, n), in[n]);
    ranges_done(&r);

    const char *bad[] = {"",      "x",    "1-",  "-5",  "5-4", "3,2",
                         "1-5,5", "1,,2", "1 2", "0-3", "1,",  "99999999999999999999"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct err why = {0};
        if (ranges_parse(bad[i], &r, &why) == 0)
            fail_msg("\"%s\" was taken", bad[i]);
        assert_true(why.text[0] != '\0');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_end_as_they_may),
        cmocka_unit_test(test_long_lines_are_left_out),
        cmocka_unit_test(test_a_line_longer_than_any_buffer),
        cmocka_unit_test(test_neighbours_merge),
        cmocka_unit_test(test_shown_ranges_read_back),
        cmocka_unit_test(test_ranges_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

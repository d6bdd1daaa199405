/* The file beside the journal: whole or absent, and of the job that is asked for. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/slots_out.h"

static const char inc[] = "0123456789abcdef0123456789abcdef";

struct place {
    char dir[64], path[200];
};

static int set_up(void **state)
{
    struct place *p = xcalloc(1, sizeof *p);
    strcpy(p->dir, "/tmp/bl-out-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    snprintf(p->path, sizeof p->path, "%s/%s.2.17.out", p->dir, inc);
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    struct place *p = *state;
    unlink(p->path);
    int rc = rmdir(p->dir);
    free(p);
    return rc;
}

static struct span text(const char *s)
{
    return SPAN_OF_STR(s);
}

static void what_is_written_is_read(void **state)
{
    struct place *p = *state;
    struct slots_out in = {text("{\"a\":1}\n"), text("exit 3: no"), text("no\n"), true}, out = {0};
    struct err err = {0};
    struct buf storage = BUF_INIT;
    assert_int_equal(slots_out_write(p->dir, inc, 2, 17, 99, &in, &err), 0);
    assert_int_equal(slots_out_read(p->dir, inc, 2, 17, 99, &storage, &out, &err), 0);
    assert_int_equal(out.result.len, 8);
    assert_memory_equal(out.result.ptr, "{\"a\":1}\n", 8);
    assert_int_equal(out.message.len, 10);
    assert_memory_equal(out.message.ptr, "exit 3: no", 10);
    assert_int_equal(out.stderr_tail.len, 3);
    assert_memory_equal(out.stderr_tail.ptr, "no\n", 3);
    assert_true(out.result_cut);
    static const char line[] =
        "{\"result_bytes\":8,\"message_bytes\":10,\"stderr_bytes\":3,\"seq\":99,"
        "\"cut\":1}\n";
    assert_memory_equal(storage.data, line, sizeof line - 1);
    buf_done(&storage);
}

static void empty_parts_and_any_bytes_are_fine(void **state)
{
    struct place *p = *state;
    struct slots_out in = {.result = {"\0\xff\n", 3}}, out = {.result_cut = true};
    struct err err = {0};
    struct buf storage = BUF_INIT;
    assert_int_equal(slots_out_write(p->dir, inc, 2, 17, 1, &in, &err), 0);
    assert_int_equal(slots_out_read(p->dir, inc, 2, 17, 1, &storage, &out, &err), 0);
    assert_int_equal(out.result.len, 3);
    assert_memory_equal(out.result.ptr, "\0\xff\n", 3);
    assert_int_equal(out.message.len, 0);
    assert_false(out.result_cut);
    buf_done(&storage);
}

static void a_later_job_replaces_it_and_nothing_else_is_left(void **state)
{
    struct place *p = *state;
    struct slots_out in = {.message = text("first")}, out = {0};
    struct err err = {0};
    struct buf storage = BUF_INIT;
    assert_int_equal(slots_out_write(p->dir, inc, 2, 17, 1, &in, &err), 0);
    in.message = text("second");
    assert_int_equal(slots_out_write(p->dir, inc, 2, 17, 2, &in, &err), 0);
    assert_int_equal(slots_out_read(p->dir, inc, 2, 17, 1, &storage, &out, &err), -ERR_PROTOCOL);
    assert_int_equal(slots_out_read(p->dir, inc, 2, 17, 2, &storage, &out, &err), 0);
    assert_int_equal(out.message.len, 6);
    DIR *dir = opendir(p->dir);
    int files = 0;
    for (struct dirent *e; (e = readdir(dir)) != NULL;)
        files += e->d_name[0] != '.';
    closedir(dir);
    assert_int_equal(files, 1);
    slots_out_remove(p->dir, inc, 2, 17);
    slots_out_remove(p->dir, inc, 2, 17);
    err = (struct err){0};
    assert_int_equal(slots_out_read(p->dir, inc, 2, 17, 2, &storage, &out, &err), -ERR_NOT_FOUND);
    buf_done(&storage);
}

static void any_damage_is_noticed(void **state)
{
    struct place *p = *state;
    struct slots_out in = {text("result"), text("message"), text("tail"), false}, out = {0};
    struct err err = {0};
    struct buf storage = BUF_INIT;
    assert_int_equal(slots_out_write(p->dir, inc, 2, 17, 5, &in, &err), 0);
    assert_int_equal(slots_out_read(p->dir, inc, 2, 17, 5, &storage, &out, &err), 0);
    size_t whole = storage.len;
    size_t header = whole - strlen("resultmessagetail");
    for (size_t len = 0; len < whole; len++) {
        assert_int_equal(truncate(p->path, (off_t)len), 0);
        assert_int_equal(slots_out_read(p->dir, inc, 2, 17, 5, &storage, &out, &err),
                         -ERR_PROTOCOL);
        assert_int_equal(slots_out_write(p->dir, inc, 2, 17, 5, &in, &err), 0);
    }
    for (size_t at = 0; at < header; at++) {
        int fd = open(p->path, O_RDWR | O_CLOEXEC);
        assert_int_equal(pwrite(fd, "~", 1, (off_t)at), 1);
        close(fd);
        assert_int_equal(slots_out_read(p->dir, inc, 2, 17, 5, &storage, &out, &err),
                         -ERR_PROTOCOL);
        assert_int_equal(slots_out_write(p->dir, inc, 2, 17, 5, &in, &err), 0);
    }
    buf_done(&storage);
}

static void sizes_have_a_cap(void **state)
{
    struct place *p = *state;
    char *big = xcalloc(1, SLOTS_OUT_MAX_BYTES + 1);
    struct slots_out in = {.result = {big, SLOTS_OUT_MAX_BYTES}}, out = {0};
    struct err err = {0};
    struct buf storage = BUF_INIT;
    assert_int_equal(slots_out_write(p->dir, inc, 2, 17, 1, &in, &err), 0);
    assert_int_equal(slots_out_read(p->dir, inc, 2, 17, 1, &storage, &out, &err), 0);
    assert_int_equal(out.result.len, SLOTS_OUT_MAX_BYTES);
    in.result.len++;
    assert_int_equal(slots_out_write(p->dir, inc, 2, 17, 1, &in, &err), -ERR_TOO_BIG);
    assert_int_equal(truncate(p->path, INT32_MAX), 0);
    err = (struct err){0};
    assert_int_equal(slots_out_read(p->dir, inc, 2, 17, 1, &storage, &out, &err), -ERR_PROTOCOL);
    buf_done(&storage);
    free(big);
}

static void an_unwritable_directory_is_an_error(void **state)
{
    (void)state;
    struct slots_out in = {.message = text("m")};
    struct err err = {0};
    assert_int_equal(slots_out_write("/nowhere/at/all", inc, 0, 0, 1, &in, &err), -ERR_SYSTEM);
    assert_non_null(strstr(err.text, "/nowhere/at/all"));
    char *dir = xcalloc(1, 5000);
    memset(dir, 'd', 4999);
    assert_int_equal(slots_out_write(dir, inc, 0, 0, 1, &in, &err), -ERR_TOO_BIG);
    free(dir);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_written_is_read),
        TEST(empty_parts_and_any_bytes_are_fine),
        TEST(a_later_job_replaces_it_and_nothing_else_is_left),
        TEST(any_damage_is_noticed),
        TEST(sizes_have_a_cap),
        TEST(an_unwritable_directory_is_an_error),
    };
    return cmocka_run_group_tests_name("slots_out", tests, NULL, NULL);
}

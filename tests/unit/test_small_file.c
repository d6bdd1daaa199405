/* Small files, read whole. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/small_file.h"

static void a_file_is_read_whole(void **state)
{
    (void)state;
    static char text[256 * 1024], again[256 * 1024];
    /* More than the kernel hands out at a time: it has to be asked again. */
    ssize_t n = small_file_read("/proc/self/smaps", text, sizeof text);
    assert_in_range(n, 4097, sizeof text - 2);
    assert_int_equal(strlen(text), n);
    assert_int_equal(text[n - 1], '\n');
    assert_non_null(strstr(text, "[stack]"));
    assert_true(small_file_read("/proc/self/cmdline", again, sizeof again) > 0);
    assert_non_null(strstr(again, "test_small_file"));
}

static void what_does_not_fit_is_cut(void **state)
{
    (void)state;
    char text[9] = "????????";
    assert_int_equal(small_file_read("/proc/version", text, sizeof text), 8);
    assert_string_equal(text, "Linux ve");
    assert_int_equal(small_file_read("/proc/version", text, 1), 0);
    assert_string_equal(text, "");
}

static void nothing_is_an_empty_text(void **state)
{
    (void)state;
    char text[8] = "???????";
    assert_int_equal(small_file_read("/dev/null", text, sizeof text), 0);
    assert_string_equal(text, "");
    memset(text, '?', sizeof text);
    errno = 0;
    assert_int_equal(small_file_read("/proc/self/no such file", text, sizeof text), -1);
    assert_int_equal(errno, ENOENT);
    assert_string_equal(text, "");
    memset(text, '?', sizeof text);
    errno = 0;
    assert_int_equal(small_file_read("/proc/self", text, sizeof text), -1); /* opens, and no more */
    assert_int_equal(errno, EISDIR);
    assert_string_equal(text, "");
}

static void the_boot_has_an_id(void **state)
{
    (void)state;
    char id[40], again[40], cut[9];
    boot_id_read(id, sizeof id);
    boot_id_read(again, sizeof again);
    assert_int_equal(strlen(id), 36);
    assert_string_equal(id, again);
    boot_id_read(cut, sizeof cut);
    assert_int_equal(strlen(cut), 8);
    assert_memory_equal(id, cut, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_read_whole),
        cmocka_unit_test(what_does_not_fit_is_cut),
        cmocka_unit_test(nothing_is_an_empty_text),
        cmocka_unit_test(the_boot_has_an_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

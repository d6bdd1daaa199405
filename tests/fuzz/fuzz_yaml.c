/* A configuration from any bytes: what loads is printed for a runner, loads again and prints the
 * same; what does not load says why, in one line per problem. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect_same(const struct config *c)
{
    struct buf first = BUF_INIT, second = BUF_INIT;
    struct config again = {0};
    struct config_errors errors;
    config_print(c, true, &first);
    if (config_load_text("printed", c->directory, buf_span(&first), &again, &errors) < 0)
        abort();
    config_print(&again, true, &second);
    if (first.len != second.len || memcmp(first.data, second.data, first.len) != 0)
        abort();
    config_done(&again);
    buf_done(&first);
    buf_done(&second);
}

static void expect_messages(const struct config_errors *errors)
{
    if (errors->count == 0)
        abort();
    for (int i = 0; i < errors->count; i++) {
        char line[ERR_TEXT_BYTES + ERR_FILE_BYTES + 32];
        if (errors->items[i].code == 0 || errors->items[i].text[0] == '\0' ||
            strpbrk(err_format(&errors->items[i], line, sizeof line), "\n\r\x1b") != NULL)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = {(const char *)data, size};
    struct config c = {0};
    struct config_errors errors;
    if (config_load_text("fuzz", "/etc/bucketline", text, &c, &errors) < 0) {
        expect_messages(&errors);
        config_errors_done(&errors);
        return 0;
    }
    struct buf shown = BUF_INIT;
    config_print(&c, false, &shown);
    buf_done(&shown);
    expect_same(&c);
    config_done(&c);
    return 0;
}

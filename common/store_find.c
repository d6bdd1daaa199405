#include "common/store_find.h"

#include <string.h>

static const char list_start[] = "queue:";

/* Appends `text` so that SCAN's MATCH takes it literally. */
static void add_literal(struct buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (strchr("*?[]\\^", *text) != NULL)
            buf_add_char(out, '\\');
        buf_add_char(out, *text);
    }
}

void store_cmd_find(struct buf *out, enum store_find what, const char *prefix, struct span cursor)
{
    struct buf pattern = BUF_INIT;
    if (what == FIND_COMPANIONS)
        buf_add_char(&pattern, '{');
    add_literal(&pattern, prefix);
    buf_add_str(&pattern, what == FIND_COMPANIONS ? "*}:*" : "queue:*");
    store_begin(out, what == FIND_LISTS ? 8 : 6);
    store_arg_str(out, "SCAN");
    store_arg(out, cursor);
    store_arg_str(out, "MATCH");
    store_arg(out, buf_span(&pattern));
    store_arg_str(out, "COUNT");
    store_arg_int(out, STORE_FIND_PAGE);
    if (what == FIND_LISTS) {
        store_arg_str(out, "TYPE");
        store_arg_str(out, "list");
    }
    buf_done(&pattern);
}

static bool starts_with(struct span s, const char *start)
{
    size_t len = strlen(start);
    return s.len > len && memcmp(s.ptr, start, len) == 0;
}

/* The part of a companion that follows its braces must be one of a queue's. */
static bool is_companion(struct span part)
{
    static const char *const parts[] = {"run",  "scheduled", "retry",  "parked",
                                        "dead", "outbox",    "paused", "hands"};
    for (size_t i = 0; i < ARRAY_COUNT(parts); i++)
        if (part.len == strlen(parts[i]) && memcmp(part.ptr, parts[i], part.len) == 0)
            return true;
    return false;
}

bool store_found_list(enum store_find what, const char *prefix, struct span key,
                      struct span *ret_list, struct span *ret_name)
{
    struct span list = key;
    if (what == FIND_COMPANIONS) {
        const char *close = key.len > 3 ? memchr(key.ptr, '}', key.len) : NULL;
        if (close == NULL || key.ptr[0] != '{' || close + 1 >= key.ptr + key.len || close[1] != ':')
            return false;
        struct span part = {close + 2, (size_t)(key.ptr + key.len - close - 2)};
        if (!is_companion(part))
            return false;
        list = (struct span){key.ptr + 1, (size_t)(close - key.ptr - 1)};
    }
    if (list.len == 0 || memchr(list.ptr, '{', list.len) != NULL ||
        memchr(list.ptr, '}', list.len) != NULL || memchr(list.ptr, '\0', list.len) != NULL ||
        store_is_reply_key(list))
        return false;
    struct span name = list;
    if (prefix[0] != '\0') {
        if (!starts_with(name, prefix))
            return false;
        name.ptr += strlen(prefix);
        name.len -= strlen(prefix);
    }
    if (starts_with(name, list_start)) {
        name.ptr += sizeof list_start - 1;
        name.len -= sizeof list_start - 1;
    } else if (what == FIND_LISTS) {
        return false;
    }
    *ret_list = list;
    *ret_name = name;
    return true;
}

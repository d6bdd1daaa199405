#include "common/document_build.h"

#include <string.h>

#include "common/when.h"

static void add_name(struct buf *out, const char *name)
{
    buf_add_str(out, ",\"");
    buf_add_str(out, name); /* names are ours and need no escapes */
    buf_add_str(out, "\":");
}

static void add_text(struct buf *out, const char *name, const char *value)
{
    if (value == NULL)
        return;
    add_name(out, name);
    buf_add_json_string(out, SPAN_OF_STR(value));
}

static void add_json(struct buf *out, const char *name, struct span value)
{
    if (value.len == 0)
        return;
    add_name(out, name);
    buf_add_span(out, value);
}

/* Milliseconds as a number of seconds, exactly: 90, 0.25. */
static void add_seconds(struct buf *out, const char *name, int64_t ms)
{
    if (ms < 0)
        return;
    add_name(out, name);
    buf_add_int(out, ms / 1000);
    int rest = (int)(ms % 1000);
    if (rest == 0)
        return;
    char digits[4] = {(char)('0' + rest / 100), (char)('0' + rest / 10 % 10),
                      (char)('0' + rest % 10), '\0'};
    for (int i = 2; digits[i] == '0'; i--)
        digits[i] = '\0';
    buf_add_char(out, '.');
    buf_add_str(out, digits);
}

/* A number of at least 1e11 is read as milliseconds; an earlier time is written as seconds. */
static void add_time(struct buf *out, const char *name, int64_t ms)
{
    if (ms >= INT64_C(100000000000)) {
        add_name(out, name);
        buf_add_int(out, ms);
    } else {
        add_seconds(out, name, ms);
    }
}

static void add_backoff(struct buf *out, const struct document_parts *p)
{
    if (p->backoff_type == NULL)
        return;
    add_name(out, "backoff");
    buf_add_str(out, "{\"type\":");
    buf_add_json_string(out, SPAN_OF_STR(p->backoff_type));
    add_seconds(out, "base", p->backoff_base_ms);
    add_seconds(out, "max", p->backoff_max_ms);
    buf_add_char(out, '}');
}

static void add_unique(struct buf *out, const struct document_parts *p)
{
    if (p->unique_key == NULL)
        return;
    add_name(out, "unique");
    buf_add_str(out, "{\"key\":");
    buf_add_json_string(out, SPAN_OF_STR(p->unique_key));
    add_seconds(out, "ttl", p->unique_ttl_ms);
    add_text(out, "until", p->unique_until);
    buf_add_char(out, '}');
}

static void add_tags(struct buf *out, const struct document_parts *p)
{
    if (p->tag_count == 0)
        return;
    add_name(out, "tags");
    for (int i = 0; i < p->tag_count; i++) {
        buf_add_char(out, i == 0 ? '[' : ',');
        buf_add_json_string(out, SPAN_OF_STR(p->tags[i]));
    }
    buf_add_char(out, ']');
}

static void add_meta(struct buf *out, const struct document_parts *p)
{
    if (p->meta_count == 0)
        return;
    add_name(out, "meta");
    for (int i = 0; i < p->meta_count; i++) {
        buf_add_char(out, i == 0 ? '{' : ',');
        buf_add_json_string(out, SPAN_OF_STR(p->meta_keys[i]));
        buf_add_char(out, ':');
        buf_add_json_string(out, SPAN_OF_STR(p->meta_values[i]));
    }
    buf_add_char(out, '}');
}

void document_build(struct buf *out, const struct document_parts *p)
{
    buf_add_str(out, "{\"type\":");
    buf_add_json_string(out, SPAN_OF_STR(p->type));
    add_text(out, "id", p->id);
    add_json(out, "args", p->args);
    add_time(out, "at", p->at_ms);
    add_time(out, "expires_at", p->expires_at_ms);
    if (p->retries >= 0) {
        add_name(out, "retry");
        buf_add_int(out, p->retries);
    }
    add_backoff(out, p);
    add_seconds(out, "timeout", p->timeout_ms);
    if (p->no_dead)
        buf_add_str(out, ",\"dead\":false");
    add_unique(out, p);
    add_text(out, "group", p->group);
    add_seconds(out, "keep", p->keep_ms);
    add_text(out, "reply_to", p->reply_to);
    add_json(out, "on_success", p->on_success);
    add_json(out, "on_failure", p->on_failure);
    add_tags(out, p);
    add_meta(out, p);
    add_time(out, "enqueued_at", p->enqueued_at_ms);
    buf_add_char(out, '}');
}

/* Takes the next part of "a:b:c" off the front of `rest`; false when nothing is left. */
static bool next_part(const char **rest, struct span *ret)
{
    if (*rest == NULL)
        return false;
    const char *colon = strchr(*rest, ':');
    *ret = (struct span){*rest, colon != NULL ? (size_t)(colon - *rest) : strlen(*rest)};
    *rest = colon != NULL ? colon + 1 : NULL;
    return true;
}

int document_parts_backoff(struct document_parts *p, const char *text, char type_storage[8],
                           struct err *err)
{
    const char *rest = text;
    struct span part = {0};
    char type[8] = "";
    int64_t base_ms = -1, max_ms = -1;
    enum backoff_type known;
    (void)next_part(&rest, &part); /* there always is a first */
    if (part.len < sizeof type && part.len > 0)
        memcpy(type, part.ptr, part.len);
    if (backoff_type_parse(type, &known) != 0)
        return err_set(err, ERR_UNKNOWN, "backoff must be poly, fixed or exp, not \"%.*s\"",
                       (int)part.len, part.ptr);
    int rc = 0;
    if (next_part(&rest, &part))
        rc = duration_parse(part, &base_ms, err);
    if (rc == 0 && next_part(&rest, &part))
        rc = duration_parse(part, &max_ms, err);
    if (rc == 0 && rest != NULL)
        rc = err_set(err, ERR_SYNTAX, "backoff is TYPE[:BASE[:MAX]], not \"%s\"", text);
    if (rc != 0) {
        err_prefix(err, "backoff \"%s\"", text);
        return rc;
    }
    memcpy(type_storage, type, sizeof type);
    p->backoff_type = type_storage;
    p->backoff_base_ms = base_ms;
    p->backoff_max_ms = max_ms;
    return 0;
}

size_t document_split_unique(const char *text, int64_t *ret_ttl_ms)
{
    *ret_ttl_ms = -1;
    size_t len = strlen(text);
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon == text)
        return len;
    const char *ttl = colon + 1;
    if (*ttl == '\0')
        return len - 1;
    char last = text[len - 1];
    bool has_unit = *ttl >= '0' && *ttl <= '9' && (last < '0' || last > '9');
    if (!has_unit || duration_parse(SPAN_OF_STR(ttl), ret_ttl_ms, NULL) != 0)
        return len;
    return (size_t)(colon - text);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

struct span json_trim(struct span text)
{
    while (text.len > 0 && is_blank(text.ptr[0])) {
        text.ptr++;
        text.len--;
    }
    while (text.len > 0 && is_blank(text.ptr[text.len - 1]))
        text.len--;
    return text;
}

#include "common/record.h"

#include <stdlib.h>
#include <string.h>

#include "common/json_span.h"
#include "common/when.h"

enum {
    COUNTER_MAX = 1000000,
    /* what we write must be readable whatever limits.nesting says */
    HEAD_DEPTH_MIN = 16,
    VERSION_DIGITS_MAX = 9,
    LENGTH_DIGITS_MAX = 18,
    /* with every byte escaped these and RECORD_MESSAGE_BYTES still fit RECORD_HEAD_BYTES */
    STDERR_BYTES = 3072,
    HISTORY_MESSAGE_BYTES = 256,
};

/* ---- the members of a wrapper between the two that frame it -------------------------------- */

enum field_kind { FIELD_TEXT = 0, FIELD_COUNTER, FIELD_TIME, FIELD_RAW };

/* The order is the order of writing: should the head grow too long, it is cut from the end. */
static const struct field {
    const char *name;
    enum field_kind kind;
    enum json_kind json_kind;
    size_t offset; /* in struct record */
    size_t size; /* of a text */
} fields[] = {
#define TEXT(name)                                                                                 \
    {                                                                                              \
#name, FIELD_TEXT, JK_STRING, offsetof(struct record, name),                               \
            sizeof((struct record *)NULL)->name                                                    \
    }
#define COUNTER(name)                                                                              \
    {                                                                                              \
#name, FIELD_COUNTER, JK_NUMBER, offsetof(struct record, name), 0                          \
    }
#define TIME(name)                                                                                 \
    {                                                                                              \
#name, FIELD_TIME, JK_NUMBER, offsetof(struct record, name##_ms), 0                        \
    }
#define RAW(name, json)                                                                            \
    {                                                                                              \
#name, FIELD_RAW, json, offsetof(struct record, name), 0                                   \
    }
    TEXT(uid),
    TEXT(id),
    COUNTER(attempt),
    COUNTER(crashes),
    COUNTER(lost),
    COUNTER(snoozes),
    COUNTER(interrupted),
    TIME(first_failed_at),
    TIME(failed_at),
    TIME(parked_at),
    TIME(dead_at),
    TEXT(reason),
    RAW(queue, JK_STRING),
    RAW(error, JK_OBJECT),
    RAW(history, JK_ARRAY),
#undef TEXT
#undef COUNTER
#undef TIME
#undef RAW
};
enum { FIELD_COUNT = ARRAY_COUNT(fields) };

/* Field `f` of a record, as the type its kind says. */
static void *field_of(struct record *r, const struct field *f)
{
    return (char *)r + f->offset;
}

static const void *const_field_of(const struct record *r, const struct field *f)
{
    return (const char *)r + f->offset;
}

/* An integer cut at its limits, however many digits it has. */
static bool read_clamped(struct span value, int64_t max, int64_t *ret)
{
    int64_t v;
    if (!json_number_int64(value, &v)) {
        for (size_t i = 0; i < value.len; i++)
            if (value.ptr[i] == '.' || value.ptr[i] == 'e' || value.ptr[i] == 'E')
                return false;
        v = value.ptr[0] == '-' ? 0 : max;
    }
    *ret = v < 0 ? 0 : v > max ? max : v;
    return true;
}

static bool read_field(struct record *r, const struct field *f, const struct json_member *m)
{
    int64_t v;
    if (m->kind != f->json_kind)
        return false;
    switch (f->kind) {
    case FIELD_TEXT:
        return json_string_copy(m->value, field_of(r, f), f->size) >= 0;
    case FIELD_COUNTER:
        if (!read_clamped(m->value, COUNTER_MAX, &v))
            return false;
        *(int *)field_of(r, f) = (int)v;
        return true;
    case FIELD_TIME:
        return read_clamped(m->value, WHEN_MAX_TIME_MS, field_of(r, f));
    case FIELD_RAW:
        *(struct span *)field_of(r, f) = m->value;
        return true;
    }
    return false;
}

static void write_field(struct buf *out, const struct record *r, const struct field *f)
{
    const void *value = const_field_of(r, f);
    bool given = false;
    switch (f->kind) {
    case FIELD_TEXT:
        given = *(const char *)value != '\0';
        break;
    case FIELD_COUNTER:
        given = *(const int *)value > 0;
        break;
    case FIELD_TIME:
        given = *(const int64_t *)value > 0;
        break;
    case FIELD_RAW:
        given = ((const struct span *)value)->len > 0;
        break;
    }
    if (!given)
        return;
    buf_add_str(out, ",\"");
    buf_add_str(out, f->name);
    buf_add_str(out, "\":");
    switch (f->kind) {
    case FIELD_TEXT:
        buf_add_json_string(out, SPAN_OF_STR((const char *)value));
        break;
    case FIELD_COUNTER:
        buf_add_int(out, *(const int *)value < COUNTER_MAX ? *(const int *)value : COUNTER_MAX);
        break;
    case FIELD_TIME:
        buf_add_int(out, *(const int64_t *)value);
        break;
    case FIELD_RAW:
        buf_add_span(out, *(const struct span *)value);
        break;
    }
}

/* ---- reading ----------------------------------------------------------------------------- */

struct prefix {
    int64_t version;
    int64_t length; /* job_bytes or raw_bytes */
    bool raw;
    size_t end; /* behind the second number */
};

static bool take_text(struct span s, size_t *at, const char *text)
{
    size_t len = strlen(text);
    if (s.len - *at < len || memcmp(s.ptr + *at, text, len) != 0)
        return false;
    *at += len;
    return true;
}

/* Digits in their one canonical spelling. */
static bool take_digits(struct span s, size_t *at, size_t max, int64_t *ret)
{
    size_t from = *at;
    int64_t v = 0;
    for (; *at < s.len && s.ptr[*at] >= '0' && s.ptr[*at] <= '9'; (*at)++) {
        if (*at - from == max)
            return false;
        v = v * 10 + (s.ptr[*at] - '0');
    }
    if (*at == from || (s.ptr[from] == '0' && *at - from > 1))
        return false;
    *ret = v;
    return true;
}

static bool take_prefix(struct span s, struct prefix *ret)
{
    size_t at = 0;
    if (!take_text(s, &at, "{\"v\":") || !take_digits(s, &at, VERSION_DIGITS_MAX, &ret->version) ||
        ret->version < 1)
        return false;
    ret->raw = !take_text(s, &at, ",\"job_bytes\":");
    if (ret->raw && !take_text(s, &at, ",\"raw_bytes\":"))
        return false;
    if (!take_digits(s, &at, LENGTH_DIGITS_MAX, &ret->length))
        return false;
    ret->end = at;
    return at < s.len && s.ptr[at] == ',' && s.ptr[s.len - 1] == '}';
}

struct head {
    struct record record;
    unsigned seen; /* bits of `fields` */
    unsigned members; /* how many came so far */
    struct prefix prefix;
    bool complete; /* the last member, raw or raw64, was here */
};

/* Any refusal makes the whole text a plain document: which one it was interests nobody. */
enum { REFUSE = -ERR_INVALID };

static int read_raw_member(struct head *h, const struct json_member *m, bool raw64)
{
    if (m->kind != JK_STRING || m->offset > RECORD_HEAD_BYTES)
        return REFUSE;
    h->complete = true;
    h->record.kind = RECORD_RAW;
    h->record.job = m->value;
    h->record.raw64 = raw64;
    h->record.raw_bytes = (size_t)h->prefix.length;
    return 0;
}

static int on_head_member(void *arg, const struct json_member *m, struct err *err)
{
    static const char *const framing[] = {"v", "job_bytes", "raw_bytes", "job", "raw", "raw64"};
    struct head *h = arg;
    (void)err;
    if (h->complete)
        return REFUSE;
    if (h->members++ < 2) /* v and the length, which take_prefix() has read */
        return 0;
    if (h->prefix.raw && (json_key_is(m->key, "raw") || json_key_is(m->key, "raw64")))
        return read_raw_member(h, m, json_key_is(m->key, "raw64"));
    for (size_t i = 0; i < ARRAY_COUNT(framing); i++)
        if (json_key_is(m->key, framing[i]))
            return REFUSE;
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        if (!json_key_is(m->key, fields[i].name))
            continue;
        if (h->seen & 1u << i || !read_field(&h->record, &fields[i], m))
            return REFUSE;
        h->seen |= 1u << i;
        return 0;
    }
    return 0;
}

/* The document is where job_bytes says; only what stands before it is JSON of ours. */
static bool parse_wrapped(struct span bytes, int depth, struct head *h)
{
    static const char tail[] = ",\"job\":";
    size_t frame = h->prefix.end + (sizeof tail - 1) + 1;
    if (bytes.len < frame || (uint64_t)h->prefix.length > bytes.len - frame)
        return false;
    size_t job_at = bytes.len - 1 - (size_t)h->prefix.length;
    size_t head_len = job_at - (sizeof tail - 1);
    if (head_len > RECORD_HEAD_BYTES || memcmp(bytes.ptr + head_len, tail, sizeof tail - 1) != 0)
        return false;
    h->record.kind = RECORD_WRAPPED;
    h->record.job = (struct span){bytes.ptr + job_at, (size_t)h->prefix.length};
    return json_open_object_scan((struct span){bytes.ptr, head_len}, depth, on_head_member, h,
                                 NULL) == 0;
}

static bool parse_raw(struct span bytes, int depth, struct head *h)
{
    if (json_object_scan(bytes, depth, on_head_member, h, NULL) < 0 || !h->complete)
        return false;
    if (h->record.raw64)
        return true;
    struct buf text = BUF_INIT;
    json_string_decode(h->record.job, &text);
    bool same = text.len == h->record.raw_bytes;
    buf_done(&text);
    return same;
}

void record_parse(struct span bytes, int max_depth, struct record *ret)
{
    struct prefix prefix;
    int depth = max_depth > HEAD_DEPTH_MIN ? max_depth : HEAD_DEPTH_MIN;
    if (take_prefix(bytes, &prefix)) {
        struct head h = {.record = RECORD_INIT, .prefix = prefix};
        if (prefix.version > RECORD_VERSION) {
            *ret = (struct record){.kind = RECORD_NEWER, .job = bytes};
            return;
        }
        if (prefix.raw ? parse_raw(bytes, depth, &h) : parse_wrapped(bytes, depth, &h)) {
            *ret = h.record;
            return;
        }
    }
    *ret = (struct record){.kind = RECORD_PLAIN, .job = bytes};
}

/* ---- writing ----------------------------------------------------------------------------- */

void record_write(struct buf *out, const struct record *r)
{
    if (r->kind == RECORD_NEWER)
        BUG("writing a record of a newer version");
    bool raw = r->kind == RECORD_RAW;
    buf_add_str(out, raw ? "{\"v\":1,\"raw_bytes\":" : "{\"v\":1,\"job_bytes\":");
    buf_add_int(out, (int64_t)(raw ? r->raw_bytes : r->job.len));
    _Static_assert(RECORD_VERSION == 1, "the prefix says 1");

    size_t limit = RECORD_HEAD_BYTES - 64; /* 64: more than the prefix */
    size_t start = out->len;
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        size_t before = out->len;
        write_field(out, r, &fields[i]);
        if (out->len - start > limit) {
            out->len = before;
            break;
        }
    }
    buf_add_str(out, raw ? (r->raw64 ? ",\"raw64\":" : ",\"raw\":") : ",\"job\":");
    buf_add_span(out, r->job);
    buf_add_char(out, '}');
}

void record_from_raw(struct span bytes, struct buf *storage, struct record *ret)
{
    bool text = utf8_valid(bytes) && (bytes.len == 0 || memchr(bytes.ptr, 0, bytes.len) == NULL);
    size_t at = storage->len;
    if (text) {
        buf_add_json_string(storage, bytes);
    } else {
        buf_add_char(storage, '"');
        buf_add_base64(storage, bytes);
        buf_add_char(storage, '"');
    }
    *ret = (struct record){
        .kind = RECORD_RAW,
        .job = {storage->data + at, storage->len - at},
        .raw64 = !text,
        .raw_bytes = bytes.len,
    };
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Strict: padded, and no bits set that mean nothing. */
static bool base64_decode(struct span text, struct buf *out)
{
    if (text.len % 4 != 0)
        return false;
    for (size_t i = 0; i < text.len; i += 4) {
        const char *p = text.ptr + i;
        bool last = i + 4 == text.len;
        int pad = last && p[3] == '=' ? (p[2] == '=' ? 2 : 1) : 0;
        uint32_t v = 0;
        for (int k = 0; k < 4; k++) {
            int digit = k < 4 - pad ? base64_value(p[k]) : 0;
            if (digit < 0)
                return false;
            v = v << 6 | (uint32_t)digit;
        }
        if (v & ((1u << (8 * pad)) - 1))
            return false;
        for (int k = 0; k < 3 - pad; k++)
            buf_add_char(out, (char)(v >> (16 - 8 * k)));
    }
    return true;
}

int record_unwrap(const struct record *r, struct buf *out, struct err *err)
{
    if (r->kind != RECORD_RAW) {
        buf_add_span(out, r->job);
        return 0;
    }
    if (!r->raw64) {
        json_string_decode(r->job, out);
        return 0;
    }
    struct buf text = BUF_INIT, bytes = BUF_INIT;
    int rc = 0;
    json_string_decode(r->job, &text);
    if (base64_decode(buf_span(&text), &bytes) && bytes.len == r->raw_bytes)
        buf_add_span(out, buf_span(&bytes));
    else
        rc = err_set(err, ERR_SYNTAX, "member \"raw64\" is no base64 of %zu bytes", r->raw_bytes);
    buf_done(&text);
    buf_done(&bytes);
    return rc;
}

/* ---- failures ---------------------------------------------------------------------------- */

static bool is_inside_character(struct span s, size_t at)
{
    return at < s.len && ((unsigned char)s.ptr[at] & 0xc0) == 0x80;
}

/* At most `max` bytes of the front / of the end, not cutting a character in two. */
static struct span front_of(struct span s, size_t max)
{
    if (s.len <= max)
        return s;
    size_t cut = max;
    while (cut + 4 > max && cut > 0 && is_inside_character(s, cut))
        cut--;
    return (struct span){s.ptr, cut};
}

static struct span end_of(struct span s, size_t max)
{
    if (s.len <= max)
        return s;
    size_t from = s.len - max;
    while (from < s.len - max + 4 && is_inside_character(s, from))
        from++;
    return (struct span){s.ptr + from, s.len - from};
}

static void add_number(struct buf *out, const char *name, int64_t v)
{
    buf_add_str(out, ",\"");
    buf_add_str(out, name);
    buf_add_str(out, "\":");
    buf_add_int(out, v);
}

static void add_failure(struct buf *out, const struct failure *f, size_t message_bytes,
                        bool with_stderr)
{
    buf_add_str(out, "{\"kind\":");
    buf_add_json_string(out, SPAN_OF_STR(f->kind != NULL ? f->kind : "failed"));
    if (f->message.len > 0) {
        buf_add_str(out, ",\"message\":");
        buf_add_json_string(out, front_of(f->message, message_bytes));
    }
    add_number(out, "attempt", f->attempt);
    add_number(out, "at", f->at_ms);
    if (f->exit_code >= 0)
        add_number(out, "exit_code", f->exit_code);
    if (f->signal > 0)
        add_number(out, "signal", f->signal);
    if (f->run_ms >= 0)
        add_number(out, "run_ms", f->run_ms);
    if (f->max_rss_bytes >= 0)
        add_number(out, "max_rss_bytes", f->max_rss_bytes);
    if (f->cpu_ms >= 0)
        add_number(out, "cpu_ms", f->cpu_ms);
    if (with_stderr && f->stderr_tail.len > 0) {
        buf_add_str(out, ",\"stderr\":");
        buf_add_json_string(out, end_of(f->stderr_tail, STDERR_BYTES));
    }
    buf_add_char(out, '}');
}

struct copying {
    struct buf *out;
    int64_t skip; /* items still to be left out */
    int64_t count;
};

static int on_history_item(void *arg, struct span item, enum json_kind kind, struct err *err)
{
    struct copying *c = arg;
    (void)kind;
    (void)err;
    c->count++;
    if (c->out == NULL || c->skip-- > 0)
        return 0;
    buf_add_span(c->out, item);
    buf_add_char(c->out, ',');
    return 0;
}

/* All but the oldest items of `history`, each with a comma behind it. */
static void add_history(struct buf *out, struct span history)
{
    struct copying c = {0};
    if (history.len == 0 || json_array_scan(history, INT32_MAX, on_history_item, &c, NULL) < 0)
        return;
    c = (struct copying){.out = out, .skip = c.count - (RECORD_HISTORY_MAX - 1)};
    if (json_array_scan(history, INT32_MAX, on_history_item, &c, NULL) < 0)
        BUG("a valid history became invalid");
}

void record_add_failure(struct record *r, const struct failure *f, struct buf *storage)
{
    struct buf fresh = BUF_INIT;
    add_failure(&fresh, f, RECORD_MESSAGE_BYTES, true);
    size_t error_len = fresh.len;
    buf_add_char(&fresh, '[');
    add_history(&fresh, r->history);
    add_failure(&fresh, f, HISTORY_MESSAGE_BYTES, false);
    buf_add_char(&fresh, ']');

    /* Appending may move the storage, and any span of the record may point into it. */
    uintptr_t old = (uintptr_t)storage->data;
    size_t old_len = storage->len;
    buf_add_span(storage, buf_span(&fresh));
    struct span *const moved[] = {&r->job, &r->queue, &r->error, &r->history};
    for (size_t i = 0; i < ARRAY_COUNT(moved); i++) {
        uintptr_t at = (uintptr_t)moved[i]->ptr;
        if (moved[i]->len > 0 && at >= old && at - old < old_len)
            moved[i]->ptr = storage->data + (at - old);
    }
    r->error = (struct span){storage->data + old_len, error_len};
    r->history = (struct span){storage->data + old_len + error_len, fresh.len - error_len};
    buf_done(&fresh);
}

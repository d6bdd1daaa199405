#include "common/document.h"

#include <math.h>
#include <string.h>

#include "common/json_span.h"
#include "common/when.h"

/* What a member means.  Two spellings of one member share its value. */
enum member {
    MEMBER_TYPE = 0,
    MEMBER_ID,
    MEMBER_ARGS,
    MEMBER_AT,
    MEMBER_DELAY,
    MEMBER_EXPIRES_AT,
    MEMBER_RETRY,
    MEMBER_BACKOFF,
    MEMBER_TIMEOUT,
    MEMBER_DEAD,
    MEMBER_UNIQUE,
    MEMBER_GROUP,
    MEMBER_KEEP,
    MEMBER_REPLY_TO,
    MEMBER_ON_SUCCESS,
    MEMBER_ON_FAILURE,
    MEMBER_TAGS,
    MEMBER_META,
    MEMBER_CREATED_AT,
    MEMBER_ENQUEUED_AT,
    MEMBER_QUEUE, /* of a follow-up only */
};

/* Every known spelling, the shortest first: a key of `len` bytes is looked for from
 * first_of_len[len] on. */
static const struct spelling {
    const char *name;
    enum member member;
} spellings[] = {
    {"at", MEMBER_AT},
    {"id", MEMBER_ID},
    {"jid", MEMBER_ID},
    {"type", MEMBER_TYPE},
    {"args", MEMBER_ARGS},
    {"dead", MEMBER_DEAD},
    {"keep", MEMBER_KEEP},
    {"meta", MEMBER_META},
    {"tags", MEMBER_TAGS},
    {"class", MEMBER_TYPE},
    {"retry", MEMBER_RETRY},
    {"queue", MEMBER_QUEUE},
    {"delay", MEMBER_DELAY},
    {"group", MEMBER_GROUP},
    {"unique", MEMBER_UNIQUE},
    {"jobtype", MEMBER_TYPE},
    {"timeout", MEMBER_TIMEOUT},
    {"backoff", MEMBER_BACKOFF},
    {"reply_to", MEMBER_REPLY_TO},
    {"created_at", MEMBER_CREATED_AT},
    {"expires_at", MEMBER_EXPIRES_AT},
    {"on_success", MEMBER_ON_SUCCESS},
    {"on_failure", MEMBER_ON_FAILURE},
    {"enqueued_at", MEMBER_ENQUEUED_AT},
    {"reserve_for", MEMBER_TIMEOUT},
};
enum { SPELLING_BYTES_MAX = 11, NONE = ARRAY_COUNT(spellings) };
static const unsigned char first_of_len[SPELLING_BYTES_MAX + 2] = {0,  0,  0,  2,  3,  9,   14,
                                                                   15, 18, 19, 19, 23, NONE};

/* LIMIT: each level of follow-ups is read once more than the one around it. */
enum { FOLLOW_UPS_MAX = 32 };

struct reading {
    struct document *document;
    const struct document_limits *limits;
    unsigned members; /* bits of enum member that were given */
    unsigned seen; /* bits of `spellings` */
    int level; /* 0 = the document, 1 = its follow-up, 2 = that one's, ... */
};

static const struct spelling *find_spelling(struct span key)
{
    if (key.len <= SPELLING_BYTES_MAX)
        for (size_t i = first_of_len[key.len]; i < first_of_len[key.len + 1]; i++)
            if (spellings[i].name[0] == key.ptr[0] &&
                memcmp(spellings[i].name, key.ptr, key.len) == 0)
                return &spellings[i];
    if (memchr(key.ptr, '\\', key.len) != NULL)
        for (size_t i = 0; i < NONE; i++)
            if (json_key_is(key, spellings[i].name))
                return &spellings[i];
    return NULL;
}

/* Names the member before whatever a parser said about its value. */
static int in_member(const char *name, int rc, struct err *err)
{
    if (rc < 0)
        err_prefix(err, "member \"%s\"", name);
    return rc;
}

static int wrong_type(const char *name, const char *wanted, enum json_kind kind, struct err *err)
{
    return err_set(err, ERR_TYPE, "member \"%s\" must be %s, not %s", name, wanted,
                   json_kind_name(kind));
}

/* ---- values ------------------------------------------------------------------------------ */

/* A text that names something: 1 to `size` - 1 bytes, no NUL. */
static int read_name(const char *name, const struct json_member *m, char *out, size_t size,
                     struct err *err)
{
    if (m->kind != JK_STRING)
        return wrong_type(name, "a string", m->kind, err);
    if (json_string_copy(m->value, out, size) < 1)
        return err_set(err, ERR_INVALID, "member \"%s\" must have 1 to %zu bytes and no NUL", name,
                       size - 1);
    return 0;
}

/* The text of a short string, or false if it is too long for any meaning. */
static bool short_text(struct span value, char out[64], struct span *ret)
{
    int len = json_string_copy(value, out, 64);
    if (len < 0)
        return false;
    *ret = (struct span){out, (size_t)len};
    return true;
}

static int read_duration(const char *name, const struct json_member *m, int64_t *ret_ms,
                         struct err *err)
{
    char copy[64];
    struct span text;
    double seconds;
    int rc;
    if (m->kind == JK_NUMBER)
        rc = duration_from_seconds(json_number_double(m->value, &seconds) ? seconds : INFINITY,
                                   ret_ms, err);
    else if (m->kind != JK_STRING)
        return wrong_type(name, "a number of seconds or a text like \"5m\"", m->kind, err);
    else if (short_text(m->value, copy, &text))
        rc = duration_parse(text, ret_ms, err);
    else
        rc = err_set(err, ERR_SYNTAX, "too long for a duration");
    return in_member(name, rc, err);
}

static int read_time(const char *name, const struct json_member *m, int64_t *ret_ms,
                     struct err *err)
{
    char copy[64];
    struct span text;
    double number;
    int rc;
    if (m->kind == JK_NUMBER)
        rc = time_from_number(json_number_double(m->value, &number) ? number : INFINITY, ret_ms,
                              err);
    else if (m->kind != JK_STRING)
        return wrong_type(name, "a number or a text like \"2026-11-22T10:00:00Z\"", m->kind, err);
    else if (short_text(m->value, copy, &text))
        rc = time_parse(text, ret_ms, err);
    else
        rc = err_set(err, ERR_SYNTAX, "too long for a time");
    return in_member(name, rc, err);
}

/* A duration of which zero makes no sense. */
static int read_positive_duration(const char *name, const struct json_member *m, int64_t *ret_ms,
                                  struct err *err)
{
    int64_t ms;
    int rc = read_duration(name, m, &ms, err);
    if (rc < 0)
        return rc;
    if (ms == 0)
        return err_set(err, ERR_RANGE, "member \"%s\" must be longer than zero", name);
    *ret_ms = ms;
    return 0;
}

static int read_type(const char *name, const struct json_member *m, char out[DOC_TYPE_BYTES + 1],
                     struct err *err)
{
    if (m->kind != JK_STRING)
        return wrong_type(name, "a string", m->kind, err);
    int len = json_string_copy(m->value, out, DOC_TYPE_BYTES + 1);
    if (len < 0 || !document_type_valid((struct span){out, (size_t)len}))
        return err_set(err, ERR_INVALID,
                       "member \"%s\" must have 1 to %d bytes of letters, digits and . _ : / -",
                       name, DOC_TYPE_BYTES);
    return 0;
}

/* true leaves the default; what an integer asks beyond the limits is given up to them. */
static int read_retry(const struct json_member *m, struct document *d, struct err *err)
{
    static const char wanted[] = "an integer or false";
    if (m->kind == JK_TRUE)
        return 0;
    int64_t n = 0;
    if (m->kind == JK_NUMBER) {
        if (memchr(m->value.ptr, '.', m->value.len) != NULL ||
            memchr(m->value.ptr, 'e', m->value.len) != NULL ||
            memchr(m->value.ptr, 'E', m->value.len) != NULL)
            return err_set(err, ERR_TYPE, "member \"retry\" must be %s, not a fraction", wanted);
        if (!json_number_int64(m->value, &n))
            n = m->value.ptr[0] == '-' ? 0 : RETRY_MAX;
    } else if (m->kind != JK_FALSE) {
        return wrong_type("retry", wanted, m->kind, err);
    }
    d->retries = n < 0 ? 0 : n > RETRY_MAX ? RETRY_MAX : (int)n;
    d->has |= DOC_HAS_RETRY;
    return 0;
}

/* ---- objects ----------------------------------------------------------------------------- */

/* The members of a small object whose names are all known. */
struct parts {
    const char *owner; /* name of the member that is the object */
    const char *const *names; /* NULL ends the list */
    unsigned seen; /* bits of `names` */
    int (*read)(void *arg, size_t index, const struct json_member *m, struct err *err);
    void *arg;
};

static int on_part(void *arg, const struct json_member *m, struct err *err)
{
    struct parts *p = arg;
    for (size_t i = 0; p->names[i] != NULL; i++) {
        if (!json_key_is(m->key, p->names[i]))
            continue;
        if (p->seen & 1u << i)
            return err_set(err, ERR_DUPLICATE, "member \"%s\" is given twice", p->names[i]);
        p->seen |= 1u << i;
        return m->kind == JK_NULL ? 0 : p->read(p->arg, i, m, err);
    }
    return err_set(err, ERR_INVALID, "unknown member \"%.*s\"",
                   (int)(m->key.len < 64 ? m->key.len : 64), m->key.ptr);
}

static int read_parts(struct parts *p, const struct json_member *m, int max_depth, struct err *err)
{
    if (m->kind != JK_OBJECT)
        return wrong_type(p->owner, "an object", m->kind, err);
    return in_member(p->owner, json_object_scan(m->value, max_depth, on_part, p, err), err);
}

struct backoff_parts {
    struct backoff backoff;
    bool has_max;
};

static int read_backoff_part(void *arg, size_t index, const struct json_member *m, struct err *err)
{
    struct backoff_parts *b = arg;
    char name[16];
    switch (index) {
    case 0:
        if (m->kind != JK_STRING)
            return wrong_type("type", "a string", m->kind, err);
        if (json_string_copy(m->value, name, sizeof name) < 0 ||
            backoff_type_parse(name, &b->backoff.type) < 0)
            return err_set(err, ERR_INVALID, "member \"type\" must be poly, fixed or exp");
        return 0;
    case 1:
        return read_positive_duration("base", m, &b->backoff.base_ms, err);
    case 2:
        b->has_max = true;
        return read_positive_duration("max", m, &b->backoff.max_ms, err);
    default:
        if (m->kind != JK_NUMBER)
            return wrong_type("jitter", "a number", m->kind, err);
        double jitter;
        if (!json_number_double(m->value, &jitter) || !(jitter >= 0 && jitter <= 1))
            return err_set(err, ERR_RANGE, "member \"jitter\" must be 0 to 1");
        b->backoff.jitter = jitter;
        return 0;
    }
}

static int read_backoff(struct reading *r, const struct json_member *m, struct err *err)
{
    static const char *const names[] = {"type", "base", "max", "jitter", NULL};
    static const int64_t day_ms = INT64_C(24) * 3600 * 1000;
    struct backoff_parts b = {.backoff = BACKOFF_INIT};
    struct parts p = {.owner = "backoff", .names = names, .read = read_backoff_part, .arg = &b};
    int rc = read_parts(&p, m, r->limits->max_depth, err);
    if (rc < 0)
        return rc;
    if (!b.has_max && b.backoff.type != BACKOFF_POLY)
        b.backoff.max_ms = day_ms;
    if (b.backoff.max_ms < b.backoff.base_ms) {
        if (b.has_max)
            return err_set(err, ERR_RANGE,
                           "member \"backoff\": member \"max\" must not be below \"base\"");
        b.backoff.max_ms = b.backoff.base_ms;
    }
    r->document->backoff = b.backoff;
    r->document->has |= DOC_HAS_BACKOFF;
    return 0;
}

static int read_unique_part(void *arg, size_t index, const struct json_member *m, struct err *err)
{
    bool *has_key = arg;
    char name[DOC_NAME_BYTES + 1];
    int64_t ignored;
    switch (index) {
    case 0:
        *has_key = true;
        return read_name("key", m, name, sizeof name, err);
    case 1:
        return read_positive_duration("ttl", m, &ignored, err);
    default:
        if (m->kind != JK_STRING)
            return wrong_type("until", "a string", m->kind, err);
        if (json_string_copy(m->value, name, sizeof name) < 0 ||
            (strcmp(name, "start") != 0 && strcmp(name, "done") != 0))
            return err_set(err, ERR_INVALID, "member \"until\" must be start or done");
        return 0;
    }
}

static int read_unique(struct reading *r, const struct json_member *m, struct err *err)
{
    static const char *const names[] = {"key", "ttl", "until", NULL};
    bool has_key = false;
    struct parts p = {.owner = "unique", .names = names, .read = read_unique_part, .arg = &has_key};
    int rc = read_parts(&p, m, r->limits->max_depth, err);
    if (rc < 0)
        return rc;
    if (!has_key)
        return err_set(err, ERR_MISSING, "member \"unique\": member \"key\" is missing");
    r->document->unique = m->value;
    r->document->has |= DOC_HAS_UNIQUE;
    return 0;
}

static int on_tag(void *arg, struct span item, enum json_kind kind, struct err *err)
{
    (void)arg;
    (void)item;
    if (kind != JK_STRING)
        return err_set(err, ERR_TYPE, "every item must be a string, not %s", json_kind_name(kind));
    return 0;
}

static int on_meta(void *arg, const struct json_member *m, struct err *err)
{
    (void)arg;
    if (m->kind != JK_STRING)
        return err_set(err, ERR_TYPE, "every value must be a string, not %s",
                       json_kind_name(m->kind));
    return 0;
}

static int read_tags(struct reading *r, const struct json_member *m, struct err *err)
{
    if (m->kind != JK_ARRAY)
        return wrong_type("tags", "an array of strings", m->kind, err);
    r->document->tags = m->value;
    r->document->has |= DOC_HAS_TAGS;
    return in_member("tags", json_array_scan(m->value, r->limits->max_depth, on_tag, NULL, err),
                     err);
}

static int read_meta(struct reading *r, const struct json_member *m, struct err *err)
{
    if (m->kind != JK_OBJECT)
        return wrong_type("meta", "an object of strings", m->kind, err);
    r->document->meta = m->value;
    r->document->has |= DOC_HAS_META;
    return in_member("meta", json_object_scan(m->value, r->limits->max_depth, on_meta, NULL, err),
                     err);
}

static int parse(struct span text, const struct document_limits *limits, int level,
                 struct document *ret, struct err *err);

/* A document inside this one.  What is wrong with it is said now: when it is to be enqueued there is
 * nobody left to tell. */
static int read_follow_up(struct reading *r, const char *name, unsigned has,
                          const struct json_member *m, struct span *ret, struct err *err)
{
    struct document inner;
    if (m->kind != JK_OBJECT)
        return wrong_type(name, "an object", m->kind, err);
    if (r->level == FOLLOW_UPS_MAX)
        return err_set(err, ERR_TOO_DEEP, "more than %d follow-ups in each other", FOLLOW_UPS_MAX);
    *ret = m->value;
    r->document->has |= has;
    return in_member(name, parse(m->value, r->limits, r->level + 1, &inner, err), err);
}

/* ---- the document ------------------------------------------------------------------------ */

static int read_text(struct reading *r, const char *name, unsigned has, const struct json_member *m,
                     struct span *ret, struct err *err)
{
    char copy[DOC_NAME_BYTES + 1];
    *ret = m->value;
    r->document->has |= has;
    return read_name(name, m, copy, sizeof copy, err);
}

/* Of a follow-up; it is looked at again when that is enqueued. */
static int read_queue(const char *name, const struct json_member *m, struct err *err)
{
    char queue[DOC_TYPE_BYTES + 1];
    return read_type(name, m, queue, err);
}

static int read_dead(struct document *d, const struct json_member *m, struct err *err)
{
    if (m->kind != JK_TRUE && m->kind != JK_FALSE)
        return wrong_type("dead", "true or false", m->kind, err);
    d->dead = m->kind == JK_TRUE;
    return 0;
}

/* at and delay exclude each other as two spellings do. */
static unsigned member_bit(enum member m)
{
    return 1u << (m == MEMBER_DELAY ? MEMBER_AT : m);
}

/* A second value would change what was reviewed, whichever of the two counts. */
static int note_member(struct reading *r, const struct spelling *s, struct err *err)
{
    unsigned bit = member_bit(s->member);
    if (!(r->members & bit)) {
        r->members |= bit;
        r->seen |= 1u << (s - spellings);
        return 0;
    }
    for (size_t i = 0; i < NONE; i++) {
        const struct spelling *other = &spellings[i];
        if ((r->seen & 1u << i) && other != s && member_bit(other->member) == bit)
            return err_set(err, ERR_DUPLICATE,
                           "members \"%s\" and \"%s\" exclude each other: give one of them",
                           other->name, s->name);
    }
    return err_set(err, ERR_DUPLICATE, "member \"%s\" is given twice", s->name);
}

/* All in one: to enter another function for each member took 4 % of a document's time. */
static int on_member(void *arg, const struct json_member *m, struct err *err)
{
    struct reading *r = arg;
    struct document *d = r->document;
    const struct spelling *s = find_spelling(m->key);
    if (s == NULL || (s->member == MEMBER_QUEUE && r->level == 0))
        return 0;
    int rc = note_member(r, s, err);
    if (rc < 0 || m->kind == JK_NULL)
        return rc;
    switch (s->member) {
    case MEMBER_TYPE:
        return read_type(s->name, m, d->type, err);
    case MEMBER_ID:
        d->has |= DOC_HAS_ID;
        return read_name(s->name, m, d->id, sizeof d->id, err);
    case MEMBER_ARGS:
        d->has |= DOC_HAS_ARGS;
        d->args = m->value;
        return 0;
    case MEMBER_AT:
        d->has |= DOC_HAS_AT;
        return read_time(s->name, m, &d->at_ms, err);
    case MEMBER_DELAY:
        d->has |= DOC_HAS_AT | DOC_HAS_DELAY;
        return read_duration(s->name, m, &d->at_ms, err);
    case MEMBER_EXPIRES_AT:
        d->has |= DOC_HAS_EXPIRES;
        return read_time(s->name, m, &d->expires_at_ms, err);
    case MEMBER_RETRY:
        return read_retry(m, d, err);
    case MEMBER_BACKOFF:
        return read_backoff(r, m, err);
    case MEMBER_TIMEOUT:
        d->has |= DOC_HAS_TIMEOUT;
        return read_positive_duration(s->name, m, &d->timeout_ms, err);
    case MEMBER_DEAD:
        return read_dead(d, m, err);
    case MEMBER_UNIQUE:
        return read_unique(r, m, err);
    case MEMBER_GROUP:
        return read_text(r, s->name, DOC_HAS_GROUP, m, &d->group, err);
    case MEMBER_KEEP:
        d->has |= DOC_HAS_KEEP;
        return read_duration(s->name, m, &d->keep_ms, err);
    case MEMBER_REPLY_TO:
        return read_text(r, s->name, DOC_HAS_REPLY_TO, m, &d->reply_to, err);
    case MEMBER_ON_SUCCESS:
        return read_follow_up(r, s->name, DOC_HAS_ON_SUCCESS, m, &d->on_success, err);
    case MEMBER_ON_FAILURE:
        return read_follow_up(r, s->name, DOC_HAS_ON_FAILURE, m, &d->on_failure, err);
    case MEMBER_TAGS:
        return read_tags(r, m, err);
    case MEMBER_META:
        return read_meta(r, m, err);
    case MEMBER_CREATED_AT:
        d->has |= DOC_HAS_CREATED;
        return read_time(s->name, m, &d->created_at_ms, err);
    case MEMBER_ENQUEUED_AT:
        d->has |= DOC_HAS_ENQUEUED;
        return read_time(s->name, m, &d->enqueued_at_ms, err);
    case MEMBER_QUEUE:
        return read_queue(s->name, m, err);
    }
    BUG("member %d", (int)s->member);
}

/* Member by member: to fill its long texts, too, takes nearly as long as to read a short one. */
static void set_defaults(struct document *d, struct span text)
{
    static const struct span none = {0};
    d->bytes = text;
    d->has = 0;
    d->type[0] = d->id[0] = '\0';
    d->args = SPAN_OF_STR("null");
    d->meta = d->tags = d->group = d->unique = none;
    d->reply_to = d->on_success = d->on_failure = none;
    d->at_ms = d->expires_at_ms = d->keep_ms = d->created_at_ms = d->enqueued_at_ms = 0;
    d->timeout_ms = DOC_DEFAULT_TIMEOUT_MS;
    d->retries = RETRY_DEFAULT;
    d->backoff = (struct backoff)BACKOFF_INIT;
    d->dead = true;
}

static int parse(struct span text, const struct document_limits *limits, int level,
                 struct document *ret, struct err *err)
{
    struct reading r = {.document = ret, .limits = limits, .level = level};
    set_defaults(ret, text);
    int rc = json_object_scan(text, limits->max_depth, on_member, &r, err);
    if (rc == 0 && ret->type[0] == '\0')
        return err_set(err, ERR_MISSING, "member \"type\" is missing");
    return rc;
}

int document_parse(struct span bytes, const struct document_limits *limits, struct document *ret,
                   struct err *err)
{
    if (bytes.len > limits->max_bytes)
        return err_set(err, ERR_TOO_BIG, "the document has %zu bytes, the limit is %zu", bytes.len,
                       limits->max_bytes);
    return parse(bytes, limits, 0, ret, err);
}

bool document_type_valid(struct span text)
{
    if (text.len < 1 || text.len > DOC_TYPE_BYTES)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '.' || c == '_' || c == ':' || c == '/' || c == '-';
        if (!fine)
            return false;
    }
    return true;
}

struct wanted {
    const char *key;
    struct span value;
};

/* The last one counts, as in other readers of JSON. */
static int on_wanted(void *arg, const struct json_member *m, struct err *err)
{
    struct wanted *w = arg;
    (void)err;
    if (m->kind == JK_STRING && json_key_is(m->key, w->key))
        w->value = m->value;
    return 0;
}

bool document_meta_get(const struct document *d, const char *key, char *out, size_t size)
{
    struct wanted w = {.key = key};
    struct buf text = BUF_INIT;
    if (d->meta.len == 0 || size == 0 ||
        json_object_scan(d->meta, INT32_MAX, on_wanted, &w, NULL) < 0 || w.value.len == 0)
        return false;
    json_string_decode(w.value, &text);
    size_t len = text.len < size ? text.len : size - 1;
    while (len < text.len && len > 0 && ((unsigned char)text.data[len] & 0xc0) == 0x80)
        len--;
    memcpy(out, text.data, len);
    out[len] = '\0';
    buf_done(&text);
    return true;
}

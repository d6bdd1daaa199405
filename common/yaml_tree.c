#include "common/yaml_tree.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

/* Lines and columns count as libyaml does for the breaks people use; U+0085, U+2028 and U+2029
 * count as breaks there too, so a file with those gets a line number that is off. */
struct place {
    size_t offset;
    int line, col;
};

struct reader {
    const char *name;
    struct span text;
    yaml_problem_fn fn;
    void *arg;
    int code; /* of the problem that ends the reading, 0 = none */

    struct yaml_node *root;
    struct yaml_node *open[YAML_MAX_DEPTH]; /* the containers around the current event */
    int depth;
    int documents;
    char *key; /* read and waiting for its value */
    int key_line, key_col;
};

static void tell(const struct reader *r, enum err_code code, int line, int col, const char *fmt,
                 ...) PRINTF_LIKE(5, 6);
static int stop(struct reader *r, enum err_code code, int line, int col, const char *fmt, ...)
    PRINTF_LIKE(5, 6);

static void vtell(const struct reader *r, enum err_code code, int line, int col, const char *fmt,
                  va_list ap) PRINTF_LIKE(5, 0);

static void vtell(const struct reader *r, enum err_code code, int line, int col, const char *fmt,
                  va_list ap)
{
    struct err text = {0};
    err_vset(&text, code, fmt, ap);
    struct err e = {0};
    err_at(&e, code, r->name, line, col, "%s", text.text);
    r->fn(r->arg, &e);
}

static void tell(const struct reader *r, enum err_code code, int line, int col, const char *fmt,
                 ...)
{
    va_list ap;
    va_start(ap, fmt);
    vtell(r, code, line, col, fmt, ap);
    va_end(ap);
}

/* As tell(), and the reading ends here. */
static int stop(struct reader *r, enum err_code code, int line, int col, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vtell(r, code, line, col, fmt, ap);
    va_end(ap);
    r->code = -(int)code;
    return r->code;
}

/* Bytes of the UTF-8 character at `p` and its code point, or 0. */
static size_t utf8_decode(const unsigned char *p, size_t left, uint32_t *ret_point)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = p[0] < 0x80 ? 1 : p[0] >= 0xf8 ? 0 : p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] >= 0x80 && p[0] < 0xc0)
        n = 0;
    if (n == 0 || n > left)
        return 0;
    uint32_t point = n == 1 ? p[0] : p[0] & (0xffU >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        point = point << 6 | (p[i] & 0x3f);
    }
    if (point < smallest[n] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000))
        return 0;
    *ret_point = point;
    return n;
}

/* Characters that libyaml's reader lets through, so that its own messages about bytes, which know
 * no line, never appear. */
static bool is_allowed(uint32_t point)
{
    if (point < 0x20)
        return point == '\t' || point == '\n' || point == '\r';
    if (point >= 0x7f && point < 0xa0)
        return point == 0x85;
    return point != 0xfeff && point != 0xfffe && point != 0xffff;
}

static void advance(struct place *at, const struct span text, size_t bytes)
{
    char c = text.ptr[at->offset];
    at->offset += bytes;
    bool crlf = c == '\r' && at->offset < text.len && text.ptr[at->offset] == '\n';
    if (c == '\n' || (c == '\r' && !crlf)) {
        at->line++;
        at->col = 1;
    } else if (!crlf) {
        at->col++;
    }
}

/* Refuses what must not be there before libyaml sees it. */
static int check_characters(struct reader *r)
{
    const unsigned char *p = (const unsigned char *)r->text.ptr;
    struct place at = {0, 1, 1};
    bool indenting = true;
    while (at.offset < r->text.len) {
        uint32_t point = 0;
        size_t n = utf8_decode(p + at.offset, r->text.len - at.offset, &point);
        if (n == 0)
            return stop(r, ERR_SYNTAX, at.line, at.col, "byte 0x%02x: the file must be UTF-8 text",
                        p[at.offset]);
        if (point == 0)
            return stop(r, ERR_SYNTAX, at.line, at.col, "a NUL byte: the file must be UTF-8 text");
        if (!is_allowed(point))
            return stop(r, ERR_SYNTAX, at.line, at.col,
                        "the control character U+%04X: write it as an escape in double quotes",
                        (unsigned)point);
        if (point == '\t' && indenting)
            return stop(r, ERR_SYNTAX, at.line, at.col,
                        "a tab in the indentation: YAML wants spaces");
        indenting = point == '\n' || point == '\r' || (indenting && point == ' ');
        advance(&at, r->text, n);
    }
    return 0;
}

/* The byte at a place libyaml named, or 0. */
static char byte_at(struct span text, int line, int col)
{
    struct place at = {0, 1, 1};
    while (at.offset < text.len) {
        if (at.line == line && at.col == col)
            return text.ptr[at.offset];
        uint32_t point;
        advance(
            &at, text,
            utf8_decode((const unsigned char *)text.ptr + at.offset, text.len - at.offset, &point));
    }
    return '\0';
}

/* libyaml's words, and ours for the mistakes people make most. */
static int stop_at_problem(struct reader *r, const yaml_parser_t *parser)
{
    static const struct {
        const char *theirs, *hint;
    } hints[] = {
        {"mapping values are not allowed in this context",
         "check the indentation, or quote a value that holds `: `"},
        {"found character that cannot start any token",
         "quote a value that begins with this character"},
        {"could not find expected ':'", "a key needs `: ` after it"},
        {"did not find expected key", "check the indentation, and that quotes are closed"},
        {"did not find expected '-' indicator", "check the indentation of this list"},
        {"did not find expected ',' or ']'", "a `[` is not closed, or a `,` is missing"},
        {"did not find expected ',' or '}'", "a `{` is not closed, or a `,` is missing"},
    };
    const char *problem = parser->problem != NULL ? parser->problem : "no YAML";
    int line = (int)parser->problem_mark.line + 1, col = (int)parser->problem_mark.column + 1;
    if (byte_at(r->text, line, col) == '\t')
        return stop(r, ERR_SYNTAX, line, col, "a tab in the indentation: YAML wants spaces");
    const char *hint = NULL;
    for (size_t i = 0; i < ARRAY_COUNT(hints); i++)
        if (strcmp(hints[i].theirs, problem) == 0)
            hint = hints[i].hint;
    char context[128] = "";
    if (parser->context != NULL && parser->context_mark.line + 1 != (size_t)line)
        snprintf(context, sizeof context, " (%s that began in line %zu)", parser->context,
                 parser->context_mark.line + 1);
    return stop(r, ERR_SYNTAX, line, col, "%s%s%s%s", problem, context, hint != NULL ? "; " : "",
                hint != NULL ? hint : "");
}

static int compare_keys(const void *a, const void *b)
{
    const struct yaml_node *x = *(struct yaml_node *const *)a, *y = *(struct yaml_node *const *)b;
    int by_key = strcmp(x->key, y->key);
    if (by_key != 0)
        return by_key;
    if (x->key_line != y->key_line)
        return x->key_line < y->key_line ? -1 : 1;
    return x->key_col < y->key_col ? -1 : x->key_col > y->key_col;
}

/* Sorted, because a megabyte of keys compared each with each takes minutes. */
static void mark_duplicates(struct reader *r, struct yaml_node *map)
{
    size_t count = 0;
    for (struct yaml_node *n = map->first; n != NULL; n = n->next)
        count++;
    if (count < 2)
        return;
    struct yaml_node **sorted = xreallocarray(NULL, count, sizeof(struct yaml_node *));
    size_t i = 0;
    for (struct yaml_node *n = map->first; n != NULL; n = n->next)
        sorted[i++] = n;
    qsort(sorted, count, sizeof(struct yaml_node *), compare_keys);
    const struct yaml_node *original = sorted[0];
    for (i = 1; i < count; i++) {
        if (strcmp(sorted[i]->key, original->key) != 0) {
            original = sorted[i];
            continue;
        }
        sorted[i]->duplicate = true;
        char shown[YAML_TREE_SHOW_BYTES];
        tell(r, ERR_DUPLICATE, sorted[i]->key_line, sorted[i]->key_col,
             "`%s` is given twice; the first is in line %d", yaml_tree_show(original->key, shown),
             original->key_line);
    }
    free(sorted);
}

/* Hangs a new node under the innermost open container (takes the waiting key), or makes it the
 * root. */
static struct yaml_node *add_node(struct reader *r, enum yaml_kind kind, int line, int col)
{
    struct yaml_node *node = xcalloc(1, sizeof *node);
    *node = (struct yaml_node){.kind = kind, .line = line, .col = col};
    if (r->depth == 0) {
        r->root = node;
        return node;
    }
    struct yaml_node *parent = r->open[r->depth - 1];
    if (parent->kind == YAML_MAP) {
        node->key = r->key;
        node->key_line = r->key_line;
        node->key_col = r->key_col;
        r->key = NULL;
    }
    if (parent->last != NULL)
        parent->last->next = node;
    else
        parent->first = node;
    parent->last = node;
    return node;
}

static bool wants_key(const struct reader *r)
{
    return r->depth > 0 && r->open[r->depth - 1]->kind == YAML_MAP && r->key == NULL;
}

static int on_container(struct reader *r, enum yaml_kind kind, int line, int col)
{
    if (wants_key(r))
        return stop(r, ERR_TYPE, line, col, "a list or a map where a key must stand");
    if (r->depth == YAML_MAX_DEPTH)
        return stop(r, ERR_TOO_DEEP, line, col, "nested more than %d levels deep", YAML_MAX_DEPTH);
    struct yaml_node *node = add_node(r, kind, line, col);
    r->open[r->depth++] = node;
    return 0;
}

static void on_text(struct reader *r, const char *text, size_t len, bool plain, int line, int col)
{
    if (memchr(text, '\0', len) != NULL)
        tell(r, ERR_INVALID, line, col, "a NUL character cannot be part of a text");
    if (wants_key(r)) {
        r->key = xstrndup(text, len);
        r->key_line = line;
        r->key_col = col;
        return;
    }
    struct yaml_node *node = add_node(r, YAML_TEXT, line, col);
    node->text = xstrndup(text, len);
    node->plain = plain;
}

/* Anchors and tags hang on three kinds of event; a directive could only serve tags. */
static int refuse_extras(struct reader *r, const yaml_event_t *ev, int line, int col)
{
    const void *anchor = NULL, *tag = NULL;
    if (ev->type == YAML_SCALAR_EVENT) {
        anchor = ev->data.scalar.anchor;
        tag = ev->data.scalar.tag;
    } else if (ev->type == YAML_SEQUENCE_START_EVENT) {
        anchor = ev->data.sequence_start.anchor;
        tag = ev->data.sequence_start.tag;
    } else if (ev->type == YAML_MAPPING_START_EVENT) {
        anchor = ev->data.mapping_start.anchor;
        tag = ev->data.mapping_start.tag;
    }
    if (anchor != NULL)
        return stop(r, ERR_UNSUPPORTED, line, col,
                    "an anchor (&name): anchors and aliases are not supported");
    if (tag != NULL)
        return stop(r, ERR_UNSUPPORTED, line, col, "a tag (!name): tags are not supported");
    return 0;
}

static int on_event(struct reader *r, const yaml_event_t *ev)
{
    int line = (int)ev->start_mark.line + 1, col = (int)ev->start_mark.column + 1;
    if (refuse_extras(r, ev, line, col) < 0)
        return r->code;
    switch (ev->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (r->documents++ > 0)
            return stop(r, ERR_UNSUPPORTED, line, col,
                        "a second document begins here; one is all there may be");
        return 0;
    case YAML_ALIAS_EVENT:
        return stop(r, ERR_UNSUPPORTED, line, col,
                    "an alias (*name): anchors and aliases are not supported; "
                    "quote a text that begins with `*`");
    case YAML_SCALAR_EVENT:
        on_text(r, (const char *)ev->data.scalar.value, ev->data.scalar.length,
                ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE, line, col);
        return 0;
    case YAML_SEQUENCE_START_EVENT:
        return on_container(r, YAML_LIST, line, col);
    case YAML_MAPPING_START_EVENT:
        return on_container(r, YAML_MAP, line, col);
    case YAML_MAPPING_END_EVENT:
        mark_duplicates(r, r->open[r->depth - 1]);
        r->depth--;
        return 0;
    case YAML_SEQUENCE_END_EVENT:
        r->depth--;
        return 0;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        return 0;
    }
    return 0;
}

static int read_events(struct reader *r)
{
    yaml_parser_t parser;
    if (yaml_parser_initialize(&parser) == 0)
        BUG("libyaml has no memory");
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)r->text.ptr, r->text.len);
    for (bool more = true; more && r->code == 0;) {
        yaml_event_t ev;
        if (yaml_parser_parse(&parser, &ev) == 0) {
            (void)stop_at_problem(r, &parser); /* kept in r->code */
            break;
        }
        more = ev.type != YAML_STREAM_END_EVENT;
        (void)on_event(r, &ev); /* kept in r->code */
        yaml_event_delete(&ev);
    }
    yaml_parser_delete(&parser);
    return r->code;
}

int yaml_tree_read(const char *name, struct span text, yaml_problem_fn fn, void *arg,
                   struct yaml_node **ret_root)
{
    struct reader r = {.name = name, .text = text, .fn = fn, .arg = arg};
    if (text.len > YAML_MAX_BYTES)
        return stop(&r, ERR_TOO_BIG, 1, 1, "larger than %d KiB", YAML_MAX_BYTES / 1024);
    /* some editors put a byte order mark in front */
    if (text.len >= 3 && memcmp(text.ptr, "\xef\xbb\xbf", 3) == 0)
        r.text = (struct span){text.ptr + 3, text.len - 3};
    if (r.text.len == 0)
        r.text = (struct span){"", 0};
    if (check_characters(&r) == 0)
        (void)read_events(&r); /* kept in r.code */
    free(r.key);
    if (r.code < 0) {
        yaml_tree_free(r.root);
        return r.code;
    }
    *ret_root = r.root;
    return 0;
}

void yaml_tree_free(struct yaml_node *node)
{
    if (node == NULL)
        return;
    for (struct yaml_node *child = node->first, *next; child != NULL; child = next) {
        next = child->next;
        yaml_tree_free(child);
    }
    free(node->key);
    free(node->text);
    free(node);
}

bool yaml_tree_is_null(const struct yaml_node *node)
{
    return node->kind == YAML_TEXT && node->plain &&
           (node->text[0] == '\0' || strcmp(node->text, "~") == 0 ||
            strcmp(node->text, "null") == 0);
}

const struct yaml_node *yaml_tree_get(const struct yaml_node *map, const char *key)
{
    if (map == NULL || map->kind != YAML_MAP)
        return NULL;
    for (const struct yaml_node *n = map->first; n != NULL; n = n->next)
        if (strcmp(n->key, key) == 0)
            return n;
    return NULL;
}

bool yaml_tree_is_utf8(const char *text)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t len = strlen(text), n;
    uint32_t point;
    for (size_t i = 0; i < len; i += n)
        if ((n = utf8_decode(p + i, len - i, &point)) == 0)
            return false;
    return true;
}

const char *yaml_tree_show(const char *text, char *out)
{
    size_t len = strlen(text);
    bool cut = len >= YAML_TREE_SHOW_BYTES;
    if (cut) {
        len = YAML_TREE_SHOW_BYTES - 4;
        while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
            len--;
    }
    for (size_t i = 0; i < len; i++)
        out[i] = (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? '?' : text[i];
    memcpy(out + len, cut ? "..." : "", cut ? 4 : 1);
    return out;
}

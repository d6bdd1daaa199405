/* config_print.c - the configuration as YAML, and the shipped worker.yaml; both follow the option
 * table, so neither can forget an option. */
#include "common/config_priv.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { INDENT = 2, COLUMNS = 100 };

struct writer {
    struct buf *out;
    int indent;
    bool dash; /* the next line begins an item of a list */
    const char *section; /* the one that is open, within its scope; not terminated */
    size_t section_len;
};

static void begin_line(struct writer *w, int indent)
{
    for (int i = w->dash ? INDENT : 0; i < indent; i++)
        buf_add_char(w->out, ' ');
    if (w->dash)
        buf_add_str(w->out, "- ");
    w->dash = false;
}

/* Opens the section of an option when it is another than before.  Returns the option's indent. */
static int enter_section(struct writer *w, const struct option *o)
{
    const char *label = option_label(o);
    size_t len = (size_t)(option_leaf(label) - label);
    if (len != w->section_len || strncmp(w->section, label, len) != 0) {
        w->section = label;
        w->section_len = len;
        if (len > 0) {
            begin_line(w, w->indent);
            buf_printf(w->out, "%.*s:\n", (int)len - 1, label);
        }
    }
    return w->indent + (len > 0 ? INDENT : 0);
}

static bool is_in_section(const struct option *o, const char *section)
{
    return strncmp(option_label(o), section, strlen(section)) == 0;
}

/* The URL with *** in place of a password.  In doubt more is hidden than needed: an '@' anywhere
 * after a ':' makes what is between them a password. */
static void add_url(struct buf *out, const char *url)
{
    struct buf shown = BUF_INIT;
    const char *rest = strstr(url, "://");
    rest = rest != NULL ? rest + 3 : url;
    const char *colon = rest[0] != '/' ? strchr(rest, ':') : NULL;
    const char *at = strrchr(rest, '@');
    buf_add(&shown, url, (size_t)(rest - url));
    if (colon != NULL && at != NULL && colon < at) {
        buf_add(&shown, rest, (size_t)(colon - rest));
        buf_add_str(&shown, ":***");
        rest = at;
    }
    for (const char *p; (p = strcasestr(rest, "password=")) != NULL;) {
        p += strlen("password=");
        buf_add(&shown, rest, (size_t)(p - rest));
        buf_add_str(&shown, "***");
        rest = p + strcspn(p, "&");
    }
    buf_add_str(&shown, rest);
    option_add_text(out, shown.data);
    buf_done(&shown);
}

static void print_items(struct writer *w, const struct option *o, char **items)
{
    begin_line(w, w->indent);
    buf_printf(w->out, "%s:\n", option_leaf(o->name));
    for (; *items != NULL; items++) {
        const char *value = *items;
        begin_line(w, w->indent + INDENT);
        if (o->type == OPTION_MAP) {
            value = strchr(*items, '=') + 1;
            buf_printf(w->out, "%.*s: ", (int)(value - 1 - *items), *items);
        } else {
            buf_add_str(w->out, "- ");
        }
        option_add_text(w->out, value);
        buf_add_char(w->out, '\n');
    }
}

static void print_list(struct writer *w, const struct option *o, const void *base)
{
    char **items = *(char **const *)(const void *)((const char *)base + o->offset);
    if (items != NULL && items[0] != NULL) {
        print_items(w, o, items);
    } else if (o->scope == OPTION_OF_CONFIG) {
        begin_line(w, w->indent);
        buf_printf(w->out, "%s: []\n", option_leaf(o->name));
    }
}

/* One option with a single value; nothing when it is not set. */
static void print_value(struct writer *w, const struct option *o, const void *base)
{
    struct buf value = BUF_INIT;
    if (strcmp(o->name, "redis.url") == 0) {
        const char *url = ((const struct config *)base)->redis.url;
        if (url != NULL)
            add_url(&value, url);
    } else {
        option_show(o, base, &value);
    }
    if (value.len > 0) {
        int indent = enter_section(w, o);
        begin_line(w, indent);
        buf_printf(w->out, "%s: ", option_leaf(o->name));
        buf_add_span(w->out, buf_span(&value));
        buf_add_char(w->out, '\n');
    }
    buf_done(&value);
}

static void print_queues(const struct config *c, struct buf *out)
{
    size_t count;
    const struct option *all = options_all(&count);
    buf_add_str(out, "queues:\n");
    for (int q = 0; q < c->queue_count; q++) {
        struct writer w = {.out = out, .indent = 2 * INDENT, .dash = true, .section = ""};
        for (size_t i = 0; i < count; i++)
            if (all[i].scope == OPTION_OF_QUEUE)
                print_value(&w, &all[i], &c->queues[q]);
    }
}

/* What was said about a handler, and nothing else: a setting that is not said leaves the choice to
 * the plugin and the job. */
static void print_handler(const struct config_handler *h, struct buf *out)
{
    size_t count;
    const struct option *all = options_all(&count);
    struct config_handler fresh;
    config_handler_init(&fresh);
    struct writer w = {.out = out, .indent = 2 * INDENT, .section = ""};
    struct buf name = BUF_INIT;
    option_add_text(&name, h->type);
    buf_printf(out, "%*s%s:", INDENT, "", name.data);
    buf_done(&name);
    size_t head_len = out->len;
    buf_add_char(out, '\n');
    for (size_t i = 0; i < count; i++) {
        const struct option *o = &all[i];
        if (o->scope != OPTION_OF_HANDLER)
            continue;
        if (is_in_section(o, "backoff.") ? !h->has_backoff : option_equal(o, h, &fresh))
            continue;
        if (o->type == OPTION_LIST || o->type == OPTION_MAP)
            print_list(&w, o, h);
        else
            print_value(&w, o, h);
    }
    if (out->len == head_len + 1) {
        out->len = head_len;
        buf_add_str(out, " {}\n");
    }
    config_handler_done(&fresh);
}

static void print_handlers(const struct config *c, struct buf *out)
{
    buf_add_str(out, c->handler_count > 0 ? "handlers:\n" : "handlers: {}\n");
    for (int i = 0; i < c->handler_count; i++)
        print_handler(&c->handlers[i], out);
}

void config_print(const struct config *c, bool for_runner, struct buf *out)
{
    size_t count;
    const struct option *all = options_all(&count);
    struct writer w = {.out = out, .section = ""};
    for (size_t i = 0; i < count; i++) {
        const struct option *o = &all[i];
        if (o->scope != OPTION_OF_CONFIG || (for_runner && is_in_section(o, "redis.")))
            continue;
        if (o->type == OPTION_QUEUES)
            print_queues(c, out);
        else if (o->type == OPTION_HANDLERS)
            print_handlers(c, out);
        else if (o->type == OPTION_LIST || o->type == OPTION_MAP)
            print_list(&w, o, c);
        else
            print_value(&w, o, c);
    }
}

/* Sentences as comment lines. */
static void add_comment(struct writer *w, int indent, const char *text)
{
    size_t column = 0; /* 0 = no line has begun */
    while (*text != '\0') {
        size_t word = strcspn(text, " ");
        if (column == 0 || column + 1 + word > COLUMNS) {
            if (column > 0)
                buf_add_char(w->out, '\n');
            begin_line(w, indent);
            buf_add_char(w->out, '#');
            column = (size_t)indent + 1;
        }
        buf_add_char(w->out, ' ');
        buf_add(w->out, text, word);
        column += 1 + word;
        text += word + (text[word] == ' ');
    }
    buf_add_char(w->out, '\n');
}

static void sample_option(struct writer *w, const struct option *o)
{
    bool shown = (o->flags & OPTION_SHOWN) != 0;
    const char *value = shown || o->fallback == NULL ? o->example : o->fallback;
    int indent = enter_section(w, o);
    if (w->dash) { /* the comment cannot stand between the dash and the name */
        w->dash = false;
        add_comment(w, indent - INDENT, o->help);
        w->dash = true;
    } else {
        add_comment(w, indent, o->help);
    }
    begin_line(w, indent);
    buf_printf(w->out, "%s%s: %s\n", shown || o->fallback != NULL ? "" : "#", option_leaf(o->name),
               value[0] != '\0' ? value : "\"\"");
}

static void sample_scope(struct writer *w, enum option_scope scope)
{
    size_t count;
    const struct option *all = options_all(&count);
    for (size_t i = 0; i < count; i++)
        if (all[i].scope == scope)
            sample_option(w, &all[i]);
}

static void sample_queues(struct buf *out)
{
    struct writer w = {.out = out, .indent = 2 * INDENT, .section = ""};
    buf_add_str(out, "queues:\n  - critical\n  - default\n");
    add_comment(&w, INDENT, "A queue can have settings of its own.");
    w.dash = true;
    sample_scope(&w, OPTION_OF_QUEUE);
}

static void sample_handlers(struct buf *out)
{
    struct writer w = {.out = out, .indent = 2 * INDENT, .section = ""};
    buf_add_str(out, "handlers:\n  report:\n");
    sample_scope(&w, OPTION_OF_HANDLER);
}

void config_sample(struct buf *out)
{
    size_t count;
    const struct option *all = options_all(&count);
    struct writer w = {.out = out, .section = ""};
    add_comment(&w, 0,
                "worker.yaml - all options of the worker, each with its default or, where it is "
                "not set by default, an example after a `#`. Durations: 250ms, 30s, 5m, 1h30m, 7d "
                "or a number of seconds. Sizes: 64MiB, 64MB or a number of bytes. Relative paths "
                "begin at this file's directory. Check a change with: worker --check");
    for (size_t i = 0; i < count; i++) {
        const struct option *o = &all[i];
        bool goes_on = w.section_len > 0 && strncmp(o->name, w.section, w.section_len) == 0;
        if (o->scope != OPTION_OF_CONFIG)
            continue;
        if (!goes_on)
            buf_add_char(out, '\n');
        if (o->type == OPTION_QUEUES || o->type == OPTION_HANDLERS) {
            add_comment(&w, 0, o->help);
            w.section_len = 0;
        }
        if (o->type == OPTION_QUEUES)
            sample_queues(out);
        else if (o->type == OPTION_HANDLERS)
            sample_handlers(out);
        else
            sample_option(&w, o);
    }
}

/* Each line is one write(2): a plugin that crashes while it is loaded leaves its "loading" line. */
#include "worker/runner/describe.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/buf.h"
#include "worker/runner/plugin.h"

enum { EXIT_BROKEN = 78 };

static void write_line(int fd, struct buf *b)
{
    buf_add_str(b, "}\n");
    for (size_t done = 0; done < b->len;) {
        ssize_t n = write(fd, b->data + done, b->len - done);
        if (n == -1 && errno != EINTR)
            break; /* nobody reads it any more */
        done += n > 0 ? (size_t)n : 0;
    }
    buf_done(b);
}

static void add_text(struct buf *b, const char *key, const char *value)
{
    buf_add_char(b, b->len == 0 ? '{' : ',');
    buf_add_json_string(b, SPAN_OF_STR(key));
    buf_add_char(b, ':');
    if (value != NULL)
        buf_add_json_string(b, SPAN_OF_STR(value));
    else
        buf_add_str(b, "null");
}

static void on_loading(void *arg, const char *path)
{
    struct buf b = BUF_INIT;
    add_text(&b, "loading", path);
    write_line(*(int *)arg, &b);
}

static void on_loaded(void *arg, const struct plugin *p)
{
    struct buf b = BUF_INIT;
    add_text(&b, "plugin", p->path);
    if (p->error != NULL)
        add_text(&b, "error", p->error);
    else
        add_text(&b, "name", p->name);
    write_line(*(int *)arg, &b);
}

static void print_handler(int fd, const struct plugins *p, const struct plugin_handler *h)
{
    struct buf b = BUF_INIT;
    buf_add_str(&b, "{\"type\":");
    buf_add_json_string(&b, h->type);
    add_text(&b, "plugin", h->plugin >= 0 ? p->items[h->plugin].path : NULL);
    if (h->plugin >= 0)
        buf_printf(&b, ",\"timeout_ms\":%lld,\"retries\":%d", (long long)h->timeout_ms, h->retries);
    else
        buf_add_str(&b, ",\"timeout_ms\":null,\"retries\":null");
    write_line(fd, &b);
}

int describe_run(const struct config *c, const char *directory, int fd)
{
    struct plugins p;
    const struct plugins_events events = {on_loading, on_loaded, &fd};
    int refused = plugins_load(c, directory, false, &events, &p);
    for (int i = 0; i < p.handler_count; i++)
        print_handler(fd, &p, &p.handlers[i]);
    plugins_done(&p);
    return refused > 0 ? EXIT_BROKEN : 0;
}

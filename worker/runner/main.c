/* The runner's main loop.  Blocking on purpose: what could wait on two things at once would need a
 * loop of its own beside the handler's code, and threads or signals to get in between. */
#include "worker/runner/runner.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/crash_point.h"
#include "worker/child.h"
#include "worker/rest.h"
#include "worker/runner/describe.h"
#include "worker/runner/job.h"
#include "worker/runner/sandbox.h"

enum {
    EXIT_OK = 0,
    EXIT_USAGE = 64,
    EXIT_INTERNAL = 70,
    EXIT_MEMORY = 71,
    EXIT_CONFIG = 78,
    CONFIG_MAX_BYTES = 4 * 1024 * 1024,
    GATE_WAIT_MS = 100,
    FLUSH_AFTER_US = 1000,
    LOOK_LONGER_US = 200, /* what a longer job left behind is looked for at once, ... */
    LOOK_FIRST = 32, /* ... what each type's first jobs did likewise, ... */
    LOOK_EVERY_MS = 10, /* ... what others did so often, and after so long without a job; ... */
    LOOK_ALONE_US = 2000, /* ... what one did that came alone at once, but not more often */
};

struct options {
    bool describe;
    int index, socket_fd, slots_fd, config_fd, log_fd;
    long parent;
    const char *config_name, *directory, *out_dir, *log_level, *log_format;
};

static int number(const char *text)
{
    char *end;
    errno = 0;
    long n = strtol(text, &end, 10);
    return *text == '\0' || *end != '\0' || errno != 0 || n < 0 || n > INT32_MAX ? -1 : (int)n;
}

static bool parse_options(int argc, char **argv, struct options *o)
{
    enum {
        DESCRIBE = 1,
        INDEX,
        SOCKET,
        SLOTS,
        CONFIG,
        LOG,
        PARENT,
        NAME,
        DIRECTORY,
        OUT,
        LEVEL,
        FORMAT
    };
    static const struct option table[] = {
        {"describe", no_argument, NULL, DESCRIBE},
        {"index", required_argument, NULL, INDEX},
        {"socket-fd", required_argument, NULL, SOCKET},
        {"slots-fd", required_argument, NULL, SLOTS},
        {"config-fd", required_argument, NULL, CONFIG},
        {"log-fd", required_argument, NULL, LOG},
        {"parent", required_argument, NULL, PARENT},
        {"config-name", required_argument, NULL, NAME},
        {"directory", required_argument, NULL, DIRECTORY},
        {"out-dir", required_argument, NULL, OUT},
        {"log-level", required_argument, NULL, LEVEL},
        {"log-format", required_argument, NULL, FORMAT},
        {0},
    };
    *o = (struct options){.index = -1,
                          .socket_fd = -1,
                          .slots_fd = -1,
                          .config_fd = -1,
                          .log_fd = -1,
                          .parent = -1,
                          .config_name = "worker.yaml",
                          .directory = "."};
    int c;
    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        switch (c) {
        case DESCRIBE:
            o->describe = true;
            break;
        case INDEX:
            o->index = number(optarg);
            break;
        case SOCKET:
            o->socket_fd = number(optarg);
            break;
        case SLOTS:
            o->slots_fd = number(optarg);
            break;
        case CONFIG:
            o->config_fd = number(optarg);
            break;
        case LOG:
            o->log_fd = number(optarg);
            break;
        case PARENT:
            o->parent = number(optarg);
            break;
        case NAME:
            o->config_name = optarg;
            break;
        case DIRECTORY:
            o->directory = optarg;
            break;
        case OUT:
            o->out_dir = optarg;
            break;
        case LEVEL:
            o->log_level = optarg;
            break;
        case FORMAT:
            o->log_format = optarg;
            break;
        default:
            return false;
        }
    }
    return optind == argc && o->config_fd >= 0 &&
           (o->describe || (o->index >= 0 && o->socket_fd >= 0 && o->slots_fd >= 0));
}

/* All runners share one open file, and so its position: hence pread(). */
static int read_config_text(int fd, struct buf *text, struct err *err)
{
    struct stat st;
    if (fstat(fd, &st) == -1)
        return err_errno(err, ERR_SYSTEM, "cannot read the configuration");
    if (st.st_size > CONFIG_MAX_BYTES)
        return err_set(err, ERR_TOO_BIG, "a configuration of %lld bytes", (long long)st.st_size);
    size_t size = (size_t)st.st_size;
    buf_reserve(text, size);
    while (text->len < size) {
        ssize_t n = pread(fd, text->data + text->len, size - text->len, (off_t)text->len);
        if (n == -1 && errno == EINTR)
            continue;
        if (n == -1)
            return err_errno(err, ERR_SYSTEM, "cannot read the configuration");
        if (n == 0)
            return err_set(err, ERR_SYSTEM, "the configuration ends early");
        buf_grown(text, (size_t)n);
    }
    return 0;
}

static int read_config(const struct options *o, struct config *ret, struct err *err)
{
    struct buf text = BUF_INIT;
    int rc = read_config_text(o->config_fd, &text, err);
    close(o->config_fd);
    if (rc == 0) {
        struct config_errors errors = {0};
        rc = config_load_text(o->config_name, o->directory, buf_span(&text), ret, &errors);
        if (rc < 0) {
            char line[ERR_TEXT_BYTES + ERR_FILE_BYTES];
            err_set(err, ERR_INVALID, "%s",
                    errors.count > 0 ? err_format(&errors.items[0], line, sizeof line)
                                     : "the configuration cannot be read");
        }
        config_errors_done(&errors);
    }
    buf_done(&text);
    return rc;
}

static void setup_log(const struct options *o, const struct config *c)
{
    enum log_level level = c->log.level;
    enum log_format format = c->log.format;
    if (o->log_level != NULL && log_level_parse(o->log_level, &level) < 0)
        level = c->log.level;
    if (o->log_format != NULL && log_format_parse(o->log_format, &format) < 0)
        format = c->log.format;
    log_setup(level, format);
}

static void on_stop_signal(int sig)
{
    (void)sig;
    job_stop_flag = 1;
}

static void setup_signals(void)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGPIPE, &ignore, NULL);
    sigaction(SIGINT, &ignore, NULL); /* ^C goes to the terminal's group; the worker decides */
    /* No SA_RESTART: a handler that sleeps or reads is to notice. */
    struct sigaction stop = {.sa_handler = on_stop_signal};
    sigaction(SIGTERM, &stop, NULL);
}

static void on_plugin_loaded(void *arg, const struct plugin *p)
{
    struct runner *r = arg;
    if (p->error == NULL)
        return;
    log_msg(LOG_ERROR, "plugin refused", KV_STR("plugin", p->path), KV_STR("error", p->error),
            KV_INT("runner", r->index));
    char *text = xasprintf("%s: %s", p->path, p->error);
    channel_write(&r->channel, WIRE_FATAL, 0, 0, 0, SPAN_OF_STR(text));
    free(text);
}

static void say_hello(struct runner *r)
{
    uint32_t n = (uint32_t)r->plugins.handler_count;
    char bytes[4] = {(char)n, (char)(n >> 8), (char)(n >> 16), (char)(n >> 24)};
    channel_write(&r->channel, WIRE_HELLO, 0, 0, 0, (struct span){bytes, sizeof bytes});
    channel_flush(&r->channel, mono_us());
}

/* Is the worker still known to be the owner of its claims?  Its last good beat must be younger than
 * three fifths of what makes others take them. */
static bool may_begin(struct runner *r)
{
    int64_t good =
        atomic_load_explicit(&slots_header(r->slots)->good_beat_boot_ms, memory_order_relaxed);
    return good == 0 || job_clocks(r)->boot_ms - good < r->config.dead_after_ms * 3 / 5;
}

/* Reports of earlier jobs must not wait for one that may take long, nor die with it. */
static bool must_flush_before(const struct runner *r, const struct job *j)
{
    const struct channel *ch = &r->channel;
    return ch->out.len > 0 || (!job_is_fast(j) && ch->note_count > 0);
}

/* Is it time to see what the last jobs left behind?  See footprint.h. */
static bool must_look(const struct runner *r, const struct job *j, int64_t now_us)
{
    return r->last != NULL &&
           (r->last->clean_looks < LOOK_FIRST || now_us - j->begun_us > LOOK_LONGER_US ||
            now_us - r->looked_us > LOOK_EVERY_MS * 1000);
}

/* The worker takes back what is here and not begun, and starts another in our place. */
static void leave(struct runner *r)
{
    channel_write(&r->channel, WIRE_LEAVING, 0, 0, 0, (struct span){0});
    r->channel.drain = true;
}

static int run_one(struct runner *r, struct job *j, const struct wire_frame *f, struct err *err)
{
    CRASH_POINT("runner.received");
    int rc = job_start(j, f, err);
    if (rc == 2) {
        leave(r);
        return 0;
    }
    channel_take(&r->channel, f);
    if (rc <= 0)
        return rc;
    CRASH_POINT("runner.begun");
    if (must_flush_before(r, j))
        channel_flush(&r->channel, j->begun_us);
    job_run(j);
    CRASH_POINT("runner.handler-returned");
    int64_t now_us = job_end(j);
    struct channel *ch = &r->channel;
    if (ch->note_count == CHANNEL_NOTES || now_us - ch->flushed_us >= FLUSH_AFTER_US) {
        channel_flush(ch, now_us);
        job_note_cpu(r);
        CRASH_POINT("runner.flushed");
        if (ch->pos < ch->in.len)
            channel_receive(ch, 0); /* is there a DRAIN behind the jobs at hand? */
        r->clocks.now_us = 0; /* that may have taken its time */
    }
    if (must_look(r, j, now_us) && !job_left_clean(j))
        leave(r);
    return 0;
}

/* One job came alone: to look now hardly ever delays another, and then no timer is armed for it. */
static bool came_alone(const struct runner *r)
{
    return r->unseen == 1 && r->channel.flushed_us - r->looked_us > LOOK_ALONE_US;
}

/* Looks at what the last handlers left behind, once nothing has come for a moment where jobs come
 * quickly: the look takes longer than a short one. */
static void await_frames(struct runner *r, struct job *j)
{
    struct channel *ch = &r->channel;
    if (came_alone(r) && !job_left_clean(j)) {
        leave(r);
        return;
    }
    rest_begin(r->page);
    channel_receive(ch, r->last != NULL ? LOOK_EVERY_MS : -1);
    rest_end(r->page);
    r->clocks.now_us = 0;
    if (ch->pos == ch->in.len && !ch->drain && !job_left_clean(j))
        leave(r);
}

static int run_jobs(struct runner *r, struct job *j, struct err *err)
{
    struct channel *ch = &r->channel;
    for (;;) {
        struct wire_frame f;
        int rc = channel_peek(ch, &f, err);
        if (rc < 0)
            return rc;
        if (rc == 0) {
            channel_flush(ch, mono_us());
            if (ch->drain)
                return 0;
            await_frames(r, j);
            continue;
        }
        switch (f.type) {
        case WIRE_JOB:
            if (ch->drain) {
                channel_take(ch, &f); /* it was not begun, and the worker knows that by its slot */
            } else if (!may_begin(r)) {
                channel_flush(ch, mono_us());
                channel_receive(ch, GATE_WAIT_MS);
                r->clocks.now_us = r->clocks.read_us = 0;
            } else if (run_one(r, j, &f, err) < 0) {
                return -ERR_PROTOCOL;
            }
            continue;
        case WIRE_CANCEL: /* for a job that has ended */
        case WIRE_DRAIN: /* noticed when it was received */
            channel_take(ch, &f);
            continue;
        case WIRE_ENQUEUED: /* nobody waits any more */
            ch->unanswered -= ch->unanswered > 0;
            channel_take(ch, &f);
            continue;
        case WIRE_HELLO:
        case WIRE_DONE:
        case WIRE_RESULT:
        case WIRE_MESSAGE:
        case WIRE_PROGRESS:
        case WIRE_ENQUEUE:
        case WIRE_FATAL:
        case WIRE_LEAVING:
            break;
        }
        return err_set(err, ERR_PROTOCOL, "the worker sent a %s frame", wire_type_name(f.type));
    }
}

/* The page of this process; a signal-safe way out when memory is gone. */
static struct runner_page *own_page;

/* Under a memory limit that is the job's failure, not a crash of ours. */
static void on_exhaustion(void)
{
    if (own_page == NULL)
        return;
    atomic_store(&own_page->out_of_memory, 1);
    _exit(EXIT_MEMORY);
}

/* Attaches to what the worker handed over.  The configuration is read already. */
static int runner_start(struct runner *r, const struct options *o, struct err *err)
{
    r->index = o->index;
    r->pid = getpid();
    r->out_dir = o->out_dir;
    int rc = slots_attach(o->slots_fd, o->index, &r->slots, err);
    if (rc == 0)
        rc = job_guard(r, err);
    if (rc < 0)
        return rc;
    r->page = slots_runner_page(r->slots, r->index);
    atomic_store(&r->page->program_pgid, 0);
    atomic_store(&r->page->current_slot, -1);
    atomic_store(&r->page->out_of_memory, 0);
    atomic_store(&r->page->cpu_us, 0);
    own_page = r->page;
    mem_on_exhaustion(on_exhaustion);
    if (child_become_subreaper(NULL) < 0)
        log_msg(LOG_DEBUG, "no subreaper here; what programs leave behind goes to init");
    sandbox_offer_to_oom_killer();
    const struct plugins_events events = {.on_loaded = on_plugin_loaded, .arg = r};
    plugins_load(&r->config, o->directory, true, &events, &r->plugins);
    rest_init(r->page);
    footprint_take(&r->footprint, r->channel.fd);
    say_hello(r);
    CRASH_POINT("runner.hello");
    return 0;
}

static int fail(struct channel *ch, int exit_code, const struct err *err)
{
    log_msg(LOG_ERROR, "runner cannot work", KV_STR("error", err->text));
    channel_write(ch, WIRE_FATAL, 0, 0, 0, SPAN_OF_STR(err->text));
    channel_flush(ch, mono_us());
    return exit_code;
}

static int run(const struct options *o)
{
    struct runner r = {0};
    struct err err = {0};
    if (o->log_fd > STDERR_FILENO && fcntl(o->log_fd, F_SETFD, FD_CLOEXEC) == 0)
        log_to(o->log_fd);
    channel_init(&r.channel, o->socket_fd);
    setup_signals();
    int rc = read_config(o, &r.config, &err);
    if (rc < 0) {
        rc = fail(&r.channel, EXIT_CONFIG, &err);
        channel_done(&r.channel);
        return rc;
    }
    setup_log(o, &r.config);
    struct job job;
    job_init(&job, &r);
    rc = runner_start(&r, o, &err);
    if (rc == 0)
        rc = run_jobs(&r, &job, &err);
    rc = rc < 0 ? fail(&r.channel, EXIT_INTERNAL, &err) : EXIT_OK;
    plugins_done(&r.plugins);
    footprint_done(&r.footprint);
    job_done(&job);
    channel_done(&r.channel);
    own_page = NULL;
    slots_free(r.slots);
    config_done(&r.config);
    return rc;
}

static int describe(const struct options *o)
{
    struct config c = {0};
    struct err err = {0};
    if (read_config(o, &c, &err) < 0) {
        log_msg(LOG_ERROR, "the configuration cannot be used", KV_STR("error", err.text));
        return EXIT_CONFIG;
    }
    setup_log(o, &c);
    int rc = describe_run(&c, o->directory, STDOUT_FILENO);
    config_done(&c);
    return rc;
}

int runner_main(int argc, char **argv)
{
    struct options o;
    if (!parse_options(argc, argv, &o)) {
        fprintf(stderr, "worker --runner is started by worker\n");
        return EXIT_USAGE;
    }
    if (o.describe)
        return describe(&o);
    if (o.parent > 0 && getppid() != (pid_t)o.parent)
        return EXIT_OK; /* it died before its death could have been told */
    return run(&o);
}

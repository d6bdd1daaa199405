/* enqueue - puts jobs on a queue from a shell, a script or cron.
 *
 * It is a client like any other: what it does is one LPUSH of a JSON text onto a Redis list,
 * which --print shows.  What it adds is checking: a document that a worker would bury is refused
 * here, with the member named, and for a bulk the exact account of what was stored.
 *
 * Read next: options.c (the command line), batch.c (many at once).
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include <hiredis/hiredis.h>

#include "common/clock.h"
#include "common/document.h"
#include "common/document_build.h"
#include "common/lines.h"
#include "common/redis_reply.h"
#include "common/session.h"
#include "common/store_print.h"
#include "common/token.h"
#include "enqueue/batch.h"
#include "enqueue/input.h"
#include "enqueue/options.h"
#include "enqueue/report.h"

/* --print writes out what it has above this. */
enum { PRINT_CHUNK_BYTES = 256 * 1024 };

static volatile sig_atomic_t interrupted; /* set by SIGINT and SIGTERM during a bulk */

static void on_signal(int number)
{
    (void)number; /* both mean: stop, and say what is stored */
    interrupted = 1;
}

/* The first signal ends a bulk in good order; a second one kills as usual. */
static void catch_signals(void)
{
    struct sigaction stop = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    if (sigaction(SIGINT, &stop, NULL) == -1 || sigaction(SIGTERM, &stop, NULL) == -1)
        BUG("sigaction: %s", strerror(errno));
}

/* What the parts of a run share. */
struct run {
    struct enqueue_options *options;
    struct session session;
    struct store_queue queue;
    struct document_limits limits;
    struct batch *batch;
    struct buf printed; /* --print */
    struct buf args, on_success, on_failure;
    struct progress progress;
    int64_t bad_lines;
};

static int complain(const struct err *err, int exit_code)
{
    char text[ERR_TEXT_BYTES + ERR_FILE_BYTES + 32];
    fprintf(stderr, "enqueue: %s\n", err_format(err, text, sizeof text));
    return exit_code;
}

/* Each line of `text` as one of ours. */
static void say_lines(const struct buf *text)
{
    const char *p = text->data;
    while (*p != '\0') {
        int len = (int)strcspn(p, "\n");
        fprintf(stderr, "enqueue: %.*s\n", len, p);
        p += len + (p[len] == '\n');
    }
}

/* Writes to standard output and says if that failed: a pipe that is gone must not look like
 * success. */
static int flush_output(void)
{
    if (fflush(stdout) == 0)
        return EX_OK;
    fprintf(stderr, "enqueue: standard output: %s\n", strerror(errno));
    return EX_IOERR;
}

static void write_printed(struct run *r, size_t above)
{
    if (r->printed.len <= above)
        return;
    fwrite(r->printed.data, 1, r->printed.len, stdout);
    buf_clear(&r->printed);
}

/* Reads and checks the JSON that options name.  Exit code. */
static int load_parts(struct run *r)
{
    struct enqueue_options *o = r->options;
    struct err err = {0};
    int rc = 0;
    if (o->args != NULL)
        rc = input_json(o->args, "args", &r->limits, &r->args, &o->parts.args, &err);
    if (rc == 0 && o->on_success != NULL)
        rc = input_json(o->on_success, "on-success", &r->limits, &r->on_success,
                        &o->parts.on_success, &err);
    if (rc == 0 && o->on_failure != NULL)
        rc = input_json(o->on_failure, "on-failure", &r->limits, &r->on_failure,
                        &o->parts.on_failure, &err);
    if (rc == -ERR_SYSTEM)
        return complain(&err, EX_NOINPUT);
    return rc == 0 ? EX_OK : complain(&err, EX_DATAERR);
}

/* WAIT, after everything was pushed.  Exit code. */
static int wait_for_replicas(struct run *r)
{
    const struct enqueue_options *o = r->options;
    if (o->wait_replicas == 0)
        return EX_OK;
    struct buf command = BUF_INIT;
    struct err err = {0};
    int code = EX_OK;
    store_cmd_wait_replicas(&command, o->wait_replicas, o->wait_timeout_ms);
    if (o->print) {
        if (store_print(buf_span(&command), &r->printed, &err) != 0)
            code = complain(&err, EX_SOFTWARE);
    } else {
        redisReply *reply = NULL;
        int64_t replicas = 0;
        int rc = redis_client_call(r->session.client, buf_span(&command), &reply, &err);
        if (rc == 0)
            rc = store_read_count(reply, &replicas, &err);
        if (rc != 0) {
            err_prefix(&err, "stored, but waiting for replicas failed");
            code = complain(&err, EX_TEMPFAIL);
        } else if (replicas < o->wait_replicas) {
            fprintf(stderr, "enqueue: stored, but only %" PRId64 " of %d replicas have it\n",
                    replicas, o->wait_replicas);
            code = EX_TEMPFAIL;
        }
        if (reply != NULL)
            redis_reply_free(reply);
    }
    buf_done(&command);
    return code;
}

/* One job.  Exit code. */
static int push_one(struct run *r)
{
    struct document_parts parts = r->options->parts;
    struct uuid_source source = {0};
    struct buf document = BUF_INIT;
    struct document parsed;
    struct err err = {0};
    char id[UUID_BYTES + 1];
    int code = EX_OK;

    if (parts.id == NULL) {
        if (uuid_v7(&source, wall_ms(), id, &err) != 0)
            return complain(&err, EX_SOFTWARE);
        parts.id = id;
    }
    parts.enqueued_at_ms = wall_ms();
    document_build(&document, &parts);
    if (document_parse(buf_span(&document), &r->limits, &parsed, &err) != 0) {
        code = complain(&err, EX_DATAERR);
    } else if (batch_add(r->batch, 1, buf_span(&document), &err) != 0 ||
               batch_flush(r->batch, &err) != 0) {
        const struct batch_account *a = batch_account(r->batch);
        struct buf text = BUF_INIT;
        report_answer(&text, a->answer, a->why.text);
        buf_printf(&text,
                   a->answer == STORE_GONE ? "job %s may or may not be stored\n"
                                           : "job %s is not stored\n",
                   parts.id);
        say_lines(&text);
        buf_done(&text);
        code = report_exit_code(a->answer);
    } else if (!r->options->print) {
        printf("%s\n", parts.id);
        code = wait_for_replicas(r);
    } else {
        code = wait_for_replicas(r);
    }
    buf_done(&document);
    return code;
}

/* The end of a bulk or a repeat: awaits the answers, prints the number.  `complete` = everything
 * was handed to the batch.  Exit code. */
static int finish_many(struct run *r, const char *noun, bool complete)
{
    struct err err = {0};
    int rc = batch_flush(r->batch, &err);
    progress_end(&r->progress);
    const struct batch_account *a = batch_account(r->batch);
    if (rc != 0 || !complete) {
        struct buf text = BUF_INIT;
        report_failure(&text, a, noun, complete && rc == 0);
        say_lines(&text);
        buf_done(&text);
    }
    if (!r->options->print)
        printf("%" PRId64 "\n", a->stored);
    if (rc != 0)
        return report_exit_code(a->answer);
    if (!complete)
        return EX_TEMPFAIL;
    int code = a->stored > 0 ? wait_for_replicas(r) : EX_OK;
    return code == EX_OK && r->bad_lines > 0 ? EX_DATAERR : code;
}

static void bad_line(struct run *r, int64_t number, const char *why)
{
    progress_end(&r->progress);
    fprintf(stderr, "enqueue: line %" PRId64 ": %s\n", number, why);
    r->bad_lines++;
}

/* Hands one line on.  Negative when the batch has failed. */
static int push_line(struct run *r, int64_t number, struct span line, struct err *err)
{
    if (json_trim(line).len == 0)
        return 0;
    struct document parsed;
    struct err bad;
    err_init(&bad);
    if (document_parse(line, &r->limits, &parsed, &bad) != 0) {
        bad_line(r, number, bad.text);
        return 0;
    }
    int rc = batch_add(r->batch, number, line, err);
    if (r->options->print)
        write_printed(r, PRINT_CHUNK_BYTES);
    progress_step(&r->progress, number);
    return rc;
}

/* Waits until `fd` can be read or a signal asks us to stop.  The signals are let in only while we
 * wait, so that none comes between looking at the flag and waiting. */
static void wait_for_input(int fd)
{
    sigset_t ours, before;
    sigemptyset(&ours);
    sigaddset(&ours, SIGINT);
    sigaddset(&ours, SIGTERM);
    sigprocmask(SIG_BLOCK, &ours, &before);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (!interrupted)
        (void)ppoll(&p, 1, NULL, &before); /* what went wrong the next read will say */
    sigprocmask(SIG_SETMASK, &before, NULL);
}

/* The next line.  Before it waits for input, all lines so far are stored: a program that writes a
 * line now and then need not fill a command to have it sent.  enum lines_result but LINES_MORE;
 * -ERR_SYSTEM if reading fails, -ERR_CLOSED if a signal came or the batch has failed. */
static int next_line(struct run *r, struct lines *lines, struct span *ret_line, struct err *err)
{
    int got;
    while ((got = (int)lines_next(lines, ret_line)) == LINES_MORE) {
        struct pollfd p = {.fd = lines->fd, .events = POLLIN};
        if (poll(&p, 1, 0) == 0) {
            int rc = batch_flush(r->batch, err);
            if (rc != 0)
                return rc;
            write_printed(r, 0);
            (void)fflush(stdout); /* what failed is said at the end */
            wait_for_input(lines->fd);
        }
        struct err why = {0};
        int rc = interrupted ? -ERR_CLOSED : lines_fill(lines, &why);
        if (rc == -ERR_SYSTEM)
            return err_set(err, ERR_SYSTEM, "%s", why.text);
        if (rc != 0 && interrupted)
            return rc;
    }
    return got;
}

static int push_bulk(struct run *r)
{
    struct enqueue_options *o = r->options;
    struct err err = {0};
    int fd = input_open(o->bulk, &err);
    if (fd < 0)
        return complain(&err, EX_NOINPUT);
    struct lines lines;
    lines_init(&lines, fd, r->limits.max_bytes);
    int rc = 0;
    bool complete = false;
    while (rc == 0 && !interrupted) {
        struct span line;
        int got = next_line(r, &lines, &line, &err);
        if (got <= 0) {
            complete = got == LINES_END;
            break;
        }
        if (ranges_pass(&o->skip, lines.number))
            continue;
        if (got == LINES_TOO_LONG) {
            char why[96];
            snprintf(why, sizeof why, "longer than %zu bytes", r->limits.max_bytes);
            bad_line(r, lines.number, why);
        } else {
            rc = push_line(r, lines.number, line, &err);
        }
    }
    lines_done(&lines);
    if (fd != STDIN_FILENO)
        (void)close(fd); /* only read from */
    if (err.code == ERR_SYSTEM) {
        err_prefix(&err, "%s", o->bulk);
        (void)complain(&err, EX_NOINPUT);
    }
    int code = finish_many(r, "line", complete);
    return err.code == ERR_SYSTEM ? EX_NOINPUT : code;
}

static int push_repeated(struct run *r)
{
    struct enqueue_options *o = r->options;
    struct document_parts parts = o->parts;
    struct uuid_source source = {0};
    struct buf document = BUF_INIT;
    struct document parsed;
    struct err err = {0};
    char id[UUID_BYTES + 1] = "";
    int64_t n = 1, now = wall_ms();
    parts.id = id;
    for (; n <= o->repeat && !interrupted; n++) {
        if (ranges_pass(&o->skip, n))
            continue;
        if (n % 64 == 1)
            now = wall_ms();
        if (uuid_v7(&source, now, id, &err) != 0)
            break;
        parts.enqueued_at_ms = now;
        buf_clear(&document);
        document_build(&document, &parts);
        /* The jobs differ in their id only: if one is good, all are. */
        if (batch_account(r->batch)->last_line == 0 &&
            document_parse(buf_span(&document), &r->limits, &parsed, &err) != 0) {
            buf_done(&document);
            return complain(&err, EX_DATAERR);
        }
        if (batch_add(r->batch, n, buf_span(&document), &err) != 0)
            break;
        if (o->print)
            write_printed(r, PRINT_CHUNK_BYTES);
        progress_step(&r->progress, n);
    }
    buf_done(&document);
    if (err.code == ERR_SYSTEM)
        (void)complain(&err, EX_SOFTWARE); /* finish_many() decides the exit code */
    return finish_many(r, "job", n > o->repeat);
}

/* worker.yaml, the queue's keys, the connection.  Exit code. */
static int prepare(struct run *r)
{
    const struct enqueue_options *o = r->options;
    struct config_errors errors = {0};
    struct err err = {0};
    char text[ERR_TEXT_BYTES + ERR_FILE_BYTES + 32];
    if (session_init(&r->session, &o->session, &errors) != 0) {
        for (int i = 0; i < errors.count; i++)
            fprintf(stderr, "enqueue: %s\n", err_format(&errors.items[i], text, sizeof text));
        config_errors_done(&errors);
        return EX_CONFIG;
    }
    if (r->session.notice != NULL)
        fprintf(stderr, "enqueue: %s\n", r->session.notice);
    if (session_queue(&r->session, o->queue, &r->queue, &err) != 0)
        return complain(&err, EX_USAGE);
    if (session_queue_unlisted(&r->session, o->queue))
        fprintf(stderr, "enqueue: queue %s is not in %s; pushing to %s\n", o->queue,
                r->session.config.path, r->queue.list);
    r->limits.max_bytes = (size_t)r->session.config.limits.document_bytes;
    r->limits.max_depth = r->session.config.limits.nesting;
    return EX_OK;
}

static int connect_or_print(struct run *r)
{
    struct err err = {0};
    if (!r->options->print) {
        int rc = session_connect(&r->session, "enqueue", false, &err);
        if (rc != 0)
            return complain(&err, rc == -ERR_SYNTAX || rc == -ERR_INVALID || rc == -ERR_RANGE
                                      ? EX_USAGE
                                      : EX_UNAVAILABLE);
    }
    r->batch = batch_new(r->session.client, r->options->print ? &r->printed : NULL, &r->queue);
    return EX_OK;
}

static int run(struct enqueue_options *o)
{
    struct run r = {
        .options = o,
        .limits = DOCUMENT_LIMITS_INIT,
        .printed = BUF_INIT,
        .args = BUF_INIT,
        .on_success = BUF_INIT,
        .on_failure = BUF_INIT,
    };
    int code = prepare(&r);
    if (code == EX_OK)
        code = load_parts(&r);
    if (code == EX_OK)
        code = connect_or_print(&r);
    if (code == EX_OK && (o->bulk != NULL || o->repeat > 0)) {
        catch_signals();
        progress_start(&r.progress);
        code = o->bulk != NULL ? push_bulk(&r) : push_repeated(&r);
    } else if (code == EX_OK) {
        code = push_one(&r);
    }
    write_printed(&r, 0);
    /* The client first: its callbacks write into the batch. */
    session_done(&r.session);
    batch_free(r.batch);
    store_queue_done(&r.queue);
    buf_done(&r.printed);
    buf_done(&r.args);
    buf_done(&r.on_success);
    buf_done(&r.on_failure);
    int flushed = flush_output();
    return code != EX_OK ? code : flushed;
}

int main(int argc, char **argv)
{
    struct enqueue_options options;
    struct err err = {0};
    struct buf help = BUF_INIT;
    int code = EX_OK;
    if (enqueue_options_read(&options, argc, argv, wall_ms(), &err) != 0) {
        code = complain(&err, EX_USAGE);
        fputs("enqueue: try --help\n", stderr);
    } else if (options.action == ENQUEUE_HELP) {
        enqueue_options_help(&help);
        fputs(help.data, stdout);
        code = flush_output();
    } else if (options.action == ENQUEUE_VERSION) {
        puts("enqueue (Bucketline) " BL_VERSION);
        code = flush_output();
    } else {
        code = run(&options);
    }
    buf_done(&help);
    enqueue_options_done(&options);
    return code;
}

/* jobctl - shows what lies in the queues and mends it: dead letters, parked and delayed jobs,
 * workers.
 *
 * A thin shell over common/inspect.h and common/repair.h.  Read next: verbs.c (what there is),
 * letters.c (most of it).
 */
#include "jobctl/jobctl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "jobctl/options.h"

int jobctl_complain(const struct err *err, int exit_code)
{
    char text[ERR_TEXT_BYTES + ERR_FILE_BYTES + 32];
    jobctl_say("%s", err_format(err, text, sizeof text));
    return exit_code;
}

int jobctl_fail(const struct err *err)
{
    return jobctl_complain(err, session_exit_code(err->code));
}

void jobctl_say(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("jobctl: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
}

/* ---- output ----------------------------------------------------------------------------- */

void jobctl_write(struct jobctl *ctl, size_t above)
{
    if (ctl->out.len <= above)
        return;
    fwrite(ctl->out.data, 1, ctl->out.len, stdout);
    buf_clear(&ctl->out);
}

static void add_json(struct buf *out, json_t *value, size_t flags)
{
    char *text = json_dumps(value, flags);
    if (text == NULL)
        BUG("JSON that cannot be written");
    buf_add_str(out, text);
    free(text);
    json_decref(value);
}

void jobctl_json_item(struct jobctl *ctl, json_t *item)
{
    buf_add_str(&ctl->out, ctl->json_started ? ",\n" : "[\n");
    ctl->json_started = true;
    add_json(&ctl->out, item, JSON_COMPACT);
}

void jobctl_json_end(struct jobctl *ctl)
{
    buf_add_str(&ctl->out, ctl->json_started ? "\n]\n" : "[]\n");
}

void jobctl_json_object(struct jobctl *ctl, json_t *object)
{
    add_json(&ctl->out, object, JSON_INDENT(2));
    buf_add_char(&ctl->out, '\n');
}

/* Exit code: a pipe that is gone must not look like success. */
static int flush_output(struct jobctl *ctl)
{
    jobctl_write(ctl, 0);
    if (fflush(stdout) == 0)
        return EX_OK;
    jobctl_say("standard output: %s", strerror(errno));
    return EX_IOERR;
}

/* ---- queues ----------------------------------------------------------------------------- */

static int add_queue(struct jobctl *ctl, const char *name, struct err *err)
{
    struct store_queue q;
    int rc = session_queue(&ctl->session, name, &q, err);
    if (rc == 0)
        (void)inspect_queues_add(&ctl->queues, &q); /* named twice is shown once */
    return rc;
}

static int add_found(struct jobctl *ctl, struct err *err)
{
    struct inspect_queues found = {0};
    int rc = inspect_find_queues(ctl->session.client, session_prefix(&ctl->session), &found, err);
    if (rc != 0)
        return rc;
    for (int i = 0; i < found.count; i++)
        (void)inspect_queues_add(&ctl->queues, &found.items[i]); /* takes it, also if known */
    if (found.cut)
        jobctl_say("Redis holds too many keys to search them all; there may be more queues");
    inspect_queues_done(&found);
    return 0;
}

int jobctl_choose_queues(struct jobctl *ctl, int count, char **names)
{
    struct err err = {0};
    int rc = 0;
    if (count == 0 && ctl->queue != NULL) {
        rc = add_queue(ctl, ctl->queue, &err);
        return rc == 0 ? EX_OK : jobctl_complain(&err, EX_USAGE);
    }
    if (ctl->session_options.key != NULL && count != 1) {
        jobctl_say("--key goes with exactly one queue");
        return EX_USAGE;
    }
    for (int i = 0; i < count && rc == 0; i++)
        rc = add_queue(ctl, names[i], &err);
    if (rc != 0)
        return jobctl_complain(&err, EX_USAGE);
    if (count > 0)
        return EX_OK;
    const struct config *c = &ctl->session.config;
    for (int i = 0; ctl->session.has_config && i < c->queue_count && rc == 0; i++)
        rc = add_queue(ctl, c->queues[i].name, &err);
    if (rc == 0 && (!ctl->session.has_config || ctl->scan))
        rc = add_found(ctl, &err);
    return rc == 0 ? EX_OK : jobctl_fail(&err);
}

/* ---- a run ------------------------------------------------------------------------------ */

static int run(struct jobctl *ctl)
{
    struct config_errors errors = {0};
    struct err err = {0};
    int code = EX_OK;
    if (session_init(&ctl->session, &ctl->session_options, &errors) != 0) {
        for (int i = 0; i < errors.count; i++)
            code = jobctl_complain(&errors.items[i], EX_CONFIG);
        config_errors_done(&errors);
        code = EX_CONFIG;
    } else {
        if (ctl->session.notice != NULL)
            jobctl_say("%s", ctl->session.notice);
        int rc = session_connect(&ctl->session, "jobctl", true, &err);
        if (rc == -ERR_SYNTAX || rc == -ERR_INVALID || rc == -ERR_RANGE)
            code = jobctl_complain(&err, EX_USAGE);
        else if (rc != 0)
            code = jobctl_complain(&err, EX_UNAVAILABLE);
        else
            code = ctl->verb->run(ctl);
    }
    int flushed = flush_output(ctl);
    inspect_queues_done(&ctl->queues);
    session_done(&ctl->session);
    return code != EX_OK ? code : flushed;
}

int main(int argc, char **argv)
{
    struct jobctl ctl = {.out = BUF_INIT};
    struct err err = {0};
    int code;
    if (jobctl_options_read(&ctl, argc, argv, &err) != 0) {
        code = jobctl_complain(&err, EX_USAGE);
        jobctl_say("try --help");
    } else if (ctl.version) {
        buf_add_str(&ctl.out, "jobctl (Bucketline) " BL_VERSION "\n");
        code = flush_output(&ctl);
    } else if (ctl.help) {
        jobctl_options_help(&ctl, &ctl.out);
        code = flush_output(&ctl);
    } else {
        code = run(&ctl);
    }
    buf_done(&ctl.out);
    if (ctl.url != NULL)
        explicit_bzero(ctl.url, strlen(ctl.url));
    free(ctl.url);
    return code;
}

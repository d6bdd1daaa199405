#include "enqueue/options.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "common/cli.h"
#include "common/json_span.h"
#include "common/when.h"

enum option_id {
    OPT_URL = 'u',
    OPT_CONFIG = 'c',
    OPT_QUEUE = 'q',
    OPT_REPEAT = 'n',
    OPT_HELP = 'h',
    OPT_VERSION = 'V',
    OPT_KEY = CLI_LONG_ONLY,
    OPT_PREFIX,
    OPT_ID,
    OPT_IN,
    OPT_AT,
    OPT_EXPIRES_IN,
    OPT_EXPIRES_AT,
    OPT_RETRY,
    OPT_BACKOFF,
    OPT_TIMEOUT,
    OPT_NO_DEAD,
    OPT_UNIQUE,
    OPT_UNIQUE_TTL,
    OPT_UNIQUE_UNTIL,
    OPT_GROUP,
    OPT_KEEP,
    OPT_REPLY_TO,
    OPT_ON_SUCCESS,
    OPT_ON_FAILURE,
    OPT_TAG,
    OPT_META,
    OPT_BULK,
    OPT_SKIP,
    OPT_WAIT_REPLICAS,
    OPT_WAIT_TIMEOUT,
    OPT_PRINT,
};

/* Bit 1 marks the options that make up a document: they do not go with --bulk. */
enum { DOCUMENT = 1, OTHER = 2 };

static const struct cli_option table[] = {
    CLI_HEADING("Where to:"),
    {OPT_URL, "url", "URL",
     "Redis: redis://[USER[:PASSWORD]@]HOST[:PORT][/DB], rediss://... or unix:///PATH. Without it: "
     "$BUCKETLINE_REDIS_URL, $REDIS_URL, worker.yaml, a running private Redis, in this order. "
     "A password is wiped from the process list; the environment or password_file in worker.yaml "
     "is safer still.",
     OTHER},
    {OPT_CONFIG, "config", "FILE",
     "worker.yaml, which says what list a queue has, the key prefix and where Redis is. Without "
     "it: ./worker.yaml, then /etc/bucketline/worker.yaml, if there is one.",
     OTHER},
    {OPT_QUEUE, "queue", "QUEUE",
     "The queue; \"default\" without it. Its list is queue:QUEUE "
     "unless worker.yaml names another.",
     OTHER},
    {OPT_KEY, "key", "LIST", "Push to this Redis list instead of a queue's.", OTHER},
    {OPT_PREFIX, "prefix", "TEXT", "Text before every key, instead of redis.prefix of worker.yaml.",
     OTHER},
    CLI_HEADING("The job (TIME: 2026-11-22T10:00:00Z or seconds since 1970; DUR: 90s, 5m, 2h, 7d, "
                "1h30m or seconds):"),
    {OPT_IN, "in", "DUR", "Not before DUR from now, by this machine's clock.", DOCUMENT},
    {OPT_AT, "at", "TIME", "Not before TIME.", DOCUMENT},
    {OPT_EXPIRES_IN, "expires-in", "DUR", "Not begun within DUR from now: dropped.", DOCUMENT},
    {OPT_EXPIRES_AT, "expires-at", "TIME", "Not begun by TIME: dropped.", DOCUMENT},
    {OPT_RETRY, "retry", "N",
     "Retries after the first attempt; 25 without it, 0 sends a failed job straight to the dead "
     "letters.",
     DOCUMENT},
    {OPT_BACKOFF, "backoff", "TYPE[:BASE[:MAX]]",
     "Delay before a retry: poly (the default), fixed or exp, with durations: exp:2s:1h.",
     DOCUMENT},
    {OPT_TIMEOUT, "timeout", "DUR", "How long one attempt may take; 30 minutes without it.",
     DOCUMENT},
    {OPT_NO_DEAD, "no-dead", NULL, "Forget the job when its retries are spent.", DOCUMENT},
    {OPT_ID, "id", "ID", "The job's id, at most 128 bytes; without it a new UUIDv7.", DOCUMENT},
    {OPT_META, "meta", "KEY=VALUE", "Text handed to the handler, such as traceparent. Repeatable.",
     DOCUMENT},
    {OPT_TAG, "tag", "TEXT", "A searchable word. Repeatable.", DOCUMENT},
    {OPT_KEEP, "keep", "DUR", "Keep the result for DUR after success.", DOCUMENT},
    {OPT_REPLY_TO, "reply-to", "LIST", "Redis list that gets the outcome.", DOCUMENT},
    {OPT_ON_SUCCESS, "on-success", "JSON|@FILE", "Document enqueued when this job succeeds.",
     DOCUMENT},
    {OPT_ON_FAILURE, "on-failure", "JSON|@FILE", "Document enqueued when it is given up.",
     DOCUMENT},
    CLI_HEADING("Written into the job and checked, but not acted on by this version's worker:"),
    {OPT_GROUP, "group", "NAME", "Tenant or key, for fair shares and limits.", DOCUMENT},
    {OPT_UNIQUE, "unique", "KEY[:TTL]",
     "No second live job with this key in the queue. What follows the last colon is a TTL if it "
     "is a duration with a unit (order:42:1h); a colon at the end makes all before it the key.",
     DOCUMENT},
    {OPT_UNIQUE_TTL, "unique-ttl", "DUR", "The TTL; --unique is then the key alone.", DOCUMENT},
    {OPT_UNIQUE_UNTIL, "unique-until", "start|done", "When the key is free again; done without it.",
     DOCUMENT},
    CLI_HEADING("Many at once:"),
    {OPT_BULK, "bulk", "FILE|-",
     "Enqueue the documents of FILE (- = standard input), one JSON object a line, their bytes "
     "unchanged. A bad line is named and left out, the rest is stored, and the exit code is 65. "
     "If Redis fails on the way, the lines stored, refused and unknown are listed.",
     OTHER},
    {OPT_SKIP, "skip", "LINES",
     "Leave out these lines of --bulk, or jobs of --repeat: the first "
     "1000, or 1-1000,1501-2000.",
     OTHER},
    {OPT_REPEAT, "repeat", "COUNT", "Enqueue the job COUNT times, each under an id of its own.",
     OTHER},
    CLI_HEADING("Other:"),
    {OPT_WAIT_REPLICAS, "wait-replicas", "N",
     "Wait until N replicas have what was pushed; exit 75 if fewer do in time.", OTHER},
    {OPT_WAIT_TIMEOUT, "wait-timeout", "DUR", "How long --wait-replicas waits; 5s without it.",
     OTHER},
    {OPT_PRINT, "print", NULL, "Show the Redis commands as redis-cli takes them, and send nothing.",
     OTHER},
    {OPT_HELP, "help", NULL, "Show this text.", OTHER},
    {OPT_VERSION, "version", NULL, "Show the version.", OTHER},
    CLI_END,
};

static const char help_head[] =
    "Usage: enqueue [OPTION...] TYPE [JSON | @FILE | -]\n"
    "       enqueue [OPTION...] --bulk FILE|-\n"
    "\n"
    "Puts a job on a queue, which is a plain Redis list, and prints the job's id (with --bulk or\n"
    "--repeat: the number of jobs stored).  TYPE names the handler.  JSON is the handler's args,\n"
    "any JSON value, passed on byte for byte; @FILE or - reads it from a file or standard input.\n";

static const char help_tail[] =
    "\n"
    "Exit codes: 0 stored; 64 usage; 65 bad data; 69 no Redis, or it refused us; 70 internal "
    "error;\n"
    "75 try again (Redis is full, went away, or too few replicas; the message says what is "
    "stored);\n"
    "78 worker.yaml is bad.\n"
    "\n"
    "Examples:\n"
    "  enqueue email.send '{\"to\":\"a@example.org\"}'\n"
    "  enqueue -q reports --in 10m --retry 3 report.build @report.json\n"
    "  enqueue --unique sync:7:1h --timeout 5m sync '{\"account\":7}'\n"
    "  enqueue -q import --bulk jobs.ndjson\n"
    "  enqueue --print email.send '{\"to\":\"a@example.org\"}'\n";

void enqueue_options_help(struct buf *out)
{
    buf_add_str(out, help_head);
    cli_help_options(out, table, 0);
    buf_add_str(out, help_tail);
}

/* What was given beyond the values, for the checks at the end. */
struct given {
    const char *document_option; /* the first that makes up a document; NULL = none */
    const char *unique; /* as written */
    bool in, expires_in, wait_timeout;
};

static int read_text(const char *option, const char *value, const char **ret, struct err *err)
{
    if (!utf8_valid(SPAN_OF_STR(value)))
        return err_set(err, ERR_INVALID, "--%s: not UTF-8", option);
    *ret = value;
    return 0;
}

static int read_duration(const char *option, const char *value, int64_t *ret_ms, struct err *err)
{
    int rc = duration_parse(SPAN_OF_STR(value), ret_ms, err);
    if (rc != 0)
        err_prefix(err, "--%s", option);
    return rc;
}

static int read_time(const char *option, const char *value, int64_t *ret_ms, struct err *err)
{
    int rc = time_parse(SPAN_OF_STR(value), ret_ms, err);
    if (rc != 0)
        err_prefix(err, "--%s", option);
    return rc;
}

static int add_tag(struct enqueue_options *o, const char *value, struct err *err)
{
    const char *text = NULL;
    int rc = read_text("tag", value, &text, err);
    if (rc != 0)
        return rc;
    size_t count = (size_t)o->parts.tag_count;
    o->tags = xreallocarray(o->tags, count + 1, sizeof *o->tags);
    o->tags[count] = text;
    o->parts.tags = o->tags;
    o->parts.tag_count++;
    return 0;
}

static int add_meta(struct enqueue_options *o, const char *value, struct err *err)
{
    const char *text = NULL;
    int rc = read_text("meta", value, &text, err);
    if (rc != 0)
        return rc;
    const char *equals = strchr(text, '=');
    if (equals == NULL || equals == text)
        return err_set(err, ERR_SYNTAX, "--meta wants KEY=VALUE, not \"%s\"", text);
    char *key = xstrndup(text, (size_t)(equals - text));
    size_t count = (size_t)o->parts.meta_count;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(o->meta_keys[i], key) != 0)
            continue;
        rc = err_set(err, ERR_DUPLICATE, "--meta %s is given twice", key);
        free(key);
        return rc;
    }
    o->meta_keys = xreallocarray(o->meta_keys, count + 1, sizeof *o->meta_keys);
    o->meta_values = xreallocarray(o->meta_values, count + 1, sizeof *o->meta_values);
    o->meta_copies = xreallocarray(o->meta_copies, count + 1, sizeof *o->meta_copies);
    o->meta_copies[count] = key;
    o->meta_keys[count] = key;
    o->meta_values[count] = equals + 1;
    o->parts.meta_keys = o->meta_keys;
    o->parts.meta_values = o->meta_values;
    o->parts.meta_count++;
    return 0;
}

/* Options that make up the document. */
static int read_document_option(struct enqueue_options *o, struct given *given, int id,
                                const char *value, struct err *err)
{
    struct document_parts *p = &o->parts;
    const char *name = cli_find(table, id)->name;
    if (given->document_option == NULL)
        given->document_option = name;
    switch (id) {
    case OPT_IN:
        given->in = true;
        return read_duration(name, value, &p->at_ms, err);
    case OPT_AT:
        given->in = false;
        return read_time(name, value, &p->at_ms, err);
    case OPT_EXPIRES_IN:
        given->expires_in = true;
        return read_duration(name, value, &p->expires_at_ms, err);
    case OPT_EXPIRES_AT:
        given->expires_in = false;
        return read_time(name, value, &p->expires_at_ms, err);
    case OPT_RETRY:
        return cli_int(value, "--retry", 0, INT32_MAX, &p->retries, err);
    case OPT_BACKOFF:
        return document_parts_backoff(p, value, o->backoff_type, err);
    case OPT_TIMEOUT:
        return read_duration(name, value, &p->timeout_ms, err);
    case OPT_NO_DEAD:
        p->no_dead = true;
        return 0;
    case OPT_ID:
        return read_text(name, value, &p->id, err);
    case OPT_META:
        return add_meta(o, value, err);
    case OPT_TAG:
        return add_tag(o, value, err);
    case OPT_GROUP:
        return read_text(name, value, &p->group, err);
    case OPT_UNIQUE:
        return read_text(name, value, &given->unique, err);
    case OPT_UNIQUE_TTL:
        return read_duration(name, value, &p->unique_ttl_ms, err);
    case OPT_UNIQUE_UNTIL:
        return read_text(name, value, &p->unique_until, err);
    case OPT_KEEP:
        return read_duration(name, value, &p->keep_ms, err);
    case OPT_REPLY_TO:
        return read_text(name, value, &p->reply_to, err);
    case OPT_ON_SUCCESS:
        o->on_success = value;
        return 0;
    case OPT_ON_FAILURE:
        o->on_failure = value;
        return 0;
    default:
        BUG("option %d is in the table only", id);
    }
}

/* All others. */
static int read_other_option(struct enqueue_options *o, struct given *given, int id, char *value,
                             struct err *err)
{
    int64_t number = 0;
    int rc = 0;
    switch (id) {
    case OPT_URL:
        free(o->url);
        o->url = xstrdup(value);
        o->session.url = o->url;
        redis_url_wipe(value);
        return 0;
    case OPT_CONFIG:
        o->session.config_path = value;
        return 0;
    case OPT_QUEUE:
        o->queue = value;
        return 0;
    case OPT_KEY:
        o->session.key = value;
        return 0;
    case OPT_PREFIX:
        o->session.prefix = value;
        return 0;
    case OPT_BULK:
        o->bulk = value;
        return 0;
    case OPT_SKIP:
        ranges_done(&o->skip);
        return ranges_parse(value, &o->skip, err);
    case OPT_REPEAT:
        return cli_int(value, "--repeat", 1, INT64_MAX / 2, &o->repeat, err);
    case OPT_WAIT_REPLICAS:
        rc = cli_int(value, "--wait-replicas", 1, 1000, &number, err);
        o->wait_replicas = (int)number;
        return rc;
    case OPT_WAIT_TIMEOUT:
        given->wait_timeout = true;
        return read_duration("wait-timeout", value, &o->wait_timeout_ms, err);
    case OPT_PRINT:
        o->print = true;
        return 0;
    case OPT_HELP:
        o->action = ENQUEUE_HELP;
        return 0;
    case OPT_VERSION:
        o->action = ENQUEUE_VERSION;
        return 0;
    default:
        BUG("option %d is in the table only", id);
    }
}

/* The operands: TYPE and what follows it. */
static int read_operands(struct enqueue_options *o, const struct given *given, int count,
                         char **operands, struct err *err)
{
    if (o->bulk != NULL) {
        if (given->document_option != NULL)
            return err_set(err, ERR_INVALID,
                           "--%s does not go with --bulk: the lines are the documents",
                           given->document_option);
        if (o->repeat > 0 || count > 0)
            return err_set(err, ERR_INVALID, "--bulk takes no TYPE and no --repeat");
        return 0;
    }
    if (count == 0)
        return err_set(err, ERR_MISSING, "TYPE is missing");
    if (count > 2)
        return err_set(err, ERR_INVALID, "too many arguments; is the JSON in quotes?");
    if (!document_type_valid(SPAN_OF_STR(operands[0])))
        return err_set(err, ERR_INVALID,
                       "TYPE must be 1 to 200 characters of A-Z a-z 0-9 . _ : / -");
    o->parts.type = operands[0];
    o->args = count > 1 ? operands[1] : NULL;
    if (o->skip.count > 0 && o->repeat == 0)
        return err_set(err, ERR_INVALID, "--skip goes with --bulk or --repeat");
    if (o->repeat > 0 && o->parts.id != NULL)
        return err_set(err, ERR_INVALID, "--id does not go with --repeat: each job has its own");
    return 0;
}

static int from_now(int64_t *ms, int64_t now_wall_ms, const char *option, struct err *err)
{
    if (*ms > WHEN_MAX_TIME_MS - now_wall_ms)
        return err_set(err, ERR_RANGE, "--%s: later than the year 9999", option);
    *ms += now_wall_ms;
    return 0;
}

static int finish_document(struct enqueue_options *o, const struct given *given,
                           int64_t now_wall_ms, struct err *err)
{
    struct document_parts *p = &o->parts;
    int rc = 0;
    if (given->in)
        rc = from_now(&p->at_ms, now_wall_ms, "in", err);
    if (rc == 0 && given->expires_in)
        rc = from_now(&p->expires_at_ms, now_wall_ms, "expires-in", err);
    if (rc != 0)
        return rc;
    if (given->unique == NULL && (p->unique_ttl_ms >= 0 || p->unique_until != NULL))
        return err_set(err, ERR_MISSING, "--unique-ttl and --unique-until go with --unique");
    if (given->unique != NULL) {
        size_t len = strlen(given->unique);
        if (p->unique_ttl_ms < 0)
            len = document_split_unique(given->unique, &p->unique_ttl_ms);
        o->unique_key = xstrndup(given->unique, len);
        p->unique_key = o->unique_key;
    }
    if (p->unique_until != NULL && strcmp(p->unique_until, "start") != 0 &&
        strcmp(p->unique_until, "done") != 0)
        return err_set(err, ERR_INVALID, "--unique-until must be start or done");
    if (given->wait_timeout && o->wait_replicas == 0)
        return err_set(err, ERR_MISSING, "--wait-timeout goes with --wait-replicas");
    return 0;
}

int enqueue_options_read(struct enqueue_options *o, int argc, char **argv, int64_t now_wall_ms,
                         struct err *err)
{
    *o = (struct enqueue_options){
        .queue = "default",
        .parts = DOCUMENT_PARTS_INIT,
        .wait_timeout_ms = 5000,
    };
    struct given given = {0};
    struct cli cli;
    cli_init(&cli, table, argc, argv);
    char *value;
    int rc;
    while ((rc = cli_next(&cli, &value, err)) > 0) {
        const struct cli_option *row = cli_find(table, rc);
        if (row->where == DOCUMENT)
            rc = read_document_option(o, &given, rc, value, err);
        else
            rc = read_other_option(o, &given, rc, value, err);
        if (rc != 0)
            break;
    }
    int first = cli_operands(&cli);
    cli_done(&cli);
    if (rc != 0 || o->action != ENQUEUE_RUN)
        return rc;
    rc = read_operands(o, &given, argc - first, argv + first, err);
    return rc != 0 ? rc : finish_document(o, &given, now_wall_ms, err);
}

void enqueue_options_done(struct enqueue_options *o)
{
    if (o->url != NULL)
        explicit_bzero(o->url, strlen(o->url));
    free(o->url);
    ranges_done(&o->skip);
    free(o->unique_key);
    free(o->tags);
    free(o->meta_keys);
    free(o->meta_values);
    for (int i = 0; i < o->parts.meta_count; i++)
        free(o->meta_copies[i]);
    free(o->meta_copies);
    *o = (struct enqueue_options){0};
}

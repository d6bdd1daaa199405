#include "jobctl/options.h"

#include <stdlib.h>
#include <string.h>

#include "common/cli.h"

enum option_id {
    OPT_URL = 'u',
    OPT_CONFIG = 'c',
    OPT_QUEUE = 'q',
    OPT_YES = 'y',
    OPT_HELP = 'h',
    OPT_VERSION = 'V',
    OPT_PREFIX = CLI_LONG_ONLY,
    OPT_KEY,
    OPT_SCAN,
    OPT_JSON,
    OPT_TYPE,
    OPT_LIMIT,
    OPT_OFFSET,
    OPT_ALL,
    OPT_REASON,
};

enum {
    ANY_LETTERS = VERB_LS | VERB_SHOW | VERB_RETRY | VERB_RM,
    WITH_QUEUES = VERB_QUEUES | ANY_LETTERS,
};

static const struct cli_option table[] = {
    CLI_HEADING_OF(ANY_LETTERS, "Which letters:"),
    {OPT_QUEUE, "queue", "QUEUE", "Only those of this queue.", WITH_QUEUES},
    {OPT_TYPE, "type", "TYPE", "Only those of this type.", ANY_LETTERS},
    {OPT_LIMIT, "limit", "N", "At most N; 50 without it, 0 = all.", VERB_LS},
    {OPT_OFFSET, "offset", "N", "Leave out the first N.", VERB_LS},
    {OPT_ALL, "all", NULL, "All of them: all that the options choose, or all that have this ID.",
     VERB_SHOW | VERB_RETRY | VERB_RM},
    {OPT_YES, "yes", NULL, "Do not ask.", VERB_RM},
    {OPT_REASON, "reason", "TEXT", "Shown to whoever looks why the queue is paused.", VERB_PAUSE},
    {OPT_SCAN, "scan", NULL,
     "Not only the queues of worker.yaml: search Redis for those it does not name.", WITH_QUEUES},
    CLI_HEADING("General:"),
    {OPT_URL, "url", "URL",
     "Redis: redis://[USER[:PASSWORD]@]HOST[:PORT][/DB], rediss://... or unix:///PATH. Without it: "
     "$BUCKETLINE_REDIS_URL, $REDIS_URL, worker.yaml, a running private Redis, in this order. "
     "A password is wiped from the process list; the environment or password_file in worker.yaml "
     "is safer still.",
     0},
    {OPT_CONFIG, "config", "FILE",
     "worker.yaml, which names the queues, their lists and where Redis is. Without it: "
     "./worker.yaml, then /etc/bucketline/worker.yaml, if there is one.",
     0},
    {OPT_PREFIX, "prefix", "TEXT", "Text before every key, instead of redis.prefix of worker.yaml.",
     0},
    {OPT_KEY, "key", "LIST", "The Redis list of the one queue that is named.",
     WITH_QUEUES | VERB_PAUSE | VERB_RESUME},
    {OPT_JSON, "json", NULL, "JSON instead of text for people.", 0},
    {OPT_HELP, "help", NULL, "Show this text; after a verb, its own.", 0},
    {OPT_VERSION, "version", NULL, "Show the version.", 0},
    CLI_END,
};

static int read_option(struct jobctl *ctl, int id, char *value, struct err *err)
{
    switch (id) {
    case OPT_URL:
        free(ctl->url);
        ctl->url = xstrdup(value);
        ctl->session_options.url = ctl->url;
        redis_url_wipe(value);
        return 0;
    case OPT_CONFIG:
        ctl->session_options.config_path = value;
        return 0;
    case OPT_PREFIX:
        ctl->session_options.prefix = value;
        return 0;
    case OPT_KEY:
        ctl->session_options.key = value;
        return 0;
    case OPT_QUEUE:
        ctl->queue = value;
        return 0;
    case OPT_TYPE:
        ctl->type = value;
        return 0;
    case OPT_REASON:
        ctl->reason = value;
        return 0;
    case OPT_LIMIT:
        return cli_int(value, "--limit", 0, INT64_MAX, &ctl->limit, err);
    case OPT_OFFSET:
        return cli_int(value, "--offset", 0, INT64_MAX, &ctl->offset, err);
    case OPT_JSON:
        ctl->json = true;
        return 0;
    case OPT_SCAN:
        ctl->scan = true;
        return 0;
    case OPT_YES:
        ctl->yes = true;
        return 0;
    case OPT_ALL:
        ctl->all = true;
        return 0;
    case OPT_HELP:
        ctl->help = true;
        return 0;
    case OPT_VERSION:
        ctl->version = true;
        return 0;
    default:
        BUG("option %d is in the table only", id);
    }
}

static bool is_noun(const char *word)
{
    for (const struct verb *v = jobctl_verbs; v->name != NULL; v++)
        if (v->noun != NULL && strcmp(v->noun, word) == 0)
            return true;
    return false;
}

/* Finds the verb that `words` begin with; `*ret_used` is how many words name it. */
static const struct verb *find_verb(int count, char **words, int *ret_used)
{
    for (const struct verb *v = jobctl_verbs; v->name != NULL; v++) {
        bool pair = v->noun != NULL && count > 1 && strcmp(v->noun, words[0]) == 0 &&
                    strcmp(v->name, words[1]) == 0;
        bool alone = v->noun == NULL && count > 0 && strcmp(v->name, words[0]) == 0;
        if (pair || alone) {
            *ret_used = pair ? 2 : 1;
            return v;
        }
    }
    return NULL;
}

/* Appends "ls, show, retry, rm" of a noun, or the first words of all. */
static void list_words(struct buf *out, const char *noun)
{
    const char *last = "";
    size_t start = out->len;
    for (const struct verb *v = jobctl_verbs; v->name != NULL; v++) {
        if (noun != NULL && (v->noun == NULL || strcmp(v->noun, noun) != 0))
            continue;
        const char *word = noun != NULL || v->noun == NULL ? v->name : v->noun;
        if (strcmp(word, last) == 0)
            continue;
        buf_printf(out, "%s%s", out->len > start ? ", " : "", word);
        last = word;
    }
}

static int no_verb(int count, char **words, struct err *err)
{
    struct buf text = BUF_INIT;
    int rc;
    if (count > 0 && is_noun(words[0])) {
        list_words(&text, words[0]);
        rc = count > 1 ? err_set(err, ERR_UNKNOWN, "no such verb: %s %s; there are %s", words[0],
                                 words[1], text.data)
                       : err_set(err, ERR_MISSING, "%s what? %s", words[0], text.data);
    } else {
        list_words(&text, NULL);
        rc = count > 0
                 ? err_set(err, ERR_UNKNOWN, "no such verb: %s; there are %s", words[0], text.data)
                 : err_set(err, ERR_MISSING, "a verb is missing: %s", text.data);
    }
    buf_done(&text);
    return rc;
}

/* Does every option that was given go with the verb?  `given` are their rows as bits. */
static int check_options(const struct jobctl *ctl, uint64_t given, struct err *err)
{
    const struct verb *v = ctl->verb;
    for (size_t i = 0; i < ARRAY_COUNT(table); i++) {
        const struct cli_option *o = &table[i];
        if ((given & UINT64_C(1) << i) != 0 && o->where != 0 && (o->where & v->bit) == 0)
            return err_set(err, ERR_INVALID, "--%s does not go with %s%s%s", o->name,
                           v->noun != NULL ? v->noun : "", v->noun != NULL ? " " : "", v->name);
    }
    return 0;
}

static int check_operands(const struct jobctl *ctl, struct err *err)
{
    const struct verb *v = ctl->verb;
    const char *space = v->noun != NULL ? " " : "", *noun = v->noun != NULL ? v->noun : "";
    if (ctl->operand_count < v->min_operands)
        return err_set(err, ERR_MISSING, "usage: jobctl %s%s%s %s", noun, space, v->name,
                       v->operands);
    if (ctl->operand_count > v->max_operands)
        return err_set(err, ERR_INVALID, "too many arguments; usage: jobctl %s%s%s %s", noun, space,
                       v->name, v->operands);
    bool chooses = v->bit == VERB_RETRY || v->bit == VERB_RM || v->bit == VERB_SHOW;
    if (chooses && ctl->operand_count == 0 && !ctl->all)
        return err_set(err, ERR_MISSING, "%s%s%s: an ID, or --all", noun, space, v->name);
    return 0;
}

int jobctl_options_read(struct jobctl *ctl, int argc, char **argv, struct err *err)
{
    _Static_assert(ARRAY_COUNT(table) <= 64, "the rows given are bits of a word");
    struct cli cli;
    uint64_t given = 0;
    char *value;
    int rc;
    ctl->limit = 50;
    cli_init(&cli, table, argc, argv);
    while ((rc = cli_next(&cli, &value, err)) > 0) {
        given |= UINT64_C(1) << (cli_find(table, rc) - table);
        rc = read_option(ctl, rc, value, err);
        if (rc != 0)
            break;
    }
    int first = cli_operands(&cli);
    cli_done(&cli);
    if (rc != 0 || ctl->version)
        return rc;

    char **words = argv + first;
    int count = argc - first, used = 0;
    ctl->verb = find_verb(count, words, &used);
    if (ctl->verb == NULL) {
        if (!ctl->help)
            return no_verb(count, words, err);
        if (count > 0 && is_noun(words[0]))
            ctl->noun = words[0];
        return 0;
    }
    if (ctl->help)
        return 0;
    ctl->operands = words + used;
    ctl->operand_count = count - used;
    rc = check_options(ctl, given, err);
    return rc != 0 ? rc : check_operands(ctl, err);
}

/* ---- help ------------------------------------------------------------------------------- */

static const char head[] =
    "Usage: jobctl [OPTION...] VERB...\n"
    "\n"
    "Shows what lies in the queues and mends it.  `jobctl VERB --help` tells more of each.\n"
    "\n"
    "Verbs:\n";

static const char tail[] =
    "\n"
    "Without QUEUE: all queues of worker.yaml; without a worker.yaml, those found in Redis.\n"
    "\n"
    "Exit codes: 0 done; 64 usage; 65 no such job, several of that ID, or something refused;\n"
    "69 no Redis, or it refused us; 70 internal error; 78 worker.yaml is bad.\n";

/* The lines of the list of verbs that belong to `noun`, or all (NULL). */
static void add_verbs(struct buf *out, const char *noun)
{
    for (const struct verb *v = jobctl_verbs; v->name != NULL; v++) {
        if (noun != NULL && (v->noun == NULL || strcmp(v->noun, noun) != 0))
            continue;
        size_t start = out->len;
        buf_printf(out, "  %s%s%s %s", v->noun != NULL ? v->noun : "", v->noun != NULL ? " " : "",
                   v->name, v->operands);
        int pad = 33 - (int)(out->len - start);
        buf_printf(out, "%*s  %s\n", pad > 0 ? pad : 0, "", v->about);
    }
}

void jobctl_options_help(const struct jobctl *ctl, struct buf *out)
{
    const struct verb *v = ctl->verb;
    if (v != NULL) {
        buf_printf(out, "Usage: jobctl [OPTION...] %s%s%s %s\n\n%s\n",
                   v->noun != NULL ? v->noun : "", v->noun != NULL ? " " : "", v->name, v->operands,
                   v->text);
        cli_help_options(out, table, v->bit);
    } else if (ctl->noun != NULL) {
        buf_printf(out, "Usage: jobctl [OPTION...] %s VERB...\n\n", ctl->noun);
        add_verbs(out, ctl->noun);
    } else {
        buf_add_str(out, head);
        add_verbs(out, NULL);
        cli_help_options(out, table, 0);
    }
    buf_add_str(out, tail);
}

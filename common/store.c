/* Encoding of commands, the table of scripts, and what an answer of Redis means. */
#include "common/store_priv.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/store_scripts.h"

/* ---- encoding ---------------------------------------------------------------------------- */

enum { END_BYTES = 2, HEADER_BYTES_MAX = 1 + DECIMAL_BYTES_MAX + END_BYTES };

static char *put_end(char *p)
{
    p[0] = '\r';
    p[1] = '\n';
    return p + END_BYTES;
}

static char *put_header(char *p, char kind, size_t n)
{
    *p++ = kind;
    return put_end(decimal_write(p, n));
}

void store_begin(struct buf *out, int argc)
{
    if (argc < 1)
        BUG("a command of %d arguments", argc);
    char *start = buf_reserve(out, HEADER_BYTES_MAX);
    buf_grown(out, (size_t)(put_header(start, '*', (size_t)argc) - start));
}

void store_arg(struct buf *out, struct span arg)
{
    char *start = buf_reserve(out, HEADER_BYTES_MAX + arg.len + END_BYTES);
    char *p = put_header(start, '$', arg.len);
    if (arg.len > 0)
        memcpy(p, arg.ptr, arg.len);
    buf_grown(out, (size_t)(put_end(p + arg.len) - start));
}

void store_arg_str(struct buf *out, const char *s)
{
    store_arg(out, SPAN_OF_STR(s));
}

void store_arg_int(struct buf *out, int64_t v)
{
    char text[24];
    int len = snprintf(text, sizeof text, "%lld", (long long)v);
    store_arg(out, (struct span){text, (size_t)len});
}

void store_arg_token(struct buf *out, const struct incarnation *inc, uint64_t seq)
{
    char token[TOKEN_MAX_BYTES];
    size_t len = token_format(inc, seq, token);
    store_arg(out, (struct span){token, len});
}

void store_command(struct buf *out, int argc, const struct span *argv)
{
    store_begin(out, argc);
    for (int i = 0; i < argc; i++)
        store_arg(out, argv[i]);
}

void store_begin_script(struct buf *out, enum store_script s, int keys, int args)
{
    store_begin(out, 3 + keys + args);
    store_arg_str(out, "EVALSHA");
    store_arg_str(out, store_script_sha(s));
    store_arg_int(out, keys);
}

/* ---- scripts ----------------------------------------------------------------------------- */

const char *store_script_name(enum store_script s)
{
    switch (s) {
    case SCRIPT_CLAIM:
        return "claim";
    case SCRIPT_RETRY:
        return "retry";
    case SCRIPT_BURY:
        return "bury";
    case SCRIPT_BACK:
        return "back";
    case SCRIPT_DUE:
        return "due";
    case SCRIPT_BEAT:
        return "beat";
    case SCRIPT_SCAN:
        return "scan";
    case SCRIPT_DROP_OWNER:
        return "drop_owner";
    case SCRIPT_TAKE:
        return "take";
    case SCRIPT_FINISH:
        return "finish";
    case SCRIPT_RELAY:
        return "relay";
    case SCRIPT_TRIM:
        return "trim";
    case SCRIPT_HOLD:
        return "hold";
    case SCRIPT_LET_GO:
        return "let_go";
    case STORE_SCRIPT_COUNT:
        break;
    }
    BUG("no script %d", (int)s);
}

static const struct lua_script *find_script(enum store_script s)
{
    const char *name = store_script_name(s);
    for (const struct lua_script *l = lua_scripts; l->name != NULL; l++)
        if (strcmp(l->name, name) == 0)
            return l;
    BUG("script %s is not embedded", name);
}

const char *store_script_text(enum store_script s)
{
    return find_script(s)->text;
}

const char *store_script_sha(enum store_script s)
{
    return find_script(s)->sha1;
}

/* ---- answers ----------------------------------------------------------------------------- */

const char *store_answer_name(enum store_answer a)
{
    switch (a) {
    case STORE_OK:
        return "ok";
    case STORE_GONE:
        return "gone";
    case STORE_NOSCRIPT:
        return "noscript";
    case STORE_AWAY:
        return "away";
    case STORE_MOVED:
        return "moved";
    case STORE_OOM:
        return "oom";
    case STORE_WRONGTYPE:
        return "wrongtype";
    case STORE_DENIED:
        return "denied";
    case STORE_DUPTOKEN:
        return "duptoken";
    case STORE_ERROR:
        return "error";
    }
    return "?";
}

/* The first word of an error tells what it is. */
static const struct {
    const char *code;
    enum store_answer answer;
} codes[] = {
    {"NOSCRIPT", STORE_NOSCRIPT},   {"DUPTOKEN", STORE_DUPTOKEN}, {"OOM", STORE_OOM},
    {"WRONGTYPE", STORE_WRONGTYPE}, {"NOPERM", STORE_DENIED},     {"MOVED", STORE_MOVED},
    {"ASK", STORE_MOVED},           {"LOADING", STORE_AWAY},      {"READONLY", STORE_AWAY},
    {"MASTERDOWN", STORE_AWAY},     {"CLUSTERDOWN", STORE_AWAY},  {"TRYAGAIN", STORE_AWAY},
    {"BUSY", STORE_AWAY},           {"MISCONF", STORE_AWAY},      {"NOREPLICAS", STORE_AWAY},
    {"NOAUTH", STORE_AWAY},         {"WRONGPASS", STORE_AWAY},    {"UNBLOCKED", STORE_AWAY},
};

/* Errors that come as a plain ERR and are known by their text alone. */
static const struct {
    const char *text;
    enum store_answer answer;
} phrases[] = {
    {"ERR unknown command", STORE_DENIED}, /* renamed away */
    {"Unknown Redis command called from", STORE_DENIED},
    {"The user executing the script can't run this command", STORE_DENIED},
    {"The user executing the script can't access at least one of the keys", STORE_DENIED},
    {"ERR max number of clients reached", STORE_AWAY},
};

static bool starts_with_word(const char *text, const char *word)
{
    size_t n = strlen(word);
    return strncmp(text, word, n) == 0 && (text[n] == '\0' || text[n] == ' ');
}

/* Before version 7 an error raised inside a script comes as "ERR Error running script (call to
 * f_...): @user_script:3: @user_script: 3: -OOM command ...", for some errors without the dash. */
static enum store_answer classify_wrapped(const char *text)
{
    for (const char *p = strstr(text, ": "); p != NULL; p = strstr(p, ": ")) {
        p += 2;
        const char *word = *p == '-' ? p + 1 : p;
        for (size_t i = 0; i < ARRAY_COUNT(codes); i++)
            if (starts_with_word(word, codes[i].code))
                return codes[i].answer;
    }
    return STORE_ERROR;
}

static enum store_answer classify_text(const char *text)
{
    for (size_t i = 0; i < ARRAY_COUNT(codes); i++)
        if (starts_with_word(text, codes[i].code))
            return codes[i].answer;
    for (size_t i = 0; i < ARRAY_COUNT(phrases); i++)
        if (strstr(text, phrases[i].text) != NULL)
            return phrases[i].answer;
    if (strncmp(text, "ERR Error running script", 24) == 0)
        return classify_wrapped(text);
    return STORE_ERROR;
}

enum store_answer store_classify(const struct redisReply *reply, struct err *err)
{
    if (reply == NULL) {
        (void)err_set(err, ERR_CONNECT, "no answer: the connection was lost");
        return STORE_GONE;
    }
    if (reply->type != REDIS_REPLY_ERROR)
        return STORE_OK;
    (void)err_set(err, ERR_REDIS, "%.*s", (int)reply->len, reply->str);
    return classify_text(reply->str);
}

int store_expect(const struct redisReply *reply, int type, const char *what, struct err *err)
{
    if (store_classify(reply, err) != STORE_OK) {
        err_prefix(err, "%s", what);
        return reply == NULL ? -ERR_CONNECT : -ERR_REDIS;
    }
    if (reply->type != type)
        return err_set(err, ERR_PROTOCOL, "%s: an answer of type %d instead of %d", what,
                       reply->type, type);
    return 0;
}

int store_read_count(const struct redisReply *reply, int64_t *ret, struct err *err)
{
    int rc = store_expect(reply, REDIS_REPLY_INTEGER, "count", err);
    if (rc == 0)
        *ret = reply->integer;
    return rc;
}

int store_read_counter(const struct redisReply *reply, int64_t *ret, struct err *err)
{
    *ret = -1;
    if (reply != NULL && reply->type == REDIS_REPLY_NIL)
        return 0;
    int rc = store_expect(reply, REDIS_REPLY_STRING, "counter", err);
    if (rc < 0)
        return rc;
    char *end;
    errno = 0;
    *ret = strtoll(reply->str, &end, 10);
    if (errno != 0 || end == reply->str || *end != '\0' || *ret < 0)
        return err_set(err, ERR_PROTOCOL, "the counter of a worker is no number");
    return 0;
}

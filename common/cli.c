#include "common/cli.h"

#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Where the help text of an option begins, and how long its lines may get. */
enum { HELP_COLUMN = 30, HELP_WIDTH = 96 };

static bool is_end(const struct cli_option *o)
{
    return o->id == 0 && o->help == NULL;
}

static bool has_letter(const struct cli_option *o)
{
    return o->id > 0 && o->id < 128;
}

void cli_init(struct cli *c, const struct cli_option *options, int argc, char **argv)
{
    size_t rows = 0;
    while (!is_end(&options[rows]))
        rows++;
    *c = (struct cli){.options = options, .argc = argc, .argv = argv};
    c->longs = xcalloc(rows + 1, sizeof *c->longs);
    struct buf shorts = BUF_INIT;
    buf_add_char(&shorts, ':'); /* tells a missing value from an unknown option */
    size_t n = 0;
    for (size_t i = 0; i < rows; i++) {
        const struct cli_option *o = &options[i];
        if (o->id == 0)
            continue;
        c->longs[n++] = (struct option){
            .name = o->name,
            .has_arg = o->value != NULL ? required_argument : no_argument,
            .val = o->id,
        };
        if (has_letter(o)) {
            buf_add_char(&shorts, (char)o->id);
            if (o->value != NULL)
                buf_add_char(&shorts, ':');
        }
    }
    c->shorts = buf_detach(&shorts);
    optind = 0; /* glibc: start anew, also after an earlier scan of another argv */
    opterr = 0; /* the caller says what is wrong */
}

void cli_done(struct cli *c)
{
    free(c->longs);
    free(c->shorts);
    *c = (struct cli){0};
}

const struct cli_option *cli_find(const struct cli_option *options, int id)
{
    for (const struct cli_option *o = options; !is_end(o); o++)
        if (o->id != 0 && o->id == id)
            return o;
    return NULL;
}

/* getopt leaves the letter in optopt, or for a long option (whatever its id) the whole text as the
 * argument before optind. */
static int report_bad(const struct cli *c, int got, struct err *err)
{
    const char *word = optind > 0 && optind <= c->argc ? c->argv[optind - 1] : "";
    const struct cli_option *o = cli_find(c->options, optopt);
    if (got == ':' && o != NULL)
        return err_set(err, ERR_MISSING, "option --%s needs a value (%s)", o->name, o->value);
    if (o != NULL && o->value == NULL && strncmp(word, "--", 2) == 0)
        return err_set(err, ERR_INVALID, "option --%s takes no value", o->name);
    if (optopt > 0 && optopt < 128)
        return err_set(err, ERR_UNKNOWN, "no such option: -%c", optopt);
    int name_len = (int)strcspn(word, "="); /* what follows may be a secret */
    return err_set(err, ERR_UNKNOWN, "no such option: %.*s", name_len, word);
}

int cli_next(struct cli *c, char **ret_value, struct err *err)
{
    optopt = 0;
    int got = getopt_long(c->argc, c->argv, c->shorts, c->longs, NULL);
    if (got == -1)
        return 0;
    if (got == '?' || got == ':')
        return report_bad(c, got, err);
    *ret_value = cli_find(c->options, got)->value != NULL ? optarg : NULL;
    return got;
}

int cli_operands(const struct cli *c)
{
    (void)c; /* getopt's state is the process's */
    return optind;
}

/* Appends `text` word by word, wrapped, each line after the first indented to the help column. */
static void add_wrapped(struct buf *out, const char *text)
{
    size_t column = HELP_COLUMN;
    bool fresh = true; /* nothing on this line yet */
    while (*text != '\0') {
        if (*text == '\n') {
            buf_printf(out, "\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
            fresh = true;
            text++;
            continue;
        }
        size_t word = strcspn(text, " \n");
        if (!fresh && column + 1 + word > HELP_WIDTH) {
            buf_printf(out, "\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
            fresh = true;
        }
        if (!fresh) {
            buf_add_char(out, ' ');
            column++;
        }
        buf_add(out, text, word);
        column += word;
        fresh = false;
        text += word;
        text += strspn(text, " ");
    }
    buf_add_char(out, '\n');
}

void cli_help_options(struct buf *out, const struct cli_option *options, unsigned where)
{
    for (const struct cli_option *o = options; !is_end(o); o++) {
        if (where != 0 && o->where != 0 && (o->where & where) == 0)
            continue;
        if (o->id == 0) {
            buf_printf(out, "\n%s\n", o->help);
            continue;
        }
        size_t start = out->len;
        if (has_letter(o))
            buf_printf(out, "  -%c, --%s", o->id, o->name);
        else
            buf_printf(out, "      --%s", o->name);
        if (o->value != NULL)
            buf_printf(out, " %s", o->value);
        size_t used = out->len - start;
        if (used + 2 > HELP_COLUMN)
            buf_printf(out, "\n%*s", HELP_COLUMN, "");
        else
            buf_printf(out, "%*s", (int)(HELP_COLUMN - used), "");
        add_wrapped(out, o->help);
    }
}

int cli_int(const char *text, const char *what, int64_t min, int64_t max, int64_t *ret,
            struct err *err)
{
    char *end = NULL;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    bool digits = (*text >= '0' && *text <= '9') || (*text == '-' && text[1] != '\0');
    if (!digits || *end != '\0')
        return err_set(err, ERR_SYNTAX, "%s must be a whole number, not \"%s\"", what, text);
    if (errno == ERANGE || v < min || v > max)
        return err_set(err, ERR_RANGE, "%s must be between %lld and %lld, not %s", what,
                       (long long)min, (long long)max, text);
    *ret = v;
    return 0;
}

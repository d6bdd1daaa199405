/* main.c - the command line of `worker`: which of its processes to be, and with what configuration.
 * Read lifecycle.h next.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/cli.h"
#include "common/config.h"
#include "common/log.h"
#include "common/redis_url.h"
#include "common/when.h"
#include "worker/check.h"
#include "worker/child.h"
#include "worker/guard.h"
#include "worker/harden.h"
#include "worker/lifecycle.h"
#include "worker/pidfile.h"
#include "worker/privileges.h"
#include "worker/runner/runner.h"
#include "worker/signals.h"
#include "worker/statedir.h"

enum {
    OPT_CHECK = CLI_LONG_ONLY,
    OPT_PRINT,
    OPT_BURST,
    OPT_BURST_WAIT,
    OPT_LEVEL,
    OPT_FORMAT,
    OPT_SAMPLE,
    OPT_VERSION
};

static const struct cli_option cli_options[] = {
    CLI_HEADING("Options"),
    {'c', "config", "FILE",
     "configuration; without it ./worker.yaml, then "
     "/etc/bucketline/worker.yaml",
     0},
    {'u', "url", "URL",
     "Redis, before BUCKETLINE_REDIS_URL, REDIS_URL and worker.yaml:\n"
     "redis://[user:pass@]host:port/db, rediss://..., unix:///path?db=0",
     0},
    {OPT_CHECK, "check", NULL, "check configuration, plugins and Redis, say what is wrong, exit",
     0},
    {OPT_PRINT, "print-config", NULL, "print the configuration with all defaults, exit", 0},
    {OPT_SAMPLE, "sample-config", NULL, "print a worker.yaml with every option explained, exit", 0},
    {OPT_BURST, "burst", NULL,
     "work until every queue is empty, then exit: 0, or 1 if a job went\n"
     "to the dead letters",
     0},
    {OPT_BURST_WAIT, "burst-wait", "DURATION",
     "with --burst: wait for jobs due within this; "
     "default 0",
     0},
    {OPT_LEVEL, "log-level", "LEVEL", "error, warn, info or debug; default: log.level", 0},
    {OPT_FORMAT, "log-format", "FORMAT", "logfmt or json; default: log.format", 0},
    {OPT_VERSION, "version", NULL, "print the version, exit", 0},
    {'h', "help", NULL, "print this, exit", 0},
    CLI_END,
};

static const char about[] = "Usage: worker [-c worker.yaml] [options]\n"
                            "\n"
                            "Takes jobs from Redis lists and runs each in an isolated process.\n";

static const char more[] =
    "\n"
    "Signals\n"
    "  TERM, INT    finish what has begun (shutdown_timeout), give back the rest, exit 0; again: "
    "now\n"
    "  TSTP, CONT   claim nothing; claim again\n"
    "  HUP          read the configuration again, start new runners under it\n"
    "  USR1         log a status dump\n"
    "  TTIN, TTOU   one runner more, one less\n"
    "\n"
    "Exit codes\n"
    "  0 stopped, 1 --burst left a dead letter, 64 usage, 69 no Redis (--burst, --check),\n"
    "  70 internal, 78 configuration\n";

struct arguments {
    const char *config, *url;
    bool check, print, sample, has_level, has_format;
    enum log_level level;
    enum log_format format;
    struct lifecycle_options run;
};

static void print_help(void)
{
    struct buf text = BUF_INIT;
    cli_help_options(&text, cli_options, 0);
    printf("%s%s%s", about, text.data, more);
    buf_done(&text);
}

static int usage(const struct err *err)
{
    fprintf(stderr, "worker: %s\nTry: worker --help\n", err->text);
    return EX_USAGE;
}

/* -1 = go on, else the exit code. */
static int take_option(struct arguments *a, int id, char *value, struct err *err)
{
    switch (id) {
    case 'c':
        a->config = value;
        return -1;
    case 'u':
        a->url = xstrdup(value);
        redis_url_wipe(value); /* ps shows argv */
        return -1;
    case OPT_CHECK:
        a->check = true;
        return -1;
    case OPT_PRINT:
        a->print = true;
        return -1;
    case OPT_SAMPLE:
        a->sample = true;
        return -1;
    case OPT_BURST:
        a->run.burst = true;
        return -1;
    case OPT_BURST_WAIT:
        if (duration_parse(SPAN_OF_STR(value), &a->run.burst_wait_ms, err) == 0)
            return -1;
        err_prefix(err, "--burst-wait");
        return usage(err);
    case OPT_LEVEL:
        a->has_level = true;
        if (log_level_parse(value, &a->level) == 0)
            return -1;
        (void)err_set(err, ERR_UNKNOWN, "--log-level: \"%s\" is none of error, warn, info, debug",
                      value);
        return usage(err);
    case OPT_FORMAT:
        a->has_format = true;
        if (log_format_parse(value, &a->format) == 0)
            return -1;
        (void)err_set(err, ERR_UNKNOWN, "--log-format: \"%s\" is neither logfmt nor json", value);
        return usage(err);
    case OPT_VERSION:
        printf("worker %s\n", BL_VERSION);
        return 0;
    case 'h':
        print_help();
        return 0;
    }
    BUG("option %d", id);
}

static int parse_arguments(int argc, char **argv, struct arguments *a)
{
    struct cli cli;
    struct err err = {0};
    char *value;
    int code = -1;
    cli_init(&cli, cli_options, argc, argv);
    while (code == -1) {
        int id = cli_next(&cli, &value, &err);
        if (id == 0)
            break;
        code = id < 0 ? usage(&err) : take_option(a, id, value, &err);
    }
    if (code == -1 && cli_operands(&cli) < argc) {
        (void)err_set(&err, ERR_INVALID, "unexpected argument \"%s\"", argv[cli_operands(&cli)]);
        code = usage(&err);
    }
    cli_done(&cli);
    return code;
}

static int load_config(const struct arguments *a, struct config *cfg)
{
    char path[4096], line[ERR_TEXT_BYTES + ERR_FILE_BYTES + 32];
    struct err err = {0};
    struct config_errors errors = {0};
    if (a->config != NULL)
        snprintf(path, sizeof path, "%s", a->config);
    else if (config_find(path, sizeof path, &err) < 0) {
        fprintf(stderr, "worker: %s\n", err.text);
        return EX_CONFIG;
    }
    if (config_load(path, cfg, &errors) < 0) {
        for (int i = 0; i < errors.count; i++)
            fprintf(stderr, "%s\n", err_format(&errors.items[i], line, sizeof line));
        config_errors_done(&errors);
        return EX_CONFIG;
    }
    if (a->has_level)
        cfg->log.level = a->level;
    if (a->has_format)
        cfg->log.format = a->format;
    log_setup(cfg->log.level, cfg->log.format);
    return -1;
}

/* While we are root: a place for the state that the user could not make himself. */
static int make_state_dir(struct config *cfg, const struct privileges *p, struct err *err)
{
    char *dir = NULL;
    if (geteuid() != 0)
        return 0;
    int rc = statedir_make_for(cfg->state_dir, p->uid, p->gid, &dir, err);
    if (rc == 0 && dir != NULL) {
        free(cfg->state_dir);
        cfg->state_dir = dir;
    }
    return rc;
}

/* Root changes to `user:` here, before any plugin is loaded and any file is written. */
static int change_user(struct config *cfg)
{
    struct privileges p;
    struct err err = {0};
    if (cfg->user != NULL) {
        int rc = privileges_find(cfg->user, &p, &err);
        if (rc == 0) {
            rc = make_state_dir(cfg, &p, &err);
            if (rc == 0)
                rc = privileges_change(&p, &err);
            privileges_done(&p);
        }
        if (rc < 0) {
            log_msg(LOG_ERROR, "cannot become another user", KV_STR("user", cfg->user),
                    KV_STR("error", err.text));
            return EX_CONFIG;
        }
    }
    if (privileges_warn_root(geteuid(), cfg->user))
        log_msg(LOG_WARN, "handlers run as root: set `user:` in worker.yaml");
    return -1;
}

static int run(struct config *cfg, const struct redis_url *url, int exe_fd,
               const struct arguments *a)
{
    struct err err = {0};
    char *pidfile = cfg->pidfile != NULL ? xstrdup(cfg->pidfile) : NULL;
    if (pidfile != NULL && pidfile_write(pidfile, getpid(), &err) < 0) {
        log_msg(LOG_ERROR, "cannot write the pidfile", KV_STR("error", err.text));
        free(pidfile);
        return EX_CONFIG;
    }
    int code = lifecycle_run(cfg, url, exe_fd, &a->run);
    if (pidfile != NULL)
        pidfile_remove(pidfile, getpid());
    free(pidfile);
    return code;
}

static int with_redis(struct config *cfg, const struct arguments *a, const char *argv0)
{
    struct redis_url url;
    const char *source = NULL;
    struct err err = {0};
    if (redis_url_find(a->url, cfg->redis.url, &url, &source, &err) < 0) {
        fprintf(stderr, "worker: %s\n", err.text);
        return EX_CONFIG;
    }
    int exe_fd = child_open_self(argv0, &err);
    if (exe_fd < 0) {
        fprintf(stderr, "worker: %s\n", err.text);
        return EX_OSERR;
    }
    int code = change_user(cfg);
    harden_process(cfg->core_dumps); /* after that: a change of user undoes it */
    if (code == -1)
        code = a->check ? check_run(cfg, &url, exe_fd) : run(cfg, &url, exe_fd, a);
    close(exe_fd);
    return code;
}

static int print_config(const struct config *cfg)
{
    struct buf text = BUF_INIT;
    config_print(cfg, false, &text);
    fwrite(text.data, 1, text.len, stdout);
    buf_done(&text);
    return 0;
}

static int print_sample(void)
{
    struct buf text = BUF_INIT;
    config_sample(&text);
    fwrite(text.data, 1, text.len, stdout);
    buf_done(&text);
    return 0;
}

/* What to execute again, should the worker have to start over: --url is wiped from argv itself. */
static char **argv_copy(int argc, char **argv)
{
    char **copy = xcalloc((size_t)argc + 1, sizeof *copy);
    for (int i = 0; i < argc; i++)
        copy[i] = xstrdup(argv[i]);
    return copy;
}

static void argv_free(char **copy)
{
    for (char **p = copy; *p != NULL; p++)
        free(*p);
    free(copy);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--runner") == 0)
        return runner_main(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "--guard") == 0)
        return guard_main(argc - 1, argv + 1);
    struct arguments a = {0};
    struct config cfg;
    char **again = argv_copy(argc, argv);
    a.run.argv = again;
    signal(SIGPIPE, SIG_IGN);
    int code = parse_arguments(argc, argv, &a);
    if (code == -1 && a.sample)
        code = print_sample();
    if (code != -1) {
        argv_free(again);
        return code;
    }
    if (!a.check && !a.print)
        signals_hold();
    config_init(&cfg);
    code = load_config(&a, &cfg);
    if (code == -1)
        code = a.print ? print_config(&cfg) : with_redis(&cfg, &a, argv[0]);
    config_done(&cfg);
    argv_free(again);
    return code;
}

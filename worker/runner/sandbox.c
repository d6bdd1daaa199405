#include "worker/runner/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/document.h"
#include "common/json_span.h"
#include "common/json_value.h"
#include "common/mem.h"
#include "worker/runner/job.h"

enum { TRACEPARENT_BYTES = 256 };

/* Takes `entry` ("NAME=value"); a later one of the same name replaces the earlier. */
static void set(struct sandbox *s, char *entry)
{
    size_t name_len = strcspn(entry, "=") + 1;
    for (int i = 0; i < s->env_count; i++) {
        if (strncmp(s->env[i], entry, name_len) == 0) {
            free(s->env[i]);
            s->env[i] = entry;
            return;
        }
    }
    s->env = xreallocarray(s->env, (size_t)s->env_count + 2, sizeof *s->env);
    s->env[s->env_count++] = entry;
    s->env[s->env_count] = NULL;
}

static void set_from(struct sandbox *s, const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    if (value == NULL)
        value = otherwise;
    if (value != NULL)
        set(s, xasprintf("%s=%s", name, value));
}

static int on_meta_member(void *arg, const struct json_member *m, struct err *err)
{
    (void)err;
    char *out = arg;
    if (m->kind == JK_STRING && json_key_is(m->key, "traceparent"))
        if (json_string_copy(m->value, out, TRACEPARENT_BYTES) < 0)
            out[0] = '\0';
    return 0;
}

/* The trace context goes on to what the program calls; it is ASCII by its standard. */
static void set_traceparent(struct sandbox *s, struct span meta)
{
    char text[TRACEPARENT_BYTES] = "";
    if (meta.len == 0 ||
        json_object_scan(meta, DOC_DEFAULT_NESTING, on_meta_member, text, NULL) < 0)
        return;
    for (const char *p = text; *p != '\0'; p++)
        if (*p < 0x21 || *p > 0x7e)
            return;
    if (text[0] != '\0')
        set(s, xasprintf("TRACEPARENT=%s", text));
}

static void set_environment(struct sandbox *s, const struct job *j, const struct config_handler *h)
{
    set_from(s, "PATH", "/usr/local/bin:/usr/bin:/bin");
    set_from(s, "LANG", NULL);
    set_from(s, "TZ", NULL);
    if (s->change_user) {
        set(s, xasprintf("USER=%s", s->user));
        set(s, xasprintf("HOME=%s", s->home));
    } else {
        set_from(s, "USER", NULL);
        set_from(s, "HOME", NULL);
    }
    set(s, xasprintf("JOB_ID=%s", j->view.id));
    set(s, xasprintf("JOB_TYPE=%s", j->view.type));
    set(s, xasprintf("JOB_QUEUE=%s", j->view.queue));
    set(s, xasprintf("JOB_ATTEMPT=%u", (unsigned)j->view.attempt));
    set(s, xasprintf("JOB_DEADLINE=%" PRId64, j->view.deadline_ms / 1000));
    set_traceparent(s, j->wire.meta);
    for (int i = 0; i < h->env_count; i++)
        set(s, xstrdup(h->env[i]));
}

static int set_user(struct sandbox *s, const char *name, struct err *err)
{
    errno = 0;
    const struct passwd *pw = getpwnam(name);
    if (pw == NULL && errno != 0 && errno != ENOENT)
        return err_errno(err, ERR_NOT_FOUND, "cannot look up the user \"%s\"", name);
    if (pw == NULL)
        return err_set(err, ERR_NOT_FOUND, "there is no user \"%s\"", name);
    if (geteuid() != 0) {
        if (pw->pw_uid == geteuid())
            return 0;
        return err_set(err, ERR_PERMISSION, "cannot run as \"%s\": the worker does not run as root",
                       name);
    }
    s->change_user = true;
    s->uid = pw->pw_uid;
    s->gid = pw->pw_gid;
    s->user = xstrdup(pw->pw_name);
    s->home = xstrdup(pw->pw_dir);
    return 0;
}

int sandbox_init(struct sandbox *s, const struct job *j, const struct config_handler *h,
                 struct err *err)
{
    *s = (struct sandbox){
        .limits =
            {
                .memory_bytes = h->limit_memory_bytes,
                .cpu_ms = h->limit_cpu_ms,
                .files = h->limit_files > 0 ? h->limit_files : 0,
                .nice = h->nice > 0 ? h->nice : 0,
            },
    };
    int rc = h->user != NULL ? set_user(s, h->user, err) : 0;
    if (rc == 0)
        set_environment(s, j, h);
    return rc;
}

void sandbox_done(struct sandbox *s)
{
    for (int i = 0; i < s->env_count; i++)
        free(s->env[i]);
    free(s->env);
    free(s->user);
    free(s->home);
    *s = (struct sandbox){0};
}

void sandbox_offer_to_oom_killer(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd == -1)
        return;
    (void)!write(fd, "500", 3); /* a hint; not every container allows it */
    close(fd);
}

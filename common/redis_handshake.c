/* redis_handshake.c - what a fresh connection says first, in one write: AUTH, SELECT, CLIENT
 * SETNAME, CLIENT ID, INFO and every script.
 *
 * All answers are read before anything else is sent: what Redis refuses (NOAUTH, LOADING, NOPERM)
 * is known here and not in the middle of a claim.  The first refusal decides; those that follow
 * from it are not reported.
 */
#include "common/redis_link_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/buf.h"

/* The first line of a file.  Not blocking, so that a FIFO cannot hold the loop. */
static int read_first_line(const char *path, char *out, size_t size, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd == -1)
        return err_errno(err, ERR_SYSTEM, "cannot read the password file %s", path);
    size_t n = 0;
    int rc = 0;
    while (n < size && memchr(out, '\n', n) == NULL) {
        ssize_t got = read(fd, out + n, size - n);
        if (got == -1)
            rc = err_errno(err, ERR_SYSTEM, "cannot read the password file %s", path);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    close(fd);
    if (rc < 0)
        return rc;
    char *eol = memchr(out, '\n', n);
    if (eol == NULL && n == size)
        return err_set(err, ERR_TOO_BIG, "the first line of the password file %s is too long",
                       path);
    size_t len = eol != NULL ? (size_t)(eol - out) : n;
    if (len > 0 && out[len - 1] == '\r')
        len--;
    if (len == 0)
        return err_set(err, ERR_MISSING, "the password file %s has an empty first line", path);
    out[len] = '\0';
    return 0;
}

/* Redis quotes the arguments of a command it does not know, and AUTH can be renamed. */
static void hide_arguments(struct err *err)
{
    char *args = strstr(err->text, ", with args");
    if (args != NULL)
        *args = '\0';
}

static void note_error(struct redis_link *l, const redisReply *reply)
{
    enum store_answer answer = store_classify(reply, &l->handshake_err);
    if (answer != STORE_OK && l->handshake_err.code != 0)
        l->handshake_err.code = ERR_REDIS;
}

static bool denied(const redisReply *reply)
{
    return store_classify(reply, NULL) == STORE_DENIED;
}

static void note_info(struct redis_link *l, const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_ERROR) {
        note_error(l, reply);
        return;
    }
    if (l->handshake_err.code != 0)
        return;
    if (store_read_info(reply, &l->info, &l->handshake_err) < 0)
        return;
    if (l->info.loading)
        err_set(&l->handshake_err, ERR_REDIS, "LOADING Redis is loading the dataset in memory");
}

static void take_answer(struct redis_link *l, enum handshake_step step, const redisReply *reply)
{
    switch (step) {
    case HANDSHAKE_AUTH:
        note_error(l, reply);
        hide_arguments(&l->handshake_err);
        break;
    case HANDSHAKE_SELECT:
    case HANDSHAKE_SCRIPT:
        note_error(l, reply);
        break;
    case HANDSHAKE_NAME: /* a name and a number are useful, but no more */
        if (!denied(reply))
            note_error(l, reply);
        break;
    case HANDSHAKE_ID:
        if (reply->type == REDIS_REPLY_INTEGER)
            l->client_id = reply->integer;
        else if (!denied(reply))
            note_error(l, reply);
        break;
    case HANDSHAKE_INFO:
        note_info(l, reply);
        break;
    }
}

static void on_answer(void *arg, const redisReply *reply)
{
    struct redis_link *l = arg;
    if (reply == NULL)
        return;
    enum handshake_step step = HANDSHAKE_SCRIPT;
    if (l->step_next < l->step_count)
        step = l->steps[l->step_next++];
    else
        l->scripts_left--;
    take_answer(l, step, reply);
    if (l->step_next < l->step_count || l->scripts_left > 0)
        return;
    if (l->handshake_err.code != 0) {
        struct err why = l->handshake_err;
        link_lost(l, &why);
        return;
    }
    link_handshake_done(l);
}

static void say(struct redis_link *l, struct buf *command, enum handshake_step step)
{
    if (step == HANDSHAKE_SCRIPT)
        l->scripts_left++;
    else
        l->steps[l->step_count++] = step;
    link_enqueue(l, buf_span(command), 0, on_answer, l);
    buf_clear(command);
}

void link_handshake_begin(struct redis_link *l)
{
    const struct redis_url *url = &l->config.url;
    struct buf command = BUF_INIT;
    char password[sizeof url->password];
    struct err why = {0};
    l->step_count = l->step_next = l->scripts_left = 0;
    l->handshake_err = (struct err){0};
    l->info = (struct store_info){0};
    l->client_id = 0;
    memcpy(password, url->password, sizeof password);
    if (l->config.password_file != NULL &&
        read_first_line(l->config.password_file, password, sizeof password, &why) < 0) {
        link_lost(l, &why);
        return;
    }
    if (url->user[0] != '\0' || password[0] != '\0') {
        store_cmd_auth(&command, url->user, password);
        say(l, &command, HANDSHAKE_AUTH);
        explicit_bzero(command.data, command.cap);
    }
    explicit_bzero(password, sizeof password);
    if (url->db != 0) {
        store_cmd_select(&command, url->db);
        say(l, &command, HANDSHAKE_SELECT);
    }
    if (l->config.name[0] != '\0') {
        store_cmd_set_name(&command, l->config.name);
        say(l, &command, HANDSHAKE_NAME);
    }
    store_cmd_client_id(&command);
    say(l, &command, HANDSHAKE_ID);
    store_cmd_info(&command);
    say(l, &command, HANDSHAKE_INFO);
    for (int i = 0; l->config.load_scripts && i < STORE_SCRIPT_COUNT; i++) {
        store_cmd_script_load(&command, (enum store_script)i);
        say(l, &command, HANDSHAKE_SCRIPT);
    }
    buf_done(&command);
}

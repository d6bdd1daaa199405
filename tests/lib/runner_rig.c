#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/lib/runner_rig.h"

enum { HANG_MS = 30000 };

static const char *const queue_keys[] = {"queue:default"};

void rig_pause(int64_t *started_ms, const char *what)
{
    if (*started_ms == 0)
        *started_ms = mono_ms();
    if (mono_ms() - *started_ms > HANG_MS)
        fail_msg("still waiting for %s", what);
    poll(NULL, 0, 2);
}

void rig_init(struct rig *r)
{
    *r = (struct rig){.fd = -1,
                      .in = BUF_INIT,
                      .taken = BUF_INIT,
                      .fatal = BUF_INIT,
                      .dir = "/tmp/bl-runner-XXXXXX"};
    assert_non_null(mkdtemp(r->dir));
    assert_int_equal(chmod(r->dir, 0755), 0);
    const char *build = getenv("BUCKETLINE_BUILD");
    char *real = realpath(build != NULL ? build : "build", NULL);
    assert_non_null(real);
    snprintf(r->build, sizeof r->build, "%s", real);
    free(real);
    struct err err = {0};
    assert_int_equal(incarnation_new(&r->inc, &err), 0);
    assert_int_equal(slots_create(NULL, &r->inc, 2, queue_keys, 1, &r->slots, &err), 0);
}

void rig_write_file(const struct rig *r, const char *name, const char *text, int mode)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", r->dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);
    assert_int_not_equal(fd, -1);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(fd, (mode_t)mode), 0);
    close(fd);
}

static int make_config(const struct rig *r, const char *yaml)
{
    struct buf b = BUF_INIT;
    buf_add_str(&b, "queues: [default]\n");
    for (const char *s = yaml; *s != '\0'; s++) {
        if (s[0] != '%' || (s[1] != 'D' && s[1] != 'B'))
            buf_add_char(&b, *s);
        else
            buf_add_str(&b, *++s == 'D' ? r->dir : r->build);
    }
    int fd = memfd_create("config", MFD_CLOEXEC);
    assert_int_equal(write(fd, b.data, b.len), b.len);
    buf_done(&b);
    return fd;
}

/* In the child: descriptors 3, 4, 5 as the worker gives them, the log as 2. */
static _Noreturn void execute(const struct rig *r, int socket_fd, int config_fd, pid_t parent,
                              bool with_out)
{
    char log[256], exe[1200], parent_text[16];
    snprintf(log, sizeof log, "%s/log", r->dir);
    snprintf(exe, sizeof exe, "%s/worker", r->build);
    snprintf(parent_text, sizeof parent_text, "%d", (int)parent);
    int log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    int high[] = {fcntl(socket_fd, F_DUPFD, 20), fcntl(slots_fd(r->slots), F_DUPFD, 20),
                  fcntl(config_fd, F_DUPFD, 20)};
    setsid();
    if (dup2(open("/dev/null", O_RDWR), 0) == -1 || dup2(0, 1) == -1 || dup2(log_fd, 2) == -1)
        _exit(99);
    for (int i = 0; i < 3; i++)
        if (dup2(high[i], 3 + i) == -1)
            _exit(99);
    for (int fd = 6; fd < 100; fd++)
        close(fd);
    char *argv[] = {"runner",
                    "--runner",
                    "--index",
                    "1",
                    "--socket-fd",
                    "3",
                    "--slots-fd",
                    "4",
                    "--config-fd",
                    "5",
                    "--parent",
                    parent_text,
                    "--config-name",
                    "worker.yaml",
                    "--directory",
                    (char *)r->dir,
                    "--log-level",
                    "debug",
                    with_out ? "--out-dir" : NULL,
                    (char *)r->dir,
                    NULL};
    /* A sanitizer would turn the crashes that tests ask for into exit codes of its own. */
    const char *asan = getenv("ASAN_OPTIONS");
    char options[512];
    snprintf(options, sizeof options, "%s%shandle_segv=0:handle_abort=0:handle_sigbus=0",
             asan != NULL ? asan : "", asan != NULL ? ":" : "");
    setenv("ASAN_OPTIONS", options, 1);
    signal(SIGPIPE, SIG_DFL);
    execv(exe, argv);
    _exit(98);
}

static void read_hello(struct rig *r)
{
    struct wire_frame f;
    for (;;) {
        if (!rig_read(r, &f)) {
            char *log = rig_log(r);
            fail_msg("the runner ended before HELLO: %s", log);
        }
        if (f.type == WIRE_HELLO)
            break;
        assert_int_equal(f.type, WIRE_FATAL);
        buf_add_span(&r->fatal, f.payload);
        buf_add_char(&r->fatal, '\n');
    }
    assert_int_equal(f.payload.len, 4);
    r->handlers = (unsigned char)f.payload.ptr[0] | (uint32_t)(unsigned char)f.payload.ptr[1] << 8;
}

void rig_start(struct rig *r, const char *yaml, bool with_out)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    int config_fd = make_config(r, yaml);
    pid_t parent = getpid();
    r->pid = fork();
    assert_int_not_equal(r->pid, -1);
    if (r->pid == 0)
        execute(r, pair[1], config_fd, parent, with_out);
    close(pair[1]);
    close(config_fd);
    r->fd = pair[0];
    read_hello(r);
}

bool rig_read(struct rig *r, struct wire_frame *ret)
{
    for (;;) {
        struct wire_frame f;
        struct err err = {0};
        int64_t n = wire_read(buf_span(&r->in), WIRE_REPLY_MAX, &f, &err);
        if (n < 0)
            fail_msg("%s", err.text);
        if (n > 0) {
            buf_clear(&r->taken);
            buf_add(&r->taken, r->in.data, (size_t)n);
            buf_consume(&r->in, (size_t)n);
            assert_true(wire_read(buf_span(&r->taken), WIRE_REPLY_MAX, ret, &err) == n);
            return true;
        }
        struct pollfd p = {.fd = r->fd, .events = POLLIN};
        if (poll(&p, 1, HANG_MS) != 1)
            fail_msg("no frame from the runner");
        ssize_t got = recv(r->fd, buf_reserve(&r->in, 1 << 16), 1 << 16, 0);
        if (got <= 0)
            return false;
        buf_grown(&r->in, (size_t)got);
    }
}

void rig_send_bytes(struct rig *r, struct span bytes)
{
    while (bytes.len > 0) {
        ssize_t n = send(r->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
        if (n == -1 && errno == EPIPE)
            return;
        assert_true(n > 0);
        bytes.ptr += n;
        bytes.len -= (size_t)n;
    }
}

void rig_send(struct rig *r, const char *type, const char *args, const char *meta,
              struct rig_job *ret)
{
    *ret = (struct rig_job){.slot = r->next_slot++ % SLOTS_PER_RUNNER,
                            .seq = ++r->last_seq,
                            .result = BUF_INIT,
                            .message = BUF_INIT,
                            .stderr_tail = BUF_INIT};
    struct wire_job job = {
        .attempt = 2,
        .timeout_ms = 60000,
        .id = SPAN_OF_STR("job-7"),
        .queue = SPAN_OF_STR("default"),
        .type = SPAN_OF_STR(type),
        .args = SPAN_OF_STR(args),
    };
    if (meta != NULL)
        job.meta = SPAN_OF_STR(meta);
    assert_true(slot_queue(slots_get(r->slots, 1, ret->slot), ret->seq, 0));
    struct buf b = BUF_INIT;
    wire_write_job(&b, (uint16_t)ret->slot, ret->seq, &job);
    rig_send_bytes(r, buf_span(&b));
    buf_done(&b);
}

static void keep(struct buf *b, const struct wire_frame *f)
{
    buf_clear(b);
    buf_add_span(b, f->payload);
}

static void take_frame(struct rig_job *job, const struct wire_frame *f)
{
    bool mine = f->slot == job->slot && f->seq == job->seq;
    if (f->type == WIRE_DONE) {
        int count = wire_done_count(f->payload, NULL);
        assert_true(count > 0);
        for (int i = 0; i < count; i++) {
            struct wire_done done = wire_done_at(f->payload, i);
            job->returned = job->returned || (done.slot == job->slot && done.seq == job->seq);
        }
    } else if (mine && f->type == WIRE_RESULT) {
        assert_false(job->returned); /* RESULT precedes the DONE that names it */
        keep(&job->result, f);
        job->has_result = true;
        job->result_cut = f->flags == WIRE_FLAG_CUT;
    } else if (mine && f->type == WIRE_MESSAGE) {
        keep(f->flags == WIRE_FLAG_STDERR ? &job->stderr_tail : &job->message, f);
    } else if (mine && f->type == WIRE_PROGRESS) {
        job->progress_frames++;
        job->percent = (unsigned char)f->payload.ptr[0];
    }
}

void rig_await(struct rig *r, struct rig_job *job)
{
    while (!job->returned) {
        struct wire_frame f;
        if (!rig_read(r, &f)) {
            char *log = rig_log(r);
            fail_msg("the runner ended before its job: %s", log);
        }
        take_frame(job, &f);
    }
    struct slot *s = slots_get(r->slots, 1, job->slot);
    assert_true(slot_plausible(s, job->seq));
    assert_int_equal(slot_word_state(atomic_load(&s->word)), SLOT_RETURNED);
    memcpy(&job->page, s, sizeof *s);
    if (job->message.len == 0)
        buf_add(&job->message, s->message, s->message_len);
    slot_free(s);
}

void rig_run(struct rig *r, const char *type, const char *args, struct rig_job *ret)
{
    rig_send(r, type, args, NULL, ret);
    rig_await(r, ret);
}

void rig_job_done(struct rig_job *job)
{
    buf_done(&job->result);
    buf_done(&job->message);
    buf_done(&job->stderr_tail);
}

void rig_await_state(struct rig *r, const struct rig_job *job, enum slot_state state)
{
    int64_t started = 0;
    while (slot_word_state(atomic_load(&slots_get(r->slots, 1, job->slot)->word)) != state)
        rig_pause(&started, slot_state_name(state));
}

int rig_await_exit(struct rig *r)
{
    int64_t started = 0;
    for (;;) {
        if (r->pid == 0)
            break;
        pid_t got = waitpid(r->pid, &r->status, WNOHANG);
        if (got == r->pid)
            r->pid = 0;
        else
            rig_pause(&started, "the runner's end");
    }
    return WIFEXITED(r->status) ? WEXITSTATUS(r->status) : -WTERMSIG(r->status);
}

static char *read_file(const char *path)
{
    struct buf b = BUF_INIT;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;
    while (fd != -1 && (n = read(fd, buf_reserve(&b, 65536), 65536)) > 0)
        buf_grown(&b, (size_t)n);
    if (fd != -1)
        close(fd);
    return buf_detach(&b);
}

char *rig_log(const struct rig *r)
{
    char path[256];
    snprintf(path, sizeof path, "%s/log", r->dir);
    return read_file(path);
}

void rig_await_log(const struct rig *r, const char *text)
{
    int64_t started = 0;
    for (;;) {
        char *log = rig_log(r);
        bool found = strstr(log, text) != NULL;
        free(log);
        if (found)
            return;
        rig_pause(&started, text);
    }
}

char *rig_await_file(const struct rig *r, const char *name)
{
    int64_t started = 0;
    char path[256];
    snprintf(path, sizeof path, "%s/%s", r->dir, name);
    for (;;) {
        char *text = read_file(path);
        if (text[0] != '\0')
            return text;
        free(text);
        rig_pause(&started, name);
    }
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void rig_done(struct rig *r, bool show_log)
{
    if (r->fd != -1)
        close(r->fd);
    if (r->pid > 0) {
        kill(-r->pid, SIGKILL);
        kill(r->pid, SIGKILL);
        waitpid(r->pid, &r->status, 0);
    }
    if (show_log) {
        char *log = rig_log(r);
        fprintf(stderr, "%s", log);
        free(log);
    }
    slots_free(r->slots);
    buf_done(&r->in);
    buf_done(&r->taken);
    buf_done(&r->fatal);
    nftw(r->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

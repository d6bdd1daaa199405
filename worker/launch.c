#include "worker/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "worker/child.h"
#include "worker/harden.h"

/* Descriptor numbers in the child. */
enum { FD_FIRST = 3, FD_SECOND = 4, FD_THIRD = 5, FD_FOURTH = 6 };

int launch_config_fd(const struct config *cfg, struct err *err)
{
    struct buf text = BUF_INIT;
    config_print(cfg, true, &text);
    int fd = memfd_create("bucketline-config", MFD_CLOEXEC);
    int rc = fd;
    if (fd == -1)
        rc = err_errno(err, ERR_SYSTEM, "memfd_create");
    for (size_t done = 0; rc >= 0 && done < text.len;) {
        ssize_t n = write(fd, text.data + done, text.len - done);
        if (n == -1 && errno == EINTR)
            continue;
        if (n == -1)
            rc = err_errno(err, ERR_SYSTEM, "writing the runners' configuration");
        else
            done += (size_t)n;
    }
    if (rc < 0 && fd != -1)
        close(fd);
    buf_done(&text);
    return rc;
}

static const char *config_name(const struct config *cfg)
{
    return cfg->path != NULL && cfg->path[0] != '\0' ? cfg->path : "worker.yaml";
}

static const char *directory(const struct config *cfg)
{
    return cfg->directory != NULL && cfg->directory[0] != '\0' ? cfg->directory : ".";
}

int launch_runner(const struct config *cfg, int exe_fd, int config_fd, int slots_fd, int index,
                  const char *out_dir, pid_t *ret_pid, int *ret_fd, int *ret_output_fd,
                  struct err *err)
{
    int pair[2], output[2];
    if (pipe2(output, O_CLOEXEC) == -1)
        return err_errno(err, ERR_SYSTEM, "pipe");
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == -1) {
        int rc = err_errno(err, ERR_SYSTEM, "socketpair");
        close(output[0]);
        close(output[1]);
        return rc;
    }
    char index_text[16], parent_text[16];
    snprintf(index_text, sizeof index_text, "%d", index);
    snprintf(parent_text, sizeof parent_text, "%d", (int)getpid());
    const char *argv[] = {
        "bucketline-runner",
        "--runner",
        "--index",
        index_text,
        "--socket-fd",
        "3",
        "--slots-fd",
        "4",
        "--config-fd",
        "5",
        "--log-fd",
        "6",
        "--parent",
        parent_text,
        "--config-name",
        config_name(cfg),
        "--directory",
        directory(cfg),
        "--log-level",
        log_level_name(cfg->log.level),
        "--log-format",
        log_format_name(cfg->log.format),
        out_dir != NULL ? "--out-dir" : NULL,
        out_dir,
        NULL,
    };
    const struct child_fd fds[] = {
        {output[1], STDOUT_FILENO}, {output[1], STDERR_FILENO}, {pair[1], FD_FIRST},
        {slots_fd, FD_SECOND},      {config_fd, FD_THIRD},      {STDERR_FILENO, FD_FOURTH},
    };
    char **env = harden_environment();
    const struct child_spec spec = {
        .exe_fd = exe_fd,
        .argv = (char *const *)argv,
        .envp = env,
        .fds = fds,
        .fd_count = (int)ARRAY_COUNT(fds),
        .new_session = true,
        .die_with_parent = true,
    };
    int rc = child_start(&spec, ret_pid, err);
    free(env);
    close(pair[1]);
    close(output[1]);
    if (rc < 0) {
        close(pair[0]);
        close(output[0]);
        return rc;
    }
    if (fcntl(pair[0], F_SETFL, O_NONBLOCK) == -1 || fcntl(output[0], F_SETFL, O_NONBLOCK) == -1)
        BUG("O_NONBLOCK on a socket pair or pipe");
    *ret_fd = pair[0];
    *ret_output_fd = output[0];
    return 0;
}

int launch_describe(const struct config *cfg, int exe_fd, pid_t *ret_pid, int *ret_fd,
                    struct err *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) == -1)
        return err_errno(err, ERR_SYSTEM, "pipe");
    int config_fd = launch_config_fd(cfg, err);
    int rc = config_fd < 0 ? config_fd : 0;
    const char *argv[] = {
        "bucketline-runner", "--runner",       "--describe",  "--config-fd",  "3",
        "--config-name",     config_name(cfg), "--directory", directory(cfg), NULL,
    };
    const struct child_fd fds[] = {
        {ends[1], STDOUT_FILENO},
        {STDERR_FILENO, STDERR_FILENO},
        {config_fd, FD_FIRST},
    };
    char **env = harden_environment();
    const struct child_spec spec = {
        .exe_fd = exe_fd,
        .argv = (char *const *)argv,
        .envp = env,
        .fds = fds,
        .fd_count = (int)ARRAY_COUNT(fds),
        .new_session = true,
        .die_with_parent = true,
    };
    if (rc == 0)
        rc = child_start(&spec, ret_pid, err);
    free(env);
    close(ends[1]);
    if (config_fd >= 0)
        close(config_fd);
    if (rc < 0) {
        close(ends[0]);
        return rc;
    }
    *ret_fd = ends[0];
    return 0;
}

int launch_guard(const struct config *cfg, int exe_fd, int slots_fd, pid_t *ret_pid, int *ret_fd,
                 struct err *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) == -1)
        return err_errno(err, ERR_SYSTEM, "pipe");
    /* Jobs are to be gone before others take them; with a short dead_after they are not hurried. */
    int64_t soft_ms = cfg->dead_after_ms * 3 / 5, hard_ms = cfg->dead_after_ms * 4 / 5;
    char soft[24], hard[24];
    snprintf(soft, sizeof soft, "%" PRId64, soft_ms < 6000 ? 6000 : soft_ms);
    snprintf(hard, sizeof hard, "%" PRId64, hard_ms < 8000 ? 8000 : hard_ms);
    const char *argv[] = {
        "bucketline-guard",
        "--guard",
        "--slots-fd",
        "3",
        "--parent-fd",
        "4",
        "--on-lost",
        cfg->on_lost == ON_LOST_STOP ? "stop" : "finish",
        "--soft-ms",
        soft,
        "--hard-ms",
        hard,
        "--log-level",
        log_level_name(cfg->log.level),
        "--log-format",
        log_format_name(cfg->log.format),
        NULL,
    };
    const struct child_fd fds[] = {
        {STDERR_FILENO, STDERR_FILENO},
        {slots_fd, FD_FIRST},
        {ends[0], FD_SECOND},
    };
    char **env = harden_environment();
    const struct child_spec spec = {
        .exe_fd = exe_fd,
        .argv = (char *const *)argv,
        .envp = env,
        .fds = fds,
        .fd_count = (int)ARRAY_COUNT(fds),
        .new_session = true,
    };
    int rc = child_start(&spec, ret_pid, err);
    free(env);
    close(ends[0]);
    if (rc < 0) {
        close(ends[1]);
        return rc;
    }
    *ret_fd = ends[1];
    return 0;
}

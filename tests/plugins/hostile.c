/* A handler for tests that does what no handler should: {"do":"segv"}, see `deeds` below.  Type
 * "state" tells what a well-behaved neighbour finds in its process; type "hostile" misbehaves. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bucketline.h"

extern char **environ;

static void sleep_for_ever(void)
{
    for (;;)
        pause();
}

static int do_segv(struct bl_job *job)
{
    volatile int *nowhere = (volatile int *)(uintptr_t)8;
    fprintf(stderr, "about to touch %p for %s\n", (void *)(uintptr_t)8, job->id);
    *nowhere = 1;
    return BL_DONE;
}

static int do_abort(struct bl_job *job)
{
    (void)job;
    fprintf(stderr, "hostile: assertion \"false\" failed\n");
    abort();
}

static int do_exit(struct bl_job *job)
{
    (void)job;
    exit(0);
}

static int do__exit(struct bl_job *job)
{
    (void)job;
    _exit(0);
}

static int do_spin(struct bl_job *job)
{
    (void)job;
    for (volatile unsigned n = 0; n < 1 || n > 0; n++)
        ;
    return BL_DONE;
}

static int do_block(struct bl_job *job)
{
    sigset_t all;
    (void)job;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    sleep_for_ever();
    return BL_DONE;
}

static int do_ignore(struct bl_job *job)
{
    (void)job;
    for (int sig = 1; sig < 32; sig++)
        signal(sig, SIG_IGN);
    sleep_for_ever();
    return BL_DONE;
}

static int do_grandchild(struct bl_job *job)
{
    (void)job;
    if (fork() == 0) {
        signal(SIGTERM, SIG_IGN);
        sleep_for_ever();
    }
    return BL_DONE;
}

static int do_daemon(struct bl_job *job)
{
    (void)job;
    if (fork() == 0) {
        setsid();
        if (fork() != 0)
            _exit(0);
        prctl(PR_SET_PDEATHSIG, 0);
        signal(SIGTERM, SIG_IGN);
        sleep_for_ever();
    }
    return BL_DONE;
}

static int do_daemon_segv(struct bl_job *job)
{
    do_daemon(job);
    return do_segv(job);
}

/* Generations of processes that each live as the next one's parent: more than are killed in one go. */
static int do_chain(struct bl_job *job)
{
    int built[2];
    char byte = 0;
    (void)job;
    if (pipe(built) == -1)
        return BL_RETRY;
    if (fork() == 0) {
        setsid();
        for (int generation = 1; generation < 40; generation++)
            if (fork() != 0)
                sleep_for_ever();
        if (write(built[1], &byte, 1) != 1)
            _exit(1);
        sleep_for_ever();
    }
    close(built[1]);
    int n = (int)read(built[0], &byte, 1);
    close(built[0]);
    return n == 1 ? BL_DONE : BL_RETRY;
}

static int do_chain_segv(struct bl_job *job)
{
    do_chain(job);
    return do_segv(job);
}

static int do_chain_block(struct bl_job *job)
{
    do_chain(job);
    return do_block(job);
}

static int do_fork_return(struct bl_job *job)
{
    (void)job;
    fork();
    return BL_DONE;
}

static int do_close(struct bl_job *job)
{
    (void)job;
    for (int fd = 0; fd < 256; fd++)
        close(fd);
    return BL_DONE;
}

static int do_close_open(struct bl_job *job)
{
    do_close(job);
    for (int i = 0; i < 16; i++)
        if (open("/dev/null", O_RDWR) == -1)
            return BL_RETRY;
    return BL_DONE;
}

static int do_killgroup(struct bl_job *job)
{
    (void)job;
    kill(0, SIGKILL);
    sleep_for_ever();
    return BL_DONE;
}

static int flood(int fd)
{
    static char text[8192];
    memset(text, 'x', sizeof text);
    for (size_t i = 100; i < sizeof text; i += 100)
        text[i] = '\n';
    for (;;)
        if (write(fd, text, sizeof text) == -1 && errno != EINTR)
            return BL_RETRY;
}

static int do_flood_stdout(struct bl_job *job)
{
    (void)job;
    return flood(1);
}

static int do_flood_stderr(struct bl_job *job)
{
    (void)job;
    return flood(2);
}

/* Until it is refused or killed. */
static int do_eat(struct bl_job *job)
{
    (void)job;
    for (;;) {
        char *p = malloc(1 << 20);
        if (p == NULL)
            break;
        memset(p, 1, 1 << 20);
    }
    fprintf(stderr, "hostile: malloc says no\n");
    return BL_RETRY;
}

/* Leaves no memory for the host, then asks it for some. */
static int do_eat_then_ask(struct bl_job *job)
{
    static char result[1024 * 1024];
    for (size_t size = 1 << 20; size >= 64; size /= 2)
        while (malloc(size) != NULL)
            ;
    memset(result, '1', sizeof result);
    for (int i = 0; i < 64; i++)
        bl_set_result(job, result, sizeof result);
    return BL_DONE;
}

static int do_deadlock(struct bl_job *job)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    (void)job;
    pthread_mutex_lock(&lock);
    pthread_mutex_lock(&lock);
    return BL_DONE;
}

static int do_garbage_return(struct bl_job *job)
{
    char rubbish[4096];
    (void)job;
    memset(rubbish, 0xa5, sizeof rubbish);
    for (int fd = 3; fd < 64; fd++) {
        struct stat st;
        if (fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode))
            send(fd, rubbish, sizeof rubbish, MSG_NOSIGNAL);
    }
    return BL_DONE;
}

static int do_garbage(struct bl_job *job)
{
    do_garbage_return(job);
    sleep_for_ever();
    return BL_DONE;
}

static int do_alarm(struct bl_job *job)
{
    (void)job;
    alarm(1); /* whoever runs then dies of it */
    return BL_DONE;
}

/* Over whatever is shared and writable: the slots. */
static int do_scribble(struct bl_job *job)
{
    char line[4096];
    FILE *maps = fopen("/proc/self/maps", "re");
    (void)job;
    if (maps == NULL)
        return BL_DEAD;
    while (fgets(line, sizeof line, maps) != NULL) {
        unsigned long from, to;
        char rights[8];
        if (sscanf(line, "%lx-%lx %7s", &from, &to, rights) == 3 && strcmp(rights, "rw-s") == 0)
            memset((void *)from, 0x5a, to - from);
    }
    fclose(maps);
    return BL_DONE;
}

static int do_chdir(struct bl_job *job)
{
    (void)job;
    return chdir("/proc") == 0 ? BL_DONE : BL_DEAD;
}

static int do_sigmask(struct bl_job *job)
{
    sigset_t all;
    (void)job;
    sigfillset(&all);
    return sigprocmask(SIG_BLOCK, &all, NULL) == 0 ? BL_DONE : BL_DEAD;
}

static int do_dispositions(struct bl_job *job)
{
    (void)job;
    signal(SIGTERM, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
    signal(SIGCHLD, SIG_IGN);
    return BL_DONE;
}

static int do_environment(struct bl_job *job)
{
    (void)job;
    setenv("PATH", "/nowhere", 1);
    setenv("HOSTILE", "1", 1);
    return BL_DONE;
}

static int do_clearenv(struct bl_job *job)
{
    (void)job;
    return clearenv() == 0 ? BL_DONE : BL_DEAD;
}

static int do_rlimits(struct bl_job *job)
{
    struct rlimit few = {16, 16};
    (void)job;
    return setrlimit(RLIMIT_NOFILE, &few) == 0 ? BL_DONE : BL_DEAD;
}

static int do_umask(struct bl_job *job)
{
    (void)job;
    umask(0);
    return BL_DONE;
}

static int do_nice(struct bl_job *job)
{
    (void)job;
    errno = 0;
    return nice(7) == -1 && errno != 0 ? BL_DEAD : BL_DONE;
}

static int do_leak(struct bl_job *job)
{
    (void)job;
    for (int i = 0; i < 10; i++)
        if (open("/dev/null", O_RDONLY) == -1) /* never closed, and not even CLOEXEC */
            return BL_DEAD;
    return BL_DONE;
}

static int do_pthread_exit(struct bl_job *job)
{
    (void)job;
    pthread_exit(NULL);
}

static void *linger(void *arg)
{
    (void)arg;
    sleep_for_ever();
    return NULL;
}

static int do_thread(struct bl_job *job)
{
    pthread_t t;
    (void)job;
    return pthread_create(&t, NULL, linger, NULL) == 0 ? BL_DONE : BL_DEAD;
}

/* The thread goes on when the main one has ended. */
static int do_thread_exit(struct bl_job *job)
{
    do_thread(job);
    pthread_exit(NULL);
}

static void *strike(void *arg)
{
    struct timespec nap = {0, 300 * 1000 * 1000};
    (void)arg;
    nanosleep(&nap, NULL);
    *(volatile int *)(uintptr_t)8 = 1;
    return NULL;
}

/* A thread that crashes when the job has long returned. */
static int do_late_thread(struct bl_job *job)
{
    pthread_t t;
    (void)job;
    return pthread_create(&t, NULL, strike, NULL) == 0 ? BL_DONE : BL_DEAD;
}

static jmp_buf mark;
static int marked;

static int do_mark(struct bl_job *job)
{
    (void)job;
    marked = 1;
    return setjmp(mark) == 0 ? BL_DONE : BL_DEAD;
}

static int do_longjmp(struct bl_job *job)
{
    (void)job;
    if (!marked)
        abort(); /* another process than the one that did `mark` */
    longjmp(mark, 1);
}

static int do_stop(struct bl_job *job)
{
    (void)job;
    raise(SIGSTOP);
    return BL_DONE;
}

static int do_overflow(struct bl_job *job)
{
    volatile char room[4096];
    room[0] = (char)job->attempt;
    return (room[0] == 0 ? BL_DONE : do_overflow(job)) + room[0];
}

static int do_odd_result(struct bl_job *job)
{
    (void)job;
    return 4711;
}

static const struct deed {
    const char *name;
    int (*run)(struct bl_job *job);
} deeds[] = {
#define DEED(name)                                                                                 \
    {                                                                                              \
#name, do_##name                                                                           \
    }
    DEED(segv),           DEED(abort),   DEED(exit),         DEED(_exit),        DEED(spin),
    DEED(block),          DEED(ignore),  DEED(grandchild),   DEED(daemon),       DEED(daemon_segv),
    DEED(fork_return),    DEED(close),   DEED(close_open),   DEED(killgroup),    DEED(flood_stdout),
    DEED(flood_stderr),   DEED(eat),     DEED(eat_then_ask), DEED(deadlock),     DEED(garbage),
    DEED(scribble),       DEED(chdir),   DEED(sigmask),      DEED(dispositions), DEED(environment),
    DEED(clearenv),       DEED(rlimits), DEED(umask),        DEED(nice),         DEED(leak),
    DEED(pthread_exit),   DEED(thread),  DEED(thread_exit),  DEED(late_thread),  DEED(mark),
    DEED(garbage_return), DEED(alarm),   DEED(longjmp),      DEED(stop),         DEED(overflow),
    DEED(odd_result),     DEED(chain),   DEED(chain_segv),   DEED(chain_block),
};

static enum bl_result misbehave(struct bl_job *job)
{
    const char *at = strstr(job->args, "\"do\":\"");
    size_t len = at != NULL ? strcspn(at + 6, "\"") : 0;
    for (size_t i = 0; i < sizeof deeds / sizeof deeds[0]; i++)
        if (len == strlen(deeds[i].name) && strncmp(at + 6, deeds[i].name, len) == 0)
            return (enum bl_result)deeds[i].run(job);
    bl_fail(job, "no such deed");
    return BL_DEAD;
}

/* ---- what a neighbour finds ---- */

static unsigned long dispositions(void)
{
    unsigned long ignored_or_caught = 0;
    for (int sig = 1; sig < 32; sig++) {
        struct sigaction now;
        if (sigaction(sig, NULL, &now) == 0 && now.sa_handler != SIG_DFL)
            ignored_or_caught |= 1ul << sig;
    }
    return ignored_or_caught;
}

static unsigned long masked(void)
{
    unsigned long mask = 0;
    sigset_t now;
    sigprocmask(SIG_BLOCK, NULL, &now);
    for (int sig = 1; sig < 32; sig++)
        if (sigismember(&now, sig) == 1)
            mask |= 1ul << sig;
    return mask;
}

/* "3:socket:[1234]" and so on, in JSON strings; links of our own making hold no quotes. */
static size_t list_descriptors(char *out, size_t size)
{
    size_t at = 0;
    for (int fd = 0; fd < 1024; fd++) {
        char path[64], target[PATH_MAX];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(path, target, sizeof target - 1);
        if (n == -1)
            continue;
        target[n] = '\0';
        at +=
            (size_t)snprintf(out + at, size - at, "%s\"%d:%.200s\"", at > 0 ? "," : "", fd, target);
        if (at > size - 300)
            break;
    }
    return at;
}

static void status_line(const char *name, char *out, size_t size)
{
    char line[512];
    FILE *f = fopen("/proc/self/status", "re");
    out[0] = '\0';
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, name, strlen(name)) == 0) {
            snprintf(out, size, "%.*s", (int)strcspn(line + strlen(name), "\n"),
                     line + strlen(name));
            for (char *c = out; *c != '\0'; c++)
                *c = *c == '\t' ? ' ' : *c;
        }
    if (f != NULL)
        fclose(f);
}

static enum bl_result tell_state(struct bl_job *job)
{
    static char text[65536], descriptors[32768];
    char cwd[PATH_MAX], uids[128], gids[128], groups[256], threads[32], privs[32], caps[64];
    struct rlimit files, core;
    mode_t mask = umask(0);
    umask(mask);
    getrlimit(RLIMIT_NOFILE, &files);
    getrlimit(RLIMIT_CORE, &core);
    list_descriptors(descriptors, sizeof descriptors);
    status_line("Uid:", uids, sizeof uids);
    status_line("Gid:", gids, sizeof gids);
    status_line("Groups:", groups, sizeof groups);
    status_line("Threads:", threads, sizeof threads);
    status_line("NoNewPrivs:", privs, sizeof privs);
    status_line("CapEff:", caps, sizeof caps);
    const char *path = getenv("PATH");
    errno = 0;
    int level = getpriority(PRIO_PROCESS, 0);
    int root_again = setuid(0) == 0 && geteuid() == 0;
    int n = snprintf(
        text, sizeof text,
        "{\"pid\":%d,\"cwd\":\"%s\",\"umask\":%u,\"mask\":%lu,\"handled\":%lu,\"path\":\"%s\","
        "\"hostile\":%d,\"files\":%llu,\"core\":%llu,\"dumpable\":%d,\"nice\":%d,\"uids\":\"%s\","
        "\"gids\":\"%s\",\"groups\":\"%s\",\"threads\":\"%s\",\"no_new_privs\":\"%s\",\"caps\":\"%"
        "s\","
        "\"root\":%d,\"fds\":[%s]}",
        (int)getpid(), getcwd(cwd, sizeof cwd), (unsigned)mask, masked(), dispositions(),
        path != NULL ? path : "", getenv("HOSTILE") != NULL, (unsigned long long)files.rlim_cur,
        (unsigned long long)core.rlim_cur, prctl(PR_GET_DUMPABLE), level, uids, gids, groups,
        threads, privs, caps, root_again, descriptors);
    bl_set_result(job, text, (size_t)n);
    return BL_DONE;
}

static const struct bl_handler handlers[] = {
    {.name = "hostile", .run = misbehave},
    {.name = "hostile.other", .run = misbehave},
    {.name = "state", .run = tell_state},
};
const struct bl_plugin bl_plugin = BL_PLUGIN("hostile", handlers);

/* fail_shim.c - preloaded into a worker: makes a call of the C library fail now and then.
 *
 *   FAIL_IN=worker|runner    in which of our processes
 *   FAIL_CALL=WHAT:N:EVERY   the N-th call, and every EVERY-th after it (0: only once in all processes,
 *                            the first that makes the file FAIL_MARK)
 *
 * WHAT:  malloc        malloc, calloc, realloc give NULL, ENOMEM
 *        fork          fork fails with EAGAIN
 *        intr          read, recv, write, send, sendmsg, writev, poll fail with EINTR
 *        short         of a read or recv on a socket or file, or a write or send there, one byte is done
 *        reset         a read or recv of a socket fails with ECONNRESET
 *        pipe          a write, send, sendmsg or writev to a socket fails with EPIPE
 *        nospace       a write to a file fails with ENOSPC, or rename does
 *        nofiles       open, socketpair and pipe2 fail with EMFILE
 *
 * Errors are given only to what could get them: sockets, files.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { K_NONE, K_MALLOC, K_FORK, K_INTR, K_SHORT, K_RESET, K_PIPE, K_NOSPACE, K_NOFILES };
static const char *const kinds[] = {"",      "malloc", "fork",    "intr",   "short",
                                    "reset", "pipe",   "nospace", "nofiles"};
static enum kind kind;
static unsigned long calls, from, every;
static const char *mark;

__attribute__((constructor)) static void setup(int argc, char **argv)
{
    const char *in = getenv("FAIL_IN"), *call = getenv("FAIL_CALL");
    const char *is = argc > 1 && strcmp(argv[1], "--runner") == 0  ? "runner"
                     : argc > 1 && strcmp(argv[1], "--guard") == 0 ? "guard"
                                                                   : "worker";
    for (int i = 2; i < argc; i++)
        if (strcmp(argv[i], "--describe") == 0)
            is = "describe";
    if (in == NULL || call == NULL || strcmp(in, is) != 0)
        return;
    mark = getenv("FAIL_MARK");
    for (size_t i = 1; i < sizeof kinds / sizeof *kinds; i++) {
        size_t len = strlen(kinds[i]);
        char *end;
        if (strncmp(call, kinds[i], len) != 0 || call[len] != ':')
            continue;
        from = strtoul(call + len + 1, &end, 10);
        every = strtoul(end + 1, NULL, 10);
        kind = (enum kind)i;
    }
}

/* Shall this call, of the kind that fails, fail? */
static int due(void)
{
    unsigned long now = __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
    if (now < from)
        return 0;
    int hit = every > 0 ? (now - from) % every == 0 : now == from;
    if (!hit || mark == NULL)
        return hit;
    int saved = errno;
    long fd =
        syscall(SYS_openat, AT_FDCWD, mark, O_WRONLY | O_CREAT | (every > 0 ? 0 : O_EXCL), 0600);
    if (fd >= 0)
        syscall(SYS_close, fd);
    errno = saved;
    return fd >= 0;
}

static int type_of(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 ? (int)(st.st_mode & S_IFMT) : 0;
}

#define FAIL(error) return errno = (error), -1

/* The error that a call which reads (or writes) fd shall have; 0 = none; -1 = only one byte. */
static int read_failure(int fd)
{
    int type = kind == K_SHORT || kind == K_RESET ? type_of(fd) : 0;
    if (kind == K_INTR && due())
        return EINTR;
    if (kind == K_SHORT && (type == S_IFSOCK || type == S_IFREG) && due())
        return -1;
    if (kind == K_RESET && type == S_IFSOCK && due())
        return ECONNRESET;
    return 0;
}

static int write_failure(int fd)
{
    int type = kind >= K_SHORT ? type_of(fd) : 0;
    if (kind == K_INTR && due())
        return EINTR;
    if (kind == K_SHORT && (type == S_IFSOCK || type == S_IFREG) && due())
        return -1;
    if (kind == K_PIPE && type == S_IFSOCK && due())
        return EPIPE;
    if (kind == K_NOSPACE && type == S_IFREG && due())
        return ENOSPC;
    return 0;
}

ssize_t read(int fd, void *buf, size_t n)
{
    int f = read_failure(fd);
    if (f > 0)
        FAIL(f);
    return syscall(SYS_read, fd, buf, f == -1 && n > 1 ? 1 : n);
}

ssize_t recv(int fd, void *buf, size_t n, int flags)
{
    int f = read_failure(fd);
    if (f > 0)
        FAIL(f);
    return syscall(SYS_recvfrom, fd, buf, f == -1 && n > 1 ? 1 : n, flags, NULL, NULL);
}

ssize_t write(int fd, const void *buf, size_t n)
{
    int f = write_failure(fd);
    if (f > 0)
        FAIL(f);
    return syscall(SYS_write, fd, buf, f == -1 && n > 1 ? 1 : n);
}

ssize_t send(int fd, const void *buf, size_t n, int flags)
{
    int f = write_failure(fd);
    if (f > 0)
        FAIL(f);
    return syscall(SYS_sendto, fd, buf, f == -1 && n > 1 ? 1 : n, flags, NULL, 0);
}

ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
    int f = write_failure(fd);
    if (f > 0)
        FAIL(f);
    return syscall(SYS_sendmsg, fd, m, flags);
}

ssize_t writev(int fd, const struct iovec *v, int n)
{
    int f = write_failure(fd);
    if (f > 0)
        FAIL(f);
    return f == -1 ? syscall(SYS_write, fd, v[0].iov_base, v[0].iov_len > 0)
                   : syscall(SYS_writev, fd, v, n);
}

int poll(struct pollfd *p, nfds_t n, int ms)
{
    if (kind == K_INTR && due())
        FAIL(EINTR);
    struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
    return (int)syscall(SYS_ppoll, p, n, ms < 0 ? NULL : &t, NULL, 8);
}

int rename(const char *a, const char *b)
{
    if (kind == K_NOSPACE && due())
        FAIL(ENOSPC);
    return (int)syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, 0);
}

int open(const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    int mode = va_arg(ap, int);
    va_end(ap);
    if (kind == K_NOFILES && due())
        FAIL(EMFILE);
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int socketpair(int domain, int type, int protocol, int pair[2])
{
    if (kind == K_NOFILES && due())
        FAIL(EMFILE);
    return (int)syscall(SYS_socketpair, domain, type, protocol, pair);
}

int pipe2(int ends[2], int flags)
{
    if (kind == K_NOFILES && due())
        FAIL(EMFILE);
    return (int)syscall(SYS_pipe2, ends, flags);
}

pid_t __fork(void);

pid_t fork(void)
{
    if (kind == K_FORK && due())
        FAIL(EAGAIN);
    return __fork();
}

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t count, size_t n);
void *__libc_realloc(void *p, size_t n);

void *malloc(size_t n)
{
    if (kind == K_MALLOC && due())
        return errno = ENOMEM, NULL;
    return __libc_malloc(n);
}

void *calloc(size_t count, size_t n)
{
    if (kind == K_MALLOC && due())
        return errno = ENOMEM, NULL;
    return __libc_calloc(count, n);
}

void *realloc(void *p, size_t n)
{
    if (kind == K_MALLOC && due())
        return errno = ENOMEM, NULL;
    return __libc_realloc(p, n);
}

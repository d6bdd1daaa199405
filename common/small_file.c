#include "common/small_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

ssize_t small_file_read(const char *path, char *text, size_t size)
{
    text[0] = '\0';
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd == -1)
        return -1;
    size_t got = 0;
    ssize_t n = 1;
    while (n > 0 && got < size - 1) { /* the kernel may hand out a page at a time */
        n = read(fd, text + got, size - 1 - got);
        if (n > 0)
            got += (size_t)n;
    }
    int error = errno;
    close(fd);
    errno = error;
    text[got] = '\0';
    return n < 0 ? -1 : (ssize_t)got;
}

void boot_id_read(char *text, size_t size)
{
    (void)small_file_read("/proc/sys/kernel/random/boot_id", text, size); /* "" then */
    text[strcspn(text, "\n")] = '\0';
}

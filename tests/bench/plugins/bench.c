/* Handlers for the benchmark.
 *
 *   noop    does nothing
 *   stamp   args is the CLOCK_MONOTONIC time of its push in ns: notes how long ago that was
 *
 * Both count themselves on the board (board.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "board.h"
#include "bucketline.h"

static struct board *board;
static struct board_line *own; /* this runner's */

static int setup(char *error, size_t error_size)
{
    const char *path = getenv("BENCH_BOARD");
    int fd = open(path != NULL ? path : "", O_RDWR | O_CLOEXEC);
    if (fd != -1)
        board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd == -1 || board == MAP_FAILED) {
        snprintf(error, error_size, "BENCH_BOARD: %s", strerror(errno));
        return -1;
    }
    close(fd);
    int64_t line = __atomic_fetch_add(&board->lines_taken, 1, __ATOMIC_RELAXED);
    own = &board->lines[line % BOARD_LINES];
    return 0;
}

static enum bl_result noop(struct bl_job *job)
{
    (void)job;
    __atomic_store_n(&own->done, own->done + 1, __ATOMIC_RELAXED);
    return BL_DONE;
}

static enum bl_result stamp(struct bl_job *job)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    int64_t late = t.tv_sec * INT64_C(1000000000) + t.tv_nsec - strtoll(job->args, NULL, 10);
    int64_t at = __atomic_fetch_add(&board->stamps_taken, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&board->late_ns[at % BOARD_STAMPS], late, __ATOMIC_RELAXED);
    return noop(job);
}

static const struct bl_handler handlers[] = {
    {.name = "noop", .run = noop},
    {.name = "stamp", .run = stamp},
};
const struct bl_plugin bl_plugin = {
    .abi = BL_ABI_VERSION,
    .size = sizeof bl_plugin,
    .name = "bench",
    .handlers = handlers,
    .handler_size = sizeof handlers[0],
    .handler_count = sizeof handlers / sizeof handlers[0],
    .setup = setup,
};

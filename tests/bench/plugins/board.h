/* board.h - a file that the benchmark maps and the handlers write: how many jobs each runner did, and
 * how late stamped jobs began.  So progress is read without asking Redis or the worker anything.
 * The path is in $BENCH_BOARD; tests/bench/board.py reads the same layout.
 */
#ifndef BL_TESTS_BENCH_BOARD_H
#define BL_TESTS_BENCH_BOARD_H

#include <stdint.h>

enum { BOARD_LINES = 16384, BOARD_STAMPS = 1 << 20 };

struct board_line { /* a runner's own cache line */
    int64_t done;
    int64_t rest[7];
};

struct board {
    int64_t lines_taken; /* runners that have started, ever */
    int64_t stamps_taken;
    int64_t rest[6];
    struct board_line lines[BOARD_LINES];
    int64_t late_ns[BOARD_STAMPS]; /* handler's begin minus the time in args */
};

#endif

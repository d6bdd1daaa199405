/* crash_point.h - named moments in a job's life at which a test build can be made to die.
 *
 * CRASH_POINT("claim.answered") is nothing at all in a normal build.  In a build with
 * -DBL_CRASH_POINTS (make POINTS=1, its own directory) the process kills itself with SIGKILL there
 * when the environment says so:
 *
 *   BUCKETLINE_CRASH=claim.answered:3   at the third passing, counted in each process by itself
 *   BUCKETLINE_CRASH_DIR=/dir           needed: the file `crashed` is made there by the first that
 *                                       dies, and nobody dies after it; every point passed for the
 *                                       first time in a process adds its name to `reached`
 *
 * Worker, runners and guard hand their environment on, so one variable reaches all of them.  Names
 * are literals, each used once: tests/points reads them out of the sources and tries every one.
 */
#ifndef BL_COMMON_CRASH_POINT_H
#define BL_COMMON_CRASH_POINT_H

#ifdef BL_CRASH_POINTS
/* `passed` counts the passings of this point in this process. */
void crash_point(const char *name, unsigned *passed);
#define CRASH_POINT(name)                                                                          \
    do {                                                                                           \
        static unsigned crash_point_passed;                                                        \
        crash_point(name, &crash_point_passed);                                                    \
    } while (0)
#else
#define CRASH_POINT(name) ((void)0)
#endif

#endif

/* under_callgrind - what BUCKETLINE_RUNNER_EXE names to have runners counted: runs $BENCH_WORKER with
 * the same arguments, under callgrind if it is to be a runner.  A program, since runners are executed
 * through a descriptor, which a script cannot be.  Their counts go to $BENCH_COUNTS.<pid>.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    char *worker = getenv("BENCH_WORKER"), *counts = getenv("BENCH_COUNTS");
    char file[512];
    if (worker == NULL || counts == NULL)
        return 78;
    if (argc < 3 || strcmp(argv[1], "--runner") != 0 || strcmp(argv[2], "--describe") == 0) {
        execv(worker, argv);
        return 70;
    }
    snprintf(file, sizeof file, "--callgrind-out-file=%s.%%p", counts);
    char *head[] = {"valgrind", "--quiet", "--tool=callgrind", file, worker};
    size_t n = sizeof head / sizeof *head;
    char **all = calloc(n + (size_t)argc, sizeof *all);
    if (all == NULL)
        return 70;
    memcpy(all, head, sizeof head);
    memcpy(all + n, argv + 1, (size_t)argc * sizeof *argv); /* with the NULL that ends them */
    execvp(all[0], all);
    return 70;
}

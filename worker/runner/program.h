/* program.h - runs a job by a program (`exec:` in worker.yaml).
 *
 * Exit code 0 = done, 65 = dead, 75 = snooze, 78 = park; any other, and a signal = retry.  A
 * {"snooze":n} on descriptor 3 makes a snooze of exit 0 too.
 */
#ifndef BL_WORKER_RUNNER_PROGRAM_H
#define BL_WORKER_RUNNER_PROGRAM_H

#include "common/config.h"

struct job;

/* Starts it, feeds it, waits for its end, kills what it leaves behind; fills in the job's outcome,
 * result, message and the slot's numbers. */
void program_run(struct job *j, const struct config_handler *h);

#endif

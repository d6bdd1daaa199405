/* runner.h - the process that runs jobs: `worker --runner`.
 *
 * Blocking code: no libuv, no Redis.  It gets, as descriptors its worker names on the command line,
 * a stream socket to the worker (wire.h), the shared page (slots.h) and the configuration as text
 * (config_print(..., for_runner)).  It loads the plugins, says HELLO, and then: read a JOB frame,
 * slot_begin(), run the handler, slot_return(), report with DONE.
 *
 *   worker --runner --index N --socket-fd F --slots-fd P --config-fd C --parent PID
 *          --config-name NAME --directory DIR [--out-dir D] [--log-fd F] [--log-level L]
 *          [--log-format F]
 *   worker --runner --describe --config-fd C --config-name NAME --directory DIR
 *
 * --describe prints, one JSON object a line: {"loading":PATH} before each plugin is loaded, then
 * {"plugin":PATH,"name":N} or {"plugin":PATH,"error":TEXT}, then for each handler
 * {"type":T,"plugin":PATH|null,"timeout_ms":N,"retries":N} (what the plugin's table says; -1 = not
 * said; null for programs).  Exit 0, or 78 if a plugin is broken.  The worker learns the types from
 * this without ever loading code; after a crash the last "loading" line names the culprit.
 */
#ifndef BL_WORKER_RUNNER_RUNNER_H
#define BL_WORKER_RUNNER_RUNNER_H

/* Returns the process' exit code: 0 drained or worker gone, 70 internal, 78 a broken plugin. */
int runner_main(int argc, char **argv);

#endif

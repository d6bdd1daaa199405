"""The ledger of the handlers: each run of a job, by begin and end lines (see plugins/chaos.c)."""

import collections


class Run:
    __slots__ = ("key", "id", "attempt", "pid", "worker", "runner", "begin", "end", "what",
                 "length", "crc")

    def __init__(self, key, id, attempt, pid, worker, runner, begin, length, crc):
        self.key, self.id, self.attempt = key, id, attempt
        self.pid, self.worker, self.runner, self.begin = pid, worker, runner, begin
        self.length, self.crc = length, crc
        self.end = self.what = None

    @property
    def ended(self):
        """It came to an outcome; one that was told to stop did not."""
        return self.what not in (None, "stop")

    def __str__(self):
        return "%.3f begins  attempt %d of %s pid %d runner %d worker %d\n%s" % (
            self.begin, self.attempt, self.id, self.pid, self.runner, self.worker,
            "%14s ends: %s" % ("%.3f" % self.end, self.what) if self.end else "    does not end")


def read_runs(path):
    """{key: [Run]} in the order in which they began."""
    runs, open_runs = collections.defaultdict(list), {}
    try:
        with open(path) as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return runs
    for line in lines:
        kind, us, pid, worker, runner, key, id, attempt, *rest = line.split(" ")
        seconds, who = int(us) / 1e6, (pid, key, id)
        if kind == "B":
            run = Run(key, id, int(attempt), int(pid), int(worker), int(runner), seconds,
                      int(rest[0]), int(rest[1], 16))
            open_runs[who] = run
            runs[key].append(run)
        else:
            run = open_runs.pop(who)
            run.end, run.what = seconds, rest[0]
    for of_key in runs.values():
        of_key.sort(key=lambda run: run.begin)
    return runs

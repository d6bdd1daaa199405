"""A single short job wakes its runner on the worker's core.  A runner that is stopped cannot wake: what
the worker did for it can be seen, for as long as it takes."""

import os
import signal
import sys
from unittest import skipIf

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from bl import Case, process_table, wait_until
from ledger import Ledger

LONG_MS = 20
SHORT_JOBS = 40  # after which one that took long for once is forgotten


@skipIf(len(os.sched_getaffinity(0)) < 2, "there is one core for all")
class Rest(Case):
    def setUp(self):
        super().setUp()
        self.ledger = Ledger(self.directory)
        self.server = self.redis()
        self.worker_process = self.worker(self.server, {
            "runners": 1, "plugins": [self.ledger.plugin], "beat": "200ms", "dead_after": "60s"})
        self.runner, = self.worker_process.runners()
        self.pushed = []
        self.all_cores = os.sched_getaffinity(0)

    def push(self, ms=0):
        id = "j%d" % len(self.pushed)
        self.pushed.append(id)
        self.server.client.lpush("queue:default", self.ledger.document(id, ms=ms))
        return id

    def run_job(self, ms=0):
        id = self.push(ms)
        wait_until(lambda: id in self.ledger.ended() and self.server.idle(), what="a job's end")

    def beats(self):
        count, = self.server.client.hvals("bucketline:workers")
        return int(count)

    def cores_when_called(self, ms=0):
        """What the runner may use while a job of this length is written to it, which then runs."""
        wait_until(lambda: process_table()[self.runner][1] == "S", what="a sleeping runner")
        os.kill(self.runner, signal.SIGSTOP)
        try:
            id = self.push(ms)
            wait_until(lambda: self.server.client.hlen("{queue:default}:run") == 1,
                       what="the job in the worker's hands")
            beats = self.beats()
            wait_until(lambda: self.beats() >= beats + 2, what="turns of the worker's loop")
            cores = os.sched_getaffinity(self.runner)
        finally:
            os.kill(self.runner, signal.SIGCONT)
        wait_until(lambda: id in self.ledger.ended() and self.server.idle(), what="the job's end")
        return cores

    def test_called_for_a_short_job_and_free_when_it_runs(self):
        for _ in range(SHORT_JOBS):
            self.run_job()

        def is_called():  # not if it is stopped while it looks around after a job
            cores = self.cores_when_called()
            self.assertEqual(self.all_cores, os.sched_getaffinity(self.runner))
            return len(cores) == 1 and cores < self.all_cores
        wait_until(is_called, what="a call")

    def test_a_longer_job_is_better_off_elsewhere(self):
        self.run_job(LONG_MS)
        for _ in range(3):
            self.assertEqual(self.all_cores, self.cores_when_called(LONG_MS))

    def test_a_job_of_unknown_length_too(self):
        self.assertEqual(self.all_cores, self.cores_when_called())

    def test_who_was_bound_by_somebody_else_stays_there(self):
        self.run_job()
        chosen = {min(self.all_cores)}
        os.sched_setaffinity(self.runner, chosen)
        for _ in range(3):
            self.assertEqual(chosen, self.cores_when_called())
            self.assertEqual(chosen, os.sched_getaffinity(self.runner))


if __name__ == "__main__":
    import unittest
    unittest.main()

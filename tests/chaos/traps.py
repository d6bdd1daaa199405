"""Experiments in each of which one mistake in the protocol would show at once.

`make chaos` runs them, and bugs.py plants the mistakes to see that they do.
"""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fencing import ONE, Experiment

from bl import is_alive, wait_until
from faults import now
from world import companion

KINDS = ("done", "fail:1", "dead")


class Traps(Experiment):
    def push_kinds(self, ms):
        """One of each, with all that may hang on its end."""
        return [self.push(ms, what=what, reply_to=True,
                          **{"on_failure" if what == "dead" else "on_success": "other"})
                for what in KINDS]

    def stalled_until_taken(self, what, ms):
        """A job ends, but its settlement is on its way for so long that another takes the job:
        (job, index of the first worker)."""
        world = self.make(workers=2, runners=2, beat="200ms", dead_after="1s",
                          reply_timeout="30s")
        job = self.push(ms, what=what, reply_to=True)
        run = self.wait_runs(job, 1)[0]
        index, begin = self.index_of(run), now()
        world.proxies[index].stall = {"request"}
        self.wait_runs(job, 2)
        self.assertIsNotNone(self.runs(job)[0].end, "the settlement was never sent")
        return job, index, begin

    def arrive(self, index, begin):
        """What was on its way arrives: its beat, which comes after it, is seen again."""
        client = self.world.redis.client
        wait_until(lambda: client.hlen("bucketline:workers") == 1, what="the first to be dropped")
        self.world.proxies[index].stall = set()
        self.world.log.add("BlackHole", begin, index)
        wait_until(lambda: client.hlen("bucketline:workers") == 2, what="its beat")

    def test_a_settlement_that_arrives_after_anothers(self):
        job, index, begin = self.stalled_until_taken("dead", 200)
        wait_until(lambda: self.world.redis.client.llen(companion(ONE, "dead")) == 1,
                   what="the other's settlement")
        self.arrive(index, begin)
        self.judge()

    def test_a_settlement_that_arrives_while_another_runs_the_job(self):
        job, index, begin = self.stalled_until_taken("done", 1000)
        self.arrive(index, begin)
        self.wait_rest()
        client = self.world.redis.client
        wait_until(lambda: client.llen(job.replies) > 0, what="the reply")
        self.assertIn('"pid":%d' % self.runs(job)[-1].pid,
                      client.lindex(job.replies, 0).decode())
        self.judge()

    def test_outcomes_outlast_an_outage(self):
        world = self.make(workers=1, runners=3, dead_after="10s", beat="1s")
        jobs = self.push_kinds(300)
        for job in jobs:
            self.wait_runs(job, 1)
        world.redis.kill9()
        for job in jobs:
            self.wait_runs(job, 1, ended=True)
        time.sleep(4)
        world.redis.start()
        self.wait_rest()
        self.judge()

    def kill_everything(self):
        worker, begin = self.world.workers[0], now()
        pids = [worker.pid] + worker.descendants()
        worker.kill9_all()
        self.world.note_end(0, "killed")
        self.world.log.add("MachineKill", begin, 0, pids)

    def test_what_had_returned_is_settled_by_the_next_worker(self):
        world = self.make(workers=1, runners=3, dead_after="10s", beat="1s")
        jobs = self.push_kinds(300)
        for job in jobs:
            self.wait_runs(job, 1)
        world.workers[0].stop()
        for job in jobs:
            self.wait_runs(job, 1, ended=True)
        time.sleep(0.5)
        self.kill_everything()
        world.start_worker(0)
        self.judge()

    def test_what_was_decided_is_settled_by_the_next_worker(self):
        world = self.make(workers=1, runners=3, dead_after="10s", beat="1s")
        jobs = self.push_kinds(300)
        for job in jobs:
            self.wait_runs(job, 1)
        world.proxies[0].stall = {"request"}
        for job in jobs:
            self.wait_runs(job, 1, ended=True)
        time.sleep(0.5)
        self.kill_everything()
        world.proxies[0].reset()
        world.proxies[0].stall = set()
        world.start_worker(0)
        self.judge()

    def test_what_ran_when_its_worker_was_killed_runs_again(self):
        world = self.make(workers=1, runners=3, dead_after="10s", beat="1s")
        jobs = self.push_kinds(1000)
        for job in jobs:
            self.wait_runs(job, 1)
        self.kill_everything()
        world.start_worker(0)
        for job in jobs:
            self.wait_runs(job, 2)
        self.judge()

    def test_identical_documents_stay_apart(self):
        """Without an id, and with the same one: nothing but their uid tells those apart."""
        world = self.make(workers=1, runners=4, dead_after="10s", beat="1s")
        for what in ("fail:1", "dead"):
            for id in ("", '"id":"same",'):
                job = self.catalog.make(group=True, kind=(what, {}), ms=0, type="chaos",
                                        list_name=ONE)
                job.document = "{" + id + job.document[1:]
                for _ in range(10):
                    world.redis.client.lpush(ONE, *[job.document] * 100)
                job.ok, job.ok_at = 1000, [now()] * 1000
        self.wait_rest()
        self.judge()

    def test_full_memory_stops_nothing_but_pushes(self):
        world = self.make(workers=1, runners=3, dead_after="10s", beat="1s")
        client = world.redis.client
        client.set(companion(ONE, "paused"), "1")
        jobs = [self.push(0, what=what, reply_to=False) for what in KINDS] + \
            [self.push(0, delay=0.2, reply_to=False),
             self.push(0, retry=1, what="fail:9", reply_to=False)]
        client.config_set("maxmemory", 1)
        client.delete(companion(ONE, "paused"))
        self.wait_rest()
        for job in jobs:
            self.assertTrue(self.runs(job), "it was settled without having run")
        client.config_set("maxmemory", 0)
        self.judge()

    def test_nothing_outlives_its_worker(self):
        world = self.make(workers=1, runners=2, dead_after="10s", beat="1s")
        run = self.wait_runs(self.push(0, what="spin"), 1)[0]
        worker = world.workers[0]
        pids = worker.descendants()
        self.assertIn(run.pid, pids)
        worker.kill9()
        time.sleep(1)
        self.assertEqual([], [pid for pid in pids if is_alive(pid)], "alive 1 s after the worker")


if __name__ == "__main__":
    import unittest
    unittest.main(verbosity=2)

"""Experiments about who may settle a job, and who is alive.

`Quick` runs with the test suite, `Long` with `make chaos`: those wait for the real time limits.
"""

import json
import os
import random
import re
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from bl import Case, is_alive, wait_until
from checker import Checker
from faults import now
from producer import Catalog
from runs import read_runs
from world import World, companion

ONE = "queue:one"


class Experiment(Case):
    def make(self, **settings):
        world = World(self.directory, **settings)
        self.addCleanup(world.end)  # before the directory goes
        for index in range(len(world.workers)):
            world.start_worker(index, ready=True)
        self.world = world
        self.catalog = Catalog(world.ledger, random.Random(1))
        return world

    def push(self, ms, what="done", **members):
        job = self.catalog.make(kind=(what, members), ms=ms, type="chaos", list_name=ONE)
        self.world.redis.client.lpush(ONE, job.document)
        job.ok, job.ok_at, job.pushed_at = 1, [now()], now()
        return job

    def runs(self, job):
        return read_runs(self.world.ledger).get(job.key, [])

    def wait_runs(self, job, count, ended=False):
        def look():
            runs = self.runs(job)
            return len(runs) >= count and (not ended or runs[count - 1].end) and runs
        return wait_until(look, what="run %d of %s" % (count, job.document))

    def index_of(self, run):
        return [i for i, w in enumerate(self.world.workers) if w.pid == run.worker][0]

    def wait_rest(self):
        wait_until(lambda: not self.world.unfinished(), what=lambda: "the end of all jobs, left: %s"
                   % self.world.unfinished())

    def judge(self):
        self.world.drain()
        self.world.stop_workers()
        checker = Checker(self.world, self.catalog.jobs)
        findings = checker.check()
        self.assertEqual([], findings, "\n".join(
            "%s\n%s" % (f, checker.life_of(f.key) if f.key else "") for f in findings))
        return checker

    def frozen_until_taken(self, late):
        """A worker is frozen until the other has its job: (job, which worker, since when).
        `late`: its runner ends the job meanwhile, so that its worker has an outcome to settle."""
        world = self.make(workers=2, runners=2, beat="200ms", dead_after="1s")
        job = self.push(1200 if late else 4000, keep=600, reply_to=True,
                        on_success="other")
        run = self.wait_runs(job, 1)[0]
        frozen, begin = self.index_of(run), now()
        world.workers[frozen].stop()
        self.wait_runs(job, 2)
        return job, frozen, begin

    def thaw(self, frozen, begin):
        self.world.workers[frozen].cont()
        self.world.log.add("WorkerStop", begin, frozen)

    def assert_second_settled(self, job):
        client = self.world.redis.client
        wait_until(lambda: client.llen(job.replies) > 0, what="the reply")
        self.wait_rest()
        second = self.runs(job)[1]
        replies = [json.loads(r) for r in client.lrange(job.replies, 0, -1)]
        kept = json.loads(client.get("{%s}:result:%s" % (ONE, job.members["id"])))
        self.assertEqual([second.pid], [r["result"]["pid"] for r in replies])
        self.assertEqual(second.pid, kept["result"]["pid"])
        self.assertEqual(1, len(self.wait_runs(job.child, 1, ended=True)))


class Quick(Experiment):
    def test_an_outcome_that_comes_after_anothers_settlement_changes_nothing(self):
        job, frozen, begin = self.frozen_until_taken(late=True)
        self.wait_runs(job, 2, ended=True)
        wait_until(lambda: self.world.redis.client.hlen(companion(ONE, "run")) == 0,
                   what="the settlement by the second worker")
        self.thaw(frozen, begin)
        self.world.workers[frozen].wait_log("lost=[1-9]|settled too late|claim was lost")
        self.assert_second_settled(job)
        self.assertEqual(2, self.counted_done())  # the job and what followed it
        self.judge()

    def counted_done(self):
        """What both workers count as done of all queues."""
        done = 0
        for worker in self.world.workers:
            worker.signal(signal.SIGUSR1)
            worker.wait_log(r'status of queue" queue=two')
            done += sum(int(n) for n in re.findall(r'status of queue" queue=\w+ done=(\d+)',
                                                   worker.log()))
        return done

    def taken_unheard(self, cut, then=lambda: None, **settings):
        """A job that Redis gave the first worker, which did not hear of it: cut() comes before the push,
        then() after it."""
        world = self.make(workers=2, runners=2, beat="200ms", dead_after="1s", **settings)
        second = world.workers[1]
        second.signal(signal.SIGTSTP)
        second.wait_log("quiet")
        wait_until(lambda: world.redis.client.info("clients")["blocked_clients"] == 2,
                   what="the first worker alone to wait")
        begin = now()
        cut()
        job = self.push(100)
        then()
        wait_until(self.is_taken, what="it to be taken")
        second.signal(signal.SIGCONT)
        run = self.wait_runs(job, 1, ended=True)[0]
        self.assertEqual(second.pid, run.worker)
        self.wait_rest()
        return job, begin

    def is_taken(self):
        client = self.world.redis.client
        return client.hlen(companion(ONE, "run")) == 1 or client.keys(companion(ONE, "hand:*"))

    def stall(self):
        self.world.proxies[0].stall = {"reply"}

    def assert_ran_once(self, job):
        self.world.workers[0].wait_log("reconciled lost=[1-9]|our beat counter is another")
        self.push(0)
        self.wait_rest()
        self.assertEqual(1, len(self.runs(job)))
        self.judge()

    def test_what_a_wait_brought_and_was_lost_before_it_was_heard_of_begins_nothing(self):
        job, begin = self.taken_unheard(lambda: self.world.workers[0].stop())
        self.thaw(0, begin)
        self.assert_ran_once(job)

    def test_what_a_wait_brought_and_was_heard_of_too_late_begins_nothing(self):
        job, begin = self.taken_unheard(self.stall, reply_timeout="30s")
        self.world.proxies[0].stall = set()
        self.world.log.add("BlackHole", begin, 0)
        self.assert_ran_once(job)

    def test_a_claim_that_was_lost_before_it_was_heard_of_begins_nothing(self):
        """Told to claim again, the worker claims without having waited."""
        def quiet():
            self.world.workers[0].signal(signal.SIGTSTP)
            self.world.workers[0].wait_log("quiet")
            wait_until(lambda: self.world.redis.client.info("clients")["blocked_clients"] == 0,
                       what="no wait")

        def claim():
            self.stall()
            self.world.workers[0].signal(signal.SIGCONT)
            wait_until(self.is_taken, what="the claim")
            self.world.workers[0].stop()
            self.world.proxies[0].stall = set()
        job, begin = self.taken_unheard(quiet, claim)
        self.thaw(0, begin)
        self.assert_ran_once(job)


class Long(Experiment):
    guard_seconds = 300

    def test_an_outcome_that_comes_while_another_runs_it_changes_nothing(self):
        job, frozen, begin = self.frozen_until_taken(late=True)
        self.thaw(frozen, begin)
        self.world.workers[frozen].wait_log("lost=[1-9]|settled too late|claim was lost")
        self.assert_second_settled(job)
        self.judge()

    def test_a_run_that_goes_on_after_its_claim_was_lost_is_stopped(self):
        job, frozen, begin = self.frozen_until_taken(late=False)
        self.thaw(frozen, begin)
        self.assert_second_settled(job)
        self.assertEqual("stop", self.runs(job)[0].what)
        self.judge()

    def test_on_lost_stop_excludes_overlap_and_goes_on_afterwards(self):
        world = self.make(workers=2, runners=2, beat="2s", dead_after="10s", on_lost="stop")
        world.workers[1].signal(signal.SIGTSTP)  # it shall take nothing until the first is cut off
        jobs = [self.push(30000), self.push(30000, what="spin", timeout=40, retry=0)]
        first = [self.wait_runs(job, 1)[0] for job in jobs]
        begin = now()
        world.proxies[0].stall = {"request", "reply"}
        world.workers[1].signal(signal.SIGCONT)
        gone = {}

        def all_again():
            for run in first:
                if run.pid not in gone and not is_alive(run.pid):
                    gone[run.pid] = now()
            return all(len(self.runs(job)) > 1 for job in jobs)
        wait_until(all_again, what="both to run elsewhere")
        for job, run in zip(jobs, first):
            run, second = self.runs(job)[:2]
            self.assertNotEqual(run.worker, second.worker)
            over = run.end if run.end is not None else gone.get(run.pid)
            self.assertIsNotNone(over, "the first run goes on")
            self.assertLess(over, second.begin)
        world.proxies[0].repair()
        world.log.add("BlackHole", begin, 0)
        more = [self.push(300) for _ in range(8)]
        workers = {self.wait_runs(job, 1, ended=True)[0].worker for job in more}
        self.assertIn(world.workers[0].pid, workers, "the first worker goes on")

    def test_two_workers_cut_off_in_turn(self):
        world = self.make(workers=2, runners=3, beat="200ms", dead_after="1s")
        for turn in range(6):
            for _ in range(20):
                self.push(150)
            begin, index = now(), turn % 2
            ways = [{"request", "reply"}, {"request"}, {"reply"}][turn % 3]
            world.proxies[index].stall = ways
            time.sleep(3)
            world.proxies[index].stall = set()
            world.log.add("BlackHole", begin, index)
        self.judge()

    def test_a_slow_beat_hinders_no_job(self):
        world = self.make(workers=1, runners=2, beat="9s", dead_after="40s", on_lost="stop")
        slow = self.push(13000)
        beats = world.redis.client.hgetall("bucketline:workers")
        time.sleep(7)  # the last beat is older than what would be too old by default
        quick = self.push(0)
        self.wait_runs(quick, 1, ended=True)
        self.assertEqual(beats, world.redis.client.hgetall("bucketline:workers"))
        self.assertEqual("done", self.wait_runs(slow, 1, ended=True)[0].what)

    def declared_dead(self):
        return [line for worker in self.world.workers for line in worker.log().splitlines()
                if "is silent" in line]

    def test_a_sick_redis_makes_nobody_look_dead(self):
        window = 1.0
        world = self.make(workers=2, runners=2, beat="200ms", dead_after="1s")
        client = world.redis.client
        for sickness in ("frozen", "paused", "asleep", "restarted", "full", "replica"):
            with self.subTest(sickness):
                jobs = [self.push(int(window * 4500)) for _ in range(2)]
                for job in jobs:
                    self.wait_runs(job, 1)
                if sickness == "frozen":
                    world.redis.pause()
                    time.sleep(3 * window)
                    world.redis.resume()
                elif sickness == "paused":
                    client.execute_command("CLIENT PAUSE", int(3000 * window), "ALL")
                elif sickness == "asleep":
                    world.redis.new_client().execute_command("DEBUG", "SLEEP", str(3 * window))
                elif sickness == "restarted":
                    world.redis.kill9()
                    time.sleep(3 * window)
                    world.redis.start()
                    client = world.redis.client
                elif sickness == "full":
                    client.config_set("maxmemory", 1)
                    time.sleep(3 * window)
                    client.config_set("maxmemory", 0)
                elif sickness == "replica":
                    client.execute_command("REPLICAOF", "127.0.0.1", "1")
                    time.sleep(3 * window)
                    client.execute_command("REPLICAOF", "NO", "ONE")
                self.wait_rest()
                for job in jobs:
                    self.assertEqual(1, len(self.runs(job)))
                self.assertEqual([], self.declared_dead())
        self.judge()


if __name__ == "__main__":
    import unittest
    unittest.main(verbosity=2)

"""Processes of ours die or freeze: nothing is lost, nothing runs twice that need not, nothing is
left running."""

import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from bl import BUILD, ROOT, Case, children_of, command_line, is_alive, wait_until
from ledger import Ledger

RUN = "{queue:default}:run"
FAST = {"beat": "200ms", "dead_after": "1s"}


class Recovery(Case):
    def setUp(self):
        super().setUp()
        self.ledger = Ledger(self.directory)

    def config(self, **more):
        return dict({"queues": ["default"], "runners": 2, "plugins": [self.ledger.plugin],
                     "handlers": {"tree": {"exec": [
                         "/bin/sh", "-c", "echo $$ >>'%s/pids'; sleep 1000 & echo $! >>'%s/pids'; "
                         "wait" % (self.directory, self.directory)]}}}, **more)

    def running(self, redis):
        return redis.client.hlen(RUN)

    def tree_pids(self, count):
        def look():
            try:
                with open(self.directory + "/pids") as file:
                    pids = [int(word) for word in file.read().split()]
            except FileNotFoundError:
                return None
            return pids if len(pids) >= count else None
        return wait_until(look, what="the programs' pids")

    def test_a_killed_runner_loses_nothing_and_leaves_no_program(self):
        redis = self.redis()
        worker = self.worker(redis, self.config())
        redis.client.lpush("queue:default", '{"type":"tree","id":"t"}')
        first = self.tree_pids(2)
        parent = [pid for pid in worker.runners() if children_of(pid)][0]
        os.kill(parent, signal.SIGKILL)
        again = self.tree_pids(4)  # it runs again in another runner
        for pid in first:
            wait_until(lambda: not is_alive(pid), what="the end of the dead runner's program")
        self.assertTrue(is_alive(again[2]))
        wait_until(lambda: len(worker.runners()) == 2, what="a whole pool")
        wait_until(lambda: self.running(redis) == redis.held() == 1, what="the program, as running")
        self.assertIn(b'"crashes":1', redis.client.hvals(RUN)[0])

    def test_a_job_that_kills_its_runner_three_times_is_poison(self):
        redis = self.redis()
        worker = self.worker(redis, self.config(plugins=[self.ledger.plugin, os.path.join(
            BUILD, "jobs/crash.so")]))
        redis.client.lpush("queue:default", '{"type":"crash","id":"bad","args":{"mode":"abort"},'
                           '"backoff":{"type":"fixed","base":0.05,"jitter":0}}')
        self.ledger.push(redis, 50)
        wait_until(lambda: redis.client.llen("{queue:default}:dead") == 1, what="the dead letter")
        letter = redis.client.lindex("{queue:default}:dead", 0)
        self.assertIn(b'"reason":"poison"', letter)
        self.assertIn(b'"crashes":3', letter)
        self.assertIn(b"SIGABRT", letter)
        wait_until(redis.idle, what="the neighbours")
        self.assertTrue(self.ledger.all_ended())
        self.assertEqual(redis.client.llen("{queue:default}:dead"), 1)
        self.assertTrue(worker.running)

    def test_a_killed_worker_leaves_nothing_running_and_its_jobs_run_after_a_restart(self):
        redis = self.redis()
        worker = self.worker(redis, self.config(runners=4))
        for n in range(2):
            redis.client.lpush("queue:default", '{"type":"tree","id":"t%d"}' % n)
        self.ledger.push(redis, 2, ms=60000, prefix="slow")
        pids = self.tree_pids(4)
        wait_until(lambda: len(self.ledger.began()) == 2, what="four running jobs")
        self.ledger.pushed.clear()
        self.ledger.push(redis, 100)
        processes = worker.descendants()
        self.assertTrue(set(pids) <= set(processes))
        worker.kill9()
        for pid in processes:
            wait_until(lambda: not is_alive(pid), what="the end of process %d" % pid)
        self.assertEqual(redis.held(), 104)
        for name in ("t0", "t1"):  # they must not fill all the runners again
            self.assertEqual(sum(name.encode() in v for v in redis.client.hvals(RUN)), 1)
        worker.config["handlers"]["tree"]["exec"] = ["/bin/true"]
        worker.write_config(handlers=worker.config["handlers"], runners=6)
        worker.start()
        wait_until(self.ledger.all_ended, what="the waiting jobs")
        wait_until(lambda: self.running(redis) == redis.held() == 2, what="the slow ones alone")
        self.assertEqual(self.ledger.began()["slow0"], 2)
        for record in redis.client.hvals(RUN):
            self.assertIn(b'"lost":1', record)
        self.assertTrue(all(n == 1 for id, n in self.ledger.began().items() if id[0] == "j"))

    def test_a_job_whose_handler_had_returned_is_not_run_again(self):
        redis = self.redis()
        worker = self.worker(redis, self.config())
        self.ledger.push(redis, 1, ms=300)
        self.ledger.push(redis, 1, ms=300, args={"fail": 1}, retry=5,
                         backoff={"type": "fixed", "base": 60})
        wait_until(lambda: len(self.ledger.began()) == self.running(redis) == 2, what="both running")
        worker.stop()  # frozen: it hears nothing of what follows
        wait_until(self.ledger.all_ended, what="both returned")
        wait_until(self.both_returned(worker), what="both outcomes in the journal")
        worker.kill9_all()
        self.assertEqual(self.running(redis), 2)
        worker.start()
        wait_until(redis.idle, what="the outcomes to be settled")
        self.assertEqual(redis.client.zcard("{queue:default}:retry"), 1)
        self.assertEqual(set(self.ledger.began().values()), {1})

    def both_returned(self, worker):
        """A condition: two slots of the journal say RETURNED (3 in the lowest byte of their word)."""
        state = worker.config["state_dir"]
        path = [os.path.join(state, name) for name in os.listdir(state)
                if name.endswith(".journal")][0]

        def look():
            with open(path, "rb") as file:
                data = file.read()
            words = [int.from_bytes(data[i:i + 8], "little") for i in range(0, len(data), 256)]
            return sum(w & 0xff == 3 and 0 < w >> 8 < 1000 for w in words) >= 2
        return look

    def test_another_worker_of_the_machine_takes_over(self):
        redis = self.redis()
        state = os.path.join(self.directory, "state")
        first = self.worker(redis, self.config(state_dir=state))
        self.ledger.push(redis, 2, ms=60000)
        wait_until(lambda: len(self.ledger.began()) == 2, what="both running")
        second = self.worker(redis, self.config(state_dir=state))
        self.ledger.push(redis, 4)
        first.kill9()
        wait_until(lambda: sum(self.ledger.began().values()) >= 8, what="a second run of both")
        second.wait_log("taken over")
        wait_until(lambda: redis.client.hlen("bucketline:workers") == 1, what="one worker")

    def test_a_silent_worker_is_taken_over_by_another_machine(self):
        redis = self.redis()
        first = self.worker(redis, self.config(**FAST))
        second = self.worker(redis, self.config(**FAST))
        self.ledger.push(redis, 6, ms=1500)
        wait_until(lambda: len(self.ledger.began()) >= 4, what="all runners busy")
        first.kill9_all()
        wait_until(self.ledger.all_ended, what="every job")
        wait_until(redis.idle, what="empty queues")
        second.wait_log("a worker is silent")
        self.assertEqual(redis.client.hlen("bucketline:workers"), 1)

    def leave_behind(self, redis, documents):
        """Records in `run` of a worker that beat once: its incarnation."""
        inc = "0123456789abcdef" * 2
        for n, document in enumerate(documents):
            redis.client.hset(RUN, "%s:%d" % (inc, n + 1), document)
        redis.client.hset("bucketline:workers", inc, 7)
        return inc

    def test_what_a_silent_worker_was_about_to_schedule_is_scheduled(self):
        redis = self.redis()
        self.leave_behind(redis, [self.ledger.document("later", at="2099-01-01T00:00:00Z"),
                                  self.ledger.document("delayed", delay=3600)])
        self.worker(redis, self.config(**FAST))
        wait_until(lambda: redis.client.zcard("{queue:default}:scheduled") == 2 and
                   redis.idle(), what="both to be scheduled")
        self.assertEqual([], self.ledger.lines())

    def test_a_silent_worker_that_beats_again_keeps_what_was_not_taken(self):
        redis = self.redis()
        job = self.ledger.document("delayed", delay=3600)
        inc = self.leave_behind(redis, [job])
        count = 20000
        redis.client.hset(RUN, mapping={"%s:%d" % (inc, n): job for n in range(count)})
        worker = self.worker(redis, self.config(**FAST))
        worker.wait_log("a worker is silent")
        redis.client.hincrby("bucketline:workers", inc, 1)
        worker.wait_log("a worker thought dead beats again")
        self.assertGreater(self.running(redis), 0)
        redis.client.delete(RUN)  # nothing of it is left for the end of the test

    def test_a_frozen_worker_settles_nothing_that_others_took(self):
        redis = self.redis()
        first = self.worker(redis, self.config(**FAST))
        self.ledger.push(redis, 1, ms=300)
        wait_until(lambda: len(self.ledger.began()) == self.running(redis) == 1,
                   what="the job running")
        first.stop()
        second = self.worker(redis, self.config(**FAST))
        wait_until(lambda: self.ledger.began()["j0"] == 2, what="the second run")
        first.cont()
        wait_until(redis.idle, what="one settlement")
        first.wait_log(r"lost=\d|settled too late|claim was lost")
        # Both go on.
        self.ledger.push(redis, 20, ms=20)
        wait_until(self.ledger.all_ended, what="more work")
        wait_until(redis.idle, what="empty queues")
        self.assertEqual(redis.client.llen("{queue:default}:dead"), 0)
        self.assertEqual(first.drain(), 0)
        self.assertEqual(second.drain(), 0)

    def test_a_clone_starts_over_with_another_incarnation(self):
        redis = self.redis()
        worker = self.worker(redis, self.config(**FAST), args=["--url", redis.url])
        self.ledger.push(redis, 1, ms=60000, prefix="slow")
        wait_until(lambda: len(self.ledger.began()) == 1, what="the job running")
        mine = redis.client.hkeys("bucketline:workers")[0]
        runners = worker.runners()
        redis.client.hincrby("bucketline:workers", mine, 1000)  # as if another beat under this name
        worker.wait_log("somebody else beats under our incarnation")
        worker.wait_log(worker.READY, 2)
        self.assertTrue(worker.running)  # under the same pid
        for pid in runners:
            wait_until(lambda: not is_alive(pid), what="the end of runner %d" % pid)
        self.ledger.pushed.clear()
        self.ledger.push(redis, 5)
        wait_until(self.ledger.all_ended, what="work under the new incarnation")
        # What the old one held is nobody's until its silence is long enough.
        wait_until(lambda: self.ledger.began()["slow0"] == 2 and self.running(redis) == 1,
                   what="the job running again")
        self.assertNotIn(mine, redis.client.hkeys("bucketline:workers"))
        self.assertIn(b'"lost":1', redis.client.hvals(RUN)[0])

    def test_the_guard_is_started_again(self):
        redis = self.redis()
        worker = self.worker(redis, self.config())
        guard = [p for p in worker.children() if "--guard" in command_line(p)]
        self.assertEqual(len(guard), 1)
        os.kill(guard[0], signal.SIGKILL)
        wait_until(lambda: [p for p in worker.children()
                            if "--guard" in command_line(p) and p != guard[0]], what="a new guard")
        self.ledger.push(redis, 5)
        wait_until(self.ledger.all_ended, what="work")

    def test_runners_that_die_at_start_burn_no_job(self):
        redis = self.redis()
        bad = os.path.join(self.directory, "bad.c")
        with open(bad, "w") as file:
            file.write('#include "bucketline.h"\n#include <stdlib.h>\n'
                       "static int setup(char *e, size_t n) { (void)e; (void)n; abort(); }\n"
                       "static enum bl_result run(struct bl_job *j) { (void)j; return BL_DONE; }\n"
                       'static const struct bl_handler t[] = {{.name = "bad", .run = run}};\n'
                       "const struct bl_plugin bl_plugin = {BL_ABI_VERSION, sizeof bl_plugin, "
                       '"bad", t, sizeof t[0], 1, setup, 0};\n')
        subprocess.run(["cc", "-shared", "-fPIC", "-I", ROOT + "/jobs", "-o", bad + ".so", bad],
                       check=True)
        os.chmod(bad + ".so", 0o755)
        worker = self.worker(redis, self.config(plugins=[bad + ".so"]), start=False).start(False)
        self.ledger.push(redis, 3)
        worker.wait_log("backing off", 3)
        self.assertEqual(redis.held(), 3)
        worker.write_config(plugins=[self.ledger.plugin])
        worker.hup()
        wait_until(self.ledger.all_ended, what="the jobs after a reload")
        self.assertEqual(redis.client.llen("{queue:default}:dead"), 0)


if __name__ == "__main__":
    import unittest
    unittest.main()

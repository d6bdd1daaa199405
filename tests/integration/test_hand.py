"""What a wait moved into a worker's hand is run once, or given back: whoever dies in between."""

import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from bl import Case, wait_until
from ledger import Ledger

QUEUE, RUN = "queue:default", "{queue:default}:run"
HANDS, PAUSED = "{queue:default}:hands", "{queue:default}:paused"
FAST = {"beat": "200ms", "dead_after": "1s"}
GONE = "0123456789abcdef" * 2


def hand(incarnation):
    return "{queue:default}:hand:" + incarnation


class Hand(Case):
    def setUp(self):
        super().setUp()
        self.ledger = Ledger(self.directory)
        self.server = self.redis()
        self.client = self.server.client

    def start(self, **more):
        worker = self.worker(self.server, dict(
            {"queues": ["default"], "runners": 2, "plugins": [self.ledger.plugin]}, **more))
        self.incarnation = worker.wait_log(r'worker ready" incarnation=(\w+)').group(1)
        return worker

    def waiting_connections(self):
        return [c for c in self.client.client_list() if c["cmd"].startswith("blmove")]

    def await_wait(self, count=1):
        wait_until(lambda: len(self.waiting_connections()) == count, what="%d waits" % count)

    def nothing_left(self):
        return self.ledger.all_ended() and self.server.idle()

    def all_done_once(self):
        wait_until(self.nothing_left, what="the jobs' ends")
        self.assertEqual(set(self.ledger.began().values()), {1})

    def test_lone_jobs_run_once_and_leave_nothing(self):
        worker = self.start()
        for n in range(50):
            self.await_wait()
            self.ledger.push(self.server, 1, prefix="lone%d-" % n)
            wait_until(self.ledger.all_ended, what="the job's end")
        self.all_done_once()
        self.assertEqual(self.client.hgetall(HANDS), {self.incarnation.encode(): b"waits"})
        self.assertEqual(worker.drain(), 0)
        self.assertEqual(self.client.keys("*hand*"), [])

    def test_all_of_a_burst_run_though_one_woke_the_worker(self):
        self.start()
        for _ in range(20):
            self.await_wait()
            self.ledger.push(self.server, 30)
            wait_until(self.ledger.all_ended, what="the jobs' ends")
        self.all_done_once()

    def test_one_of_those_that_wait_takes_it(self):
        for name in ("one", "two", "three"):
            self.worker(self.server, {"queues": ["default"], "runners": 1,
                                      "plugins": [self.ledger.plugin]}, name=name)
        for n in range(30):
            self.await_wait(3)
            self.ledger.push(self.server, 1, prefix="n%d-" % n)
            wait_until(self.ledger.all_ended, what="the job's end")
        self.all_done_once()

    def test_a_dead_owners_hand_that_is_named_is_let_go(self):
        """Though nobody lists the owner, and nothing of it lies in `run`."""
        self.named_is_let_go("waits")

    def test_and_one_that_is_said_to_have_died(self):
        self.named_is_let_go("died")

    def named_is_let_go(self, says):
        self.client.hset(HANDS, GONE, says)
        self.ledger.pushed.append("in-hand")
        self.client.lpush(hand(GONE), self.ledger.document("in-hand"))
        self.start(**FAST)
        self.all_done_once()
        wait_until(lambda: self.client.hkeys(HANDS) == [self.incarnation.encode()],
                   what="the dead worker's name to go")

    def test_a_listed_owner_that_is_silent_is_let_go(self):
        self.client.hset("bucketline:workers", GONE, 7)
        self.client.hset(HANDS, GONE, "waits")
        for n in range(3):  # more than there should ever be
            self.ledger.pushed.append("in-hand%d" % n)
            self.client.lpush(hand(GONE), self.ledger.document("in-hand%d" % n))
        self.start(**FAST)
        self.all_done_once()
        wait_until(lambda: not self.client.hexists("bucketline:workers", GONE),
                   what="the dead worker to be dropped")

    def test_a_killed_workers_hand_is_let_go_by_the_next_one(self):
        worker = self.start(state_dir=self.directory + "/state")
        self.await_wait()
        first = self.incarnation
        worker.kill9_all()
        self.ledger.pushed.append("in-hand")
        self.client.lpush(hand(first), self.ledger.document("in-hand"))
        worker.start()
        self.all_done_once()

    def test_a_hand_that_cannot_be_looked_after_holds_up_no_other_queue(self):
        self.client.hset("bucketline:workers", GONE, 7)
        self.client.set("{queue:first}:hands", "no hash")
        self.client.set("{queue:default}:hand:" + GONE, "no list")
        for n, queue in enumerate(("first", "default", "last")):
            self.ledger.pushed.append("in-run%d" % n)
            self.client.hset("{queue:%s}:run" % queue, "%s:%d" % (GONE, n + 1),
                             self.ledger.document("in-run%d" % n))
        worker = self.start(queues=["first", "default", "last"], **FAST)
        wait_until(self.ledger.all_ended, what="the jobs' ends")
        worker.wait_log("a dead worker's hand cannot be looked after.*queue=default.*WRONGTYPE")
        self.assertTrue(self.client.hexists("bucketline:workers", GONE))
        self.client.delete("{queue:first}:hands", "{queue:default}:hand:" + GONE)
        wait_until(lambda: not self.client.hexists("bucketline:workers", GONE),
                   what="the dead worker to be dropped")

    def test_a_killed_workers_name_goes_in_the_end(self):
        worker = self.start(state_dir=self.directory + "/state", **FAST)
        self.await_wait()
        first = self.incarnation.encode()
        self.assertIn(first, self.client.hgetall(HANDS))
        worker.kill9_all()
        os.system("rm -rf '%s/state'" % self.directory)  # so that silence judges, soon
        worker.start()
        wait_until(lambda: first not in self.client.hgetall(HANDS), what="its name to go")

    def test_what_a_broken_wait_left_is_let_go_at_once(self):
        self.start()
        self.await_wait()
        [waiting] = self.waiting_connections()
        self.ledger.pushed.append("in-hand")
        self.client.lpush(hand(self.incarnation), self.ledger.document("in-hand"))
        self.client.client_kill_filter(_id=waiting["id"])
        self.all_done_once()

    def test_nothing_is_let_go_while_a_wait_is_under_way(self):
        """A wait has ended once the question that was written behind it is asked."""
        self.start(**FAST)
        self.await_wait()
        [main] = [c for c in self.client.client_list() if c["name"] == "bucketline:main"]
        with self.client.monitor() as monitor:
            def seen():
                return monitor.next_command()["command"]
            while not seen().startswith("BLMOVE"):
                pass
            self.client.client_kill_filter(_id=main["id"])
            waiting, command = True, ""
            while " %s " % HANDS not in command:
                command = seen()
                waiting = command.startswith("BLMOVE") or \
                    waiting and command != "EXISTS " + PAUSED
        self.assertFalse(waiting, "let go while a wait was under way")
        self.ledger.push(self.server, 1)
        self.all_done_once()

    def test_nothing_begins_while_paused_though_a_wait_is_under_way(self):
        worker = self.start()
        for _ in range(5):
            self.await_wait()
            self.client.set(PAUSED, "by the test")
            self.ledger.push(self.server, 1)
            wait_until(lambda: not self.waiting_connections(), what="the wait's end")
            wait_until(lambda: self.client.llen(QUEUE) == 1 and
                       not self.client.keys(hand("*")), what="it to be let go")
            self.assertNotIn(self.ledger.pushed[-1], self.ledger.began())
            self.client.delete(PAUSED)
            wait_until(self.ledger.all_ended, what="the job's end")
        self.all_done_once()
        self.assertEqual(worker.drain(), 0)

    def test_the_index_cannot_be_written(self):
        """No wait then: the worker says so, and looks by itself; and waits again once it can."""
        self.client.set(HANDS, "no hash")
        worker = self.start()
        self.ledger.push(self.server, 3)
        wait_until(self.ledger.all_ended, what="the jobs' ends")
        worker.wait_log("no blocking wait on this queue.*queue=default.*WRONGTYPE")
        self.assertEqual(self.waiting_connections(), [])

    def test_the_hand_or_the_list_is_something_else(self):
        """Said, and not asked for again and again."""
        worker = self.start()
        self.await_wait()
        for key in (QUEUE, hand(self.incarnation)):
            self.client.set(key, "no list")
            if key != QUEUE:
                self.ledger.push(self.server, 1)
            worker.wait_log("WRONGTYPE", count=1 if key == QUEUE else 2)
            calls = self.client.info("commandstats")["cmdstat_blmove"]["calls"]
            self.assertLess(calls, 20)
            self.client.delete(key)
        wait_until(self.nothing_left, what="the job's end")

    def test_run_cannot_be_written(self):
        """What has begun is kept until it can be, and not run again."""
        worker = self.start()
        self.await_wait()
        self.client.set(RUN, "no hash")
        self.ledger.push(self.server, 1)
        wait_until(self.ledger.all_ended, what="the job's end")
        worker.wait_log("Redis refuses to put a job into run", count=2)
        self.assertEqual(self.client.llen(hand(self.incarnation)), 1)
        self.client.delete(RUN)
        self.all_done_once()

    def test_scripts_are_forgotten_between_two_jobs(self):
        self.start()
        for _ in range(10):
            self.await_wait()
            self.client.script_flush()
            self.ledger.push(self.server, 1)
            wait_until(self.nothing_left, what="the job's end")
        self.all_done_once()


if __name__ == "__main__":
    unittest.main()

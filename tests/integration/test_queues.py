"""What worker.yaml says of queues: their order and weight, at most once; and queues one of whose
keys somebody made another type."""

import json
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from bl import BUILD, Case, wait_until
from ledger import Ledger

ONCE = "at-most-once"


class QueuesCase(Case):
    def setUp(self):
        super().setUp()
        self.server = self.redis()
        self.client = self.server.client
        self.ledger = Ledger(self.directory)

    def start(self, **more):
        return self.worker(self.server, dict(
            {"runners": 2, "plugins": [os.path.join(BUILD, "jobs/*.so"), self.ledger.plugin]},
            **more))

    def key(self, name, queue="default"):
        return "{queue:%s}:%s" % (queue, name)

    def wait_idle(self, *queues):
        wait_until(lambda: self.server.idle(*("queue:" + q for q in queues)), what="idle queues")

    def begun(self):
        """The ids in the order of their beginning."""
        return [line[1] for line in self.ledger.lines() if line[0] == "begin"]


class Order(QueuesCase):
    def test_strict_order(self):
        self.ledger.push(self.server, 20, queue="queue:default", prefix="low")
        self.ledger.push(self.server, 20, queue="queue:critical", prefix="high")
        self.start(queues=["critical", "default"], runners=1)
        wait_until(self.ledger.all_ended, what="all jobs")
        begun = self.begun()
        self.assertTrue(all(id.startswith("high") for id in begun[:20]), begun)
        self.wait_idle("critical", "default")

    def test_the_longest_waiting_runs_first(self):
        self.ledger.push(self.server, 30)
        self.start(runners=1)
        wait_until(self.ledger.all_ended, what="all jobs")
        self.assertEqual(self.begun(), self.ledger.pushed)

    def test_weights_let_both_progress(self):
        self.ledger.push(self.server, 200, ms=5, queue="queue:critical", prefix="high")
        self.ledger.push(self.server, 200, ms=5, queue="queue:default", prefix="low")
        self.start(queues=[{"name": "critical", "weight": 3}, {"name": "default", "weight": 1}],
                   runners=1)
        wait_until(self.ledger.all_ended, what="all jobs")
        begun = [id.rstrip("0123456789") for id in self.begun()]
        first = begun[:100]  # roughly 75 and 25; neither waits for the end of the other
        self.assertGreater(first.count("high"), 0)
        self.assertGreater(first.count("low"), 0)


class Parked(QueuesCase):
    def test_what_a_handler_parked_runs_after_a_reload(self):
        done = os.path.join(self.directory, "done")
        handler = {"exec": ["/bin/sh", "-c", "test -e '%s' || exit 78" % done]}
        worker = self.start(handlers={"picky": handler})
        self.client.lpush("queue:default", '{"type":"picky","id":"p"}')
        wait_until(lambda: self.client.llen(self.key("parked")) == 1, what="the parked job")
        self.assertIn(b'"reason":"handler"', self.client.lindex(self.key("parked"), 0))
        open(done, "w").close()
        worker.hup()
        wait_until(lambda: self.client.llen(self.key("parked")) == 0, what="the job to be taken")
        self.wait_idle("default")
        self.assertFalse(self.client.exists(self.key("dead"), self.key("retry")))


class AtMostOnce(QueuesCase):
    QUEUES = [{"name": "default", "delivery": ONCE}, {"name": "other", "delivery": ONCE}]

    def test_a_delayed_job_runs_when_it_is_due(self):
        self.start(queues=self.QUEUES)
        self.client.lpush("queue:default", self.ledger.document("d", delay=1))
        self.ledger.pushed.append("d")
        wait_until(lambda: self.client.zcard(self.key("scheduled")) == 1, what="it, scheduled")
        wait_until(self.ledger.all_ended, what="the delayed job")
        self.assertEqual(self.ledger.began()["d"], 1)
        self.assertFalse(self.client.exists(self.key("run"), self.key("scheduled")))

    def test_a_record_newer_than_ours_is_parked_untouched(self):
        self.start(queues=self.QUEUES)
        newer = b'{"v":9,"job_bytes":12,"what":"ever","job":{"type":"x"}}'
        self.client.lpush("queue:default", newer)
        wait_until(lambda: self.client.lrange(self.key("parked"), 0, -1) == [newer],
                   what="it, parked")
        self.ledger.push(self.server, 2)
        wait_until(self.ledger.all_ended, what="the next jobs")

    def test_a_paused_queue_waits(self):
        self.client.set(self.key("paused"), "by hand")
        self.start(queues=self.QUEUES)
        self.ledger.push(self.server, 2)
        waiting, self.ledger.pushed = self.ledger.pushed, []
        for n in range(3):
            self.ledger.push(self.server, 2, queue="queue:other", prefix="other%d-" % n)
            wait_until(self.ledger.all_ended, what="the other queue's jobs")
        self.assertEqual(self.client.llen("queue:default"), 2)
        self.client.delete(self.key("paused"))
        self.ledger.pushed = waiting
        wait_until(self.ledger.all_ended, what="the jobs that waited")

    def test_a_pause_of_all_queues_ends(self):
        for queue in ("default", "other"):
            self.client.set(self.key("paused", queue), "by hand")
        worker = self.start(queues=self.QUEUES)
        self.ledger.push(self.server, 1)
        worker.signal(signal.SIGUSR1)
        worker.wait_log("msg=status ")
        self.assertFalse(self.ledger.began())
        self.client.delete(self.key("paused"))
        wait_until(self.ledger.all_ended, what="the job that waited")

    def test_under_load_each_runs_once_and_in_order(self):
        jobs = [self.ledger.document("j%d" % n, tags=["x" * 20000] if n % 100 == 7 else [])
                for n in range(3000)]
        self.client.lpush("queue:default", *jobs)
        self.start(queues=self.QUEUES, runners=1)
        self.ledger.pushed = ["j%d" % n for n in range(3000)]
        wait_until(lambda: "j20" in self.ledger.began(), what="the first jobs")
        self.ledger.push(self.server, 1, queue="queue:other", prefix="later")
        wait_until(self.ledger.all_ended, what="all jobs")
        began = [line[1] for line in self.ledger.lines() if line[0] == "begin"]
        self.assertEqual(began, self.ledger.pushed)
        self.assertFalse(self.client.exists(self.key("run"), "queue:default"))
        pops = self.client.info("commandstats")["cmdstat_rpop"]["calls"]
        self.assertLess(pops, 1500)  # many at a time

    def test_under_load_a_queue_before_it_is_not_overlooked(self):
        self.start(queues=list(reversed(self.QUEUES)), runners=1)
        self.ledger.push(self.server, 300, ms=5)
        wait_until(lambda: "j20" in self.ledger.began(), what="the first jobs")
        self.ledger.push(self.server, 1, queue="queue:other", prefix="urgent")
        wait_until(self.ledger.all_ended, what="all jobs")
        began = [line[1] for line in self.ledger.lines() if line[0] == "begin"]
        self.assertLess(began.index("urgent300"), 250)

    def test_what_has_not_begun_goes_back_in_order(self):
        worker = self.start(queues=self.QUEUES, runners=1)
        self.ledger.push(self.server, 400)  # it knows now that they are short
        wait_until(self.ledger.all_ended, what="the short jobs")
        self.client.set(self.key("paused"), "for a moment")
        wait_until(lambda: self.client.llen("queue:default") == 0, what="nothing waiting")
        jobs = [self.ledger.document("w%d" % n, ms=1000 if n == 0 else 0) for n in range(50)]
        self.client.lpush("queue:default", *jobs)
        self.client.delete(self.key("paused"))
        wait_until(lambda: "w0" in self.ledger.began(), what="the slow one")
        self.assertEqual(worker.drain(), 0)
        left = [json.loads(d)["id"] for d in reversed(self.client.lrange("queue:default", 0, -1))]
        self.assertEqual(left, ["w%d" % n for n in range(50 - len(left), 50)])
        ran = [id for id in self.ledger.began() if id[0] == "w"]
        self.assertEqual(sorted(ran + left), sorted("w%d" % n for n in range(50)))

    def test_every_failure_is_a_dead_letter(self):
        self.start(queues=self.QUEUES, handlers={
            "exits": {"exec": ["/bin/sh", "-c", "exit $(cat)"]}})
        documents = ['{"type":"exits","id":"a","args":3}', '{"type":"exits","id":"b","args":75}',
                     '{"type":"exits","id":"c","args":78}', '{"type":"nobody","id":"d"}', "no JSON",
                     '{"type":"crash","id":"e","args":{"mode":"segv"}}']
        self.client.lpush("queue:default", *documents)
        self.ledger.push(self.server, 2)
        wait_until(lambda: self.client.llen(self.key("dead")) == len(documents),
                   what="the dead letters")
        wait_until(self.ledger.all_ended, what="the others")
        self.assertFalse(self.client.exists(self.key("run"), self.key("retry"),
                                            self.key("parked"), self.key("scheduled")))
        for letter in self.client.lrange(self.key("dead"), 0, -1):
            self.assertIn("reason", json.loads(letter))

    def test_a_list_of_another_type_stops_no_other_queue(self):
        self.client.set("queue:default", "mine")
        worker = self.start(queues=self.QUEUES)
        self.ledger.push(self.server, 3, queue="queue:other")
        wait_until(self.ledger.all_ended, what="the other queue's jobs")
        worker.wait_log("cannot be popped from.* key=queue:default ")
        self.client.delete("queue:default")
        self.ledger.push(self.server, 3)
        wait_until(self.ledger.all_ended, what="all jobs, once the key is mended")


class WrongType(QueuesCase):
    """A queue with a key of another type waits; the worker serves the others; nothing is lost."""

    def setUp(self):
        super().setUp()
        self.worker_of_both = self.start(queues=["default", "other"])

    def go_on(self):
        """The other queue is served."""
        self.ledger.push(self.server, 3, queue="queue:other")
        wait_until(self.ledger.all_ended, what="the other queue's jobs")

    def all_run(self):
        self.ledger.push(self.server, 3)
        wait_until(self.ledger.all_ended, what="all jobs, once the key is mended")
        self.wait_idle("default", "other")
        self.assertTrue(self.worker_of_both.running)

    def spoil(self, name, document):
        """A job whose end needs a key that is of another type: it is kept until that is mended."""
        self.client.set(self.key(name), "mine")
        self.client.lpush("queue:default", document)
        self.worker_of_both.wait_log("refuses a settlement.*WRONGTYPE")
        self.go_on()
        self.assertEqual(self.client.hlen(self.key("run")), 1)
        self.assertEqual(self.client.get(self.key(name)), b"mine")
        self.client.delete(self.key(name))

    def test_the_list(self):
        self.client.set("queue:default", "mine")
        self.go_on()
        self.assertEqual(self.client.get("queue:default"), b"mine")
        self.client.delete("queue:default")
        self.all_run()

    def test_run_before_a_job_is_claimed(self):
        self.client.set(self.key("run"), "mine")
        self.ledger.push(self.server, 3, prefix="waits")
        self.ledger.pushed, waiting = [], self.ledger.pushed
        self.go_on()
        # One may have begun: what a wait brought stays in the worker's hand until it can be noted.
        in_hand = sum(self.client.llen(key) for key in self.client.keys(self.key("hand:*")))
        self.assertEqual(self.client.llen("queue:default") + in_hand, 3)
        self.assertLessEqual(in_hand, 1)
        self.client.delete(self.key("run"))
        self.ledger.pushed += waiting
        self.all_run()
        self.assertEqual(set(self.ledger.began().values()), {1})

    def test_run_while_a_job_is_running(self):
        self.client.lpush("queue:default", self.ledger.document("slow", ms=300))
        wait_until(lambda: self.ledger.began()["slow"] == 1 and
                   self.client.hlen(self.key("run")) == 1, what="the slow job, noted as running")
        pipe = self.client.pipeline()
        pipe.rename(self.key("run"), "aside").set(self.key("run"), "mine").execute()
        wait_until(lambda: self.ledger.ended()["slow"] == 1, what="its end")
        self.worker_of_both.wait_log("refuses a settlement.*WRONGTYPE")
        self.go_on()
        self.client.rename("aside", self.key("run"))
        self.all_run()
        self.assertEqual(self.ledger.began()["slow"], 1)

    def test_retry(self):
        self.spoil("retry", '{"type":"fail","id":"a","retry":1,"backoff":{"type":"fixed",'
                   '"base":3600}}')
        wait_until(lambda: self.client.zcard(self.key("retry")) == 1, what="the retry")
        self.all_run()

    def test_scheduled(self):
        self.spoil("scheduled", '{"type":"echo","id":"a","delay":3600}')
        wait_until(lambda: self.client.zcard(self.key("scheduled")) == 1, what="the delayed job")
        self.all_run()

    def test_dead(self):
        self.spoil("dead", '{"type":"fail","id":"a","retry":0}')
        wait_until(lambda: self.client.llen(self.key("dead")) == 1, what="the dead letter")
        self.all_run()

    def test_parked(self):
        self.spoil("parked", '{"type":"nobody","id":"a"}')
        wait_until(lambda: self.client.llen(self.key("parked")) == 1, what="the parked job")
        self.all_run()


if __name__ == "__main__":
    import unittest
    unittest.main()

"""The way of a job through the real worker: bytes, retries, outcomes, times, and which record lies
where meanwhile.  What the queues' settings do is in test_queues.py, signals in test_signals.py."""

import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from bl import BUILD, Case, is_alive, run_command, wait_until
from ledger import Ledger
from records import unwrap, wrap

QUEUE, RUN, DEAD = "queue:default", "{queue:default}:run", "{queue:default}:dead"
PARKED, SCHEDULED, RETRY = ("{queue:default}:parked", "{queue:default}:scheduled",
                            "{queue:default}:retry")


class WorkerCase(Case):
    def setUp(self):
        super().setUp()
        self.server = self.redis()
        self.client = self.server.client
        self.ledger = Ledger(self.directory)

    def start(self, programs=None, **more):
        """A worker with these programs (shell text by type), which run in self.directory."""
        handlers = {type: {"exec": ["/bin/sh", "-c", text], "directory": self.directory}
                    for type, text in (programs or {}).items()}
        return self.worker(self.server, dict({
            "runners": 2, "grace": "1s", "handlers": handlers,
            "plugins": [os.path.join(BUILD, "jobs/*.so"), self.ledger.plugin]}, **more))

    def push(self, document, queue=QUEUE):
        if isinstance(document, dict):
            document = json.dumps(document)
        self.client.lpush(queue, document)

    def file(self, name):
        """What a program wrote; None if it did not."""
        try:
            with open(os.path.join(self.directory, name), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def wait_file(self, name):
        wait_until(lambda: self.file(name) is not None, what="the file " + name)

    def wait_idle(self, queue="queue:default"):
        wait_until(lambda: self.server.idle(queue), what="an idle queue")

    def wait_zset(self, key, count=1):
        wait_until(lambda: self.client.zcard(key) == count, what="%d in %s" % (count, key))
        return self.client.zrange(key, 0, -1, withscores=True)

    def wait_list(self, key, count=1):
        wait_until(lambda: self.client.llen(key) == count, what="%d in %s" % (count, key))
        return self.client.lrange(key, 0, -1)


class Plain(WorkerCase):
    def test_jobs_pushed_before_and_after_the_start_run_and_leave_nothing(self):
        self.push('{"type":"noop"}')
        self.push('{"type":"echo","args":{"a":[1,2]}}')
        worker = self.start()
        self.push('{"type":"noop","args":null,"id":"n"}')
        self.ledger.push(self.server, 5)
        wait_until(self.ledger.all_ended, what="the jobs")
        self.wait_idle()
        self.assertEqual(worker.drain(), 0)
        self.assertEqual(self.client.keys(), [])

    def test_every_key_has_the_prefix(self):
        self.start(redis={"prefix": "app:"})
        for document in ('{"type":"fail","retry":0}', '{"type":"fail","retry":1}',
                         '{"type":"noop","delay":3600}', '{"type":"nobody"}', '{"type":"noop"}'):
            self.push(document, "app:queue:default")
        queue = "{app:queue:default}:"
        wait_until(lambda: (self.client.llen(queue + "dead"), self.client.zcard(queue + "retry"),
                            self.client.zcard(queue + "scheduled"),
                            self.client.llen(queue + "parked")) == (1, 1, 1, 1),
                   what="one job in each place")
        self.wait_idle("app:queue:default")
        for key in self.client.keys():
            self.assertRegex(key, rb"^\{?app:")
        self.assertEqual(self.client.hlen("app:bucketline:workers"), 1)


class Bytes(WorkerCase):
    ARGS = b'{"n":12345678901234567890,"x":0.1,"e":[]}'

    def test_the_retry_that_succeeds_gets_the_same_bytes(self):
        self.start({"report": "cat >in.$JOB_ATTEMPT; test $JOB_ATTEMPT = 2"})
        pushed = b'{"type":"report","args":' + self.ARGS + \
            b',"backoff":{"type":"fixed","base":3600,"jitter":0}}'
        self.push(pushed)
        record, due = self.wait_zset(RETRY)[0]
        head, document = unwrap(record)
        self.assertEqual(document, pushed)
        self.assertEqual(head["attempt"], 1)
        self.assertGreaterEqual(due, head["failed_at"] + 3600 * 1000 - 1)
        run_command("jobctl", "retries", "run", "--all", "-q", "default",
                    redis=self.server)
        self.wait_file("in.2")
        self.wait_idle()
        self.assertEqual((self.file("in.1"), self.file("in.2")), (self.ARGS, self.ARGS))
        self.assertFalse(self.client.exists(RETRY, DEAD))

    def test_odd_but_valid_documents_are_kept_byte_for_byte(self):
        self.start({"report": "cat >>in; exit 65"})
        odd = [b' {\t"args" : {"a":1.10, "b":1e400,"c":-0,"d":{"":[[],{}]}} ,\n"type":"report" }\r\n',
               '{"args":"\u00e4\u20ac\U0001f600\\u0000\\ud83d\\ude00\\/","type":"report","x":{"y":null}}'
               .encode(), b'{"type":"rep\\u006frt"}', b'{"type":"report","args":""}']
        for n, document in enumerate(odd):
            self.push(document)
            head, kept = unwrap(self.wait_list(DEAD, n + 1)[0])
            self.assertEqual(kept, document)
            self.assertEqual(head["reason"], "failed")
        self.assertEqual(self.file("in"), b'{"a":1.10, "b":1e400,"c":-0,"d":{"":[[],{}]}}'
                         + b'"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\\u0000\\ud83d\\ude00\\/"'
                         + b"null" + b'""')

    def test_half_a_megabyte_reaches_a_program_whole(self):
        self.start({"report": "cat >in.$JOB_ATTEMPT; exit 65"})
        args = json.dumps(["%08d" % n for n in range(50000)]).encode()
        pushed = b'{"type":"report","args":' + args + b"}"
        self.push(pushed)
        self.assertEqual(unwrap(self.wait_list(DEAD)[0])[1], pushed)
        self.assertEqual(self.file("in.1"), args)


class Retry(WorkerCase):
    def test_spent_retries_end_in_a_dead_letter_that_tells_all(self):
        self.start({"bad": 'echo "attempt $JOB_ATTEMPT" >&2; exit 7'})
        self.push({"type": "bad", "retry": 2, "id": "r",
                   "backoff": {"type": "exp", "base": 0.2, "jitter": 0}})
        head, _ = unwrap(self.wait_list(DEAD)[0])
        self.wait_idle()
        self.assertEqual((head["attempt"], head["reason"]), (3, "retries-spent"))
        self.assertEqual([f["attempt"] for f in head["history"]], [1, 2, 3])
        self.assertEqual((head["error"]["attempt"], head["error"]["exit_code"]), (3, 7))
        self.assertIn("exit 7", head["error"]["message"])
        self.assertIn("attempt 3", head["error"]["stderr"])
        at = [f["at"] for f in head["history"]]
        self.assertGreaterEqual(at[1] - at[0], 200)
        self.assertGreaterEqual(at[2] - at[1], 400)
        self.assertEqual((head["first_failed_at"], head["failed_at"]), (at[0], at[2]))

    def test_a_job_that_may_be_forgotten_is_when_its_retries_are_spent(self):
        self.start({"bad": "echo x >>runs; exit 1"})
        self.push({"type": "bad", "retry": 1, "dead": False,
                   "backoff": {"type": "fixed", "base": 0.05}})
        wait_until(lambda: self.file("runs") == b"x\nx\n", what="both attempts")
        self.wait_idle()
        wait_until(lambda: self.client.zcard(RETRY) == 0, what="no retry")
        self.assertFalse(self.client.exists(DEAD))

    def test_the_document_goes_before_worker_yaml(self):
        handlers = {"bad": {"exec": ["/bin/false"], "retry": 1,
                            "backoff": {"type": "fixed", "base": 3000, "jitter": 0}}}
        self.start(handlers=handlers)
        self.push('{"type":"bad"}')
        record, due = self.wait_zset(RETRY)[0]
        self.assertGreaterEqual(due - unwrap(record)[0]["failed_at"], 3000 * 1000 - 1)
        self.push('{"type":"bad","retry":0}')
        self.wait_list(DEAD)
        self.push('{"type":"bad","backoff":{"type":"fixed","base":9000,"jitter":0}}')
        record, due = self.wait_zset(RETRY, 2)[1]
        self.assertGreaterEqual(due - unwrap(record)[0]["failed_at"], 9000 * 1000 - 1)

    def test_two_identical_documents_without_id_are_two_jobs_to_the_end(self):
        self.start()
        text = '{"type":"fail","retry":1,"backoff":{"type":"fixed","base":0.05}}'
        self.client.lpush(QUEUE, text, text)
        letters = [unwrap(letter) for letter in self.wait_list(DEAD, 2)]
        self.assertEqual({document for _, document in letters}, {text.encode()})
        for member in ("uid", "id"):
            self.assertEqual(len({head[member] for head, _ in letters}), 2, member)
        self.wait_idle()


class Outcomes(WorkerCase):
    def test_exit_75_comes_back_without_an_attempt_spent(self):
        self.start({"later": "test -e again && echo $JOB_ATTEMPT >attempt && exit 0;"
                    "touch again; exit 75"})
        self.push({"type": "later", "retry": 0})
        self.wait_file("attempt")
        self.wait_idle()
        self.assertEqual(self.file("attempt"), b"1\n")
        self.assertFalse(self.client.exists(DEAD, SCHEDULED, RETRY))

    def test_a_job_that_snoozes_too_often_is_dead(self):
        self.start({"later": "exit 75"}, max_snoozes=1)
        self.push({"type": "later"})
        head, _ = unwrap(self.wait_list(DEAD)[0])
        self.assertEqual(head["reason"], "snoozed-too-often")
        self.wait_idle()

    def test_exit_65_is_dead_at_once_whatever_its_retries(self):
        self.start({"bad": "cat >>in; exit 65"})
        self.push('{"type":"bad","args":7,"retry":10}')
        head, _ = unwrap(self.wait_list(DEAD)[0])
        self.assertEqual((head["reason"], head["error"]["exit_code"]), ("failed", 65))
        self.assertEqual(self.file("in"), b"7")

    def test_a_parked_job_waits_for_the_next_generation_of_handlers(self):
        worker = self.start({"picky": "echo x >>runs; exit 78"})
        self.push({"type": "picky", "id": "p"})
        before, document = unwrap(self.wait_list(PARKED)[0])
        self.assertEqual(before["reason"], "handler")
        self.assertNotIn("attempt", before)
        self.ledger.push(self.server, 3)
        wait_until(self.ledger.all_ended, what="other jobs")
        self.assertEqual(self.file("runs"), b"x\n")
        worker.config["handlers"]["picky"]["exec"][2] = "touch runs.2"
        worker.write_config()
        worker.hup()
        self.wait_file("runs.2")
        self.wait_idle()
        self.assertFalse(self.client.exists(PARKED, DEAD))

    def test_a_parked_job_of_a_type_nobody_knows_is_dead_in_the_end(self):
        self.start(park_for="1s")
        self.push({"type": "nobody", "id": "n"})
        self.assertEqual(unwrap(self.wait_list(PARKED)[0])[0]["reason"], "unknown-type")
        head, _ = unwrap(self.wait_list(DEAD)[0])
        self.assertIn("handler", head["error"]["message"])


class Times(WorkerCase):
    def test_at_in_every_spelling(self):
        self.start()
        self.push({"type": "noop", "at": 4070908800})
        self.push({"type": "noop", "at": 4070908800500})
        self.push({"type": "noop", "at": "2099-01-01T01:00:00.25+01:00"})
        due = [score for _, score in self.wait_zset(SCHEDULED, 3)]
        self.assertEqual(due, [4070908800000, 4070908800250, 4070908800500])
        self.push(self.ledger.document("past", at=1))
        wait_until(lambda: self.ledger.ended()["past"], what="the job that is due")
        self.wait_idle()

    def test_a_delay_counts_from_when_the_worker_saw_it(self):
        self.start()
        before = time.time() * 1000
        pushed = '{"type":"noop","delay":"1h"}'
        self.push(pushed)
        record, due = self.wait_zset(SCHEDULED)[0]
        head, document = unwrap(record)
        self.assertEqual(document, pushed.encode())
        self.assertGreaterEqual(due, int(before) + 3600 * 1000)
        self.assertNotIn("attempt", head)
        run_command("jobctl", "scheduled", "run", "--all", "-q", "default",
                    redis=self.server)
        self.wait_idle()
        wait_until(lambda: self.client.zcard(SCHEDULED) == 0, what="it to be done")
        self.assertFalse(self.client.exists(DEAD, RETRY))

    def test_due_jobs_run_in_the_order_of_their_times(self):
        worker = self.start(runners=1)
        base = time.time() + 2
        ids = ["a", "b", "c", "d"]
        for n in (2, 0, 3, 1):
            self.push(self.ledger.document(ids[n], at=base + n / 100))
        self.wait_zset(SCHEDULED, 4)
        self.ledger.pushed = ids
        wait_until(self.ledger.all_ended, what="all four")
        self.assertEqual([line[1] for line in self.ledger.lines() if line[0] == "begin"], ids)
        self.assertEqual(worker.drain(), 0)

    def test_only_what_never_began_expires(self):
        self.push(self.ledger.document("old", expires_at=1))
        begun = {"attempt": 1, "crashes": 1, "lost": 1, "interrupted": 1, "snoozes": 1}
        for name, value in begun.items():
            self.push(wrap(self.ledger.document(name, expires_at=1).encode(),
                           uid="%032x:%d" % (7, len(name)), **{name: value}))
        self.start()
        self.ledger.pushed = list(begun)
        wait_until(self.ledger.all_ended, what="the jobs that had begun in time")
        self.wait_idle()
        self.assertEqual(self.ledger.began()["old"], 0)
        self.assertFalse(self.client.exists(DEAD))


class Timeout(WorkerCase):
    def timeout_of(self, letter):
        error = unwrap(letter)[0]["error"]
        self.assertEqual(error["kind"], "timeout")
        return error

    def test_the_soft_signal_comes_first(self):
        worker = self.start({"slow": "trap 'touch soft; exit 0' TERM; echo $$ >pid;"
                             "while :; do sleep 0.05; done"})
        self.push({"type": "slow", "timeout": 0.3, "retry": 0})
        # One that ends well after all has done its work.
        self.wait_file("soft")
        self.wait_idle()
        self.assertFalse(self.client.exists(DEAD))
        worker.config["handlers"]["slow"]["exec"][2] = \
            "trap 'touch soft2; exit 3' TERM; while :; do sleep 0.05; done"
        worker.write_config()
        worker.hup()
        worker.wait_log("configuration reloaded")
        self.push({"type": "slow", "timeout": 0.3, "retry": 0})
        error = self.timeout_of(self.wait_list(DEAD)[0])
        self.assertEqual(error["exit_code"], 3)
        self.wait_file("soft2")
        worker.wait_log("over its timeout, asked to stop")

    def test_who_ignores_it_is_killed_after_the_grace_and_nobody_else(self):
        worker = self.start({"deaf": "trap '' TERM; echo $$ >pid; sleep 1000 & echo $! >child;"
                             "while :; do sleep 0.05; done"})
        self.ledger.push(self.server, 1, ms=2500)
        self.push({"type": "deaf", "timeout": 0.3, "retry": 1,
                   "backoff": {"type": "fixed", "base": 0.05}})
        error = self.timeout_of(self.wait_list(DEAD)[0])
        self.assertIn("grace", error["message"])
        self.assertGreaterEqual(error["run_ms"], 1200)
        head = unwrap(self.client.lindex(DEAD, 0))[0]
        self.assertEqual(head["attempt"], 2)
        self.assertNotIn("crashes", head)
        for name in ("pid", "child"):
            wait_until(lambda: not is_alive(int(self.file(name))), what="the end of its " + name)
        wait_until(self.ledger.all_ended, what="the neighbour")
        self.assertEqual(self.ledger.began()["j0"], 1)
        self.assertTrue(worker.running)

    def test_what_waited_behind_it_goes_on(self):
        self.start(runners=1)
        self.ledger.push(self.server, 50)  # so that several are sent ahead
        wait_until(self.ledger.all_ended, what="the first jobs")
        self.client.lpush(QUEUE, self.ledger.document("stuck", ms=60000, timeout=0.3, retry=0),
                          *[self.ledger.document("after%d" % n) for n in range(20)])
        self.ledger.pushed = ["after%d" % n for n in range(20)]
        wait_until(self.ledger.all_ended, what="the jobs behind it")
        self.timeout_of(self.wait_list(DEAD)[0])
        self.wait_idle()
        self.assertEqual(set(self.ledger.began().values()), {1})


class Refused(WorkerCase):
    """Many outcomes at once that a key of another type keeps Redis from taking."""

    PLACES = ("dead", "retry", "parked", "scheduled")

    def counts(self):
        return [self.client.llen("{queue:default}:dead"), self.client.zcard(RETRY),
                self.client.llen(PARKED), self.client.zcard(SCHEDULED), self.client.llen(QUEUE),
                self.client.hlen(RUN)]

    def test_they_neither_keep_other_queues_waiting_nor_get_lost(self):
        worker = self.start(queues=["default", "other"], runners=1)
        self.ledger.push(self.server, 300)  # short jobs: many are sent ahead
        wait_until(self.ledger.all_ended, what="the first jobs")
        self.wait_idle()
        for place in self.PLACES:
            self.client.set("{queue:default}:" + place, "mine")
        fail = '{"type":"fail","retry":%d,"backoff":{"type":"fixed","base":3600}}'
        self.client.lpush(QUEUE, *[fail % 0, fail % 1] * 500)
        worker.wait_log("refuses a settlement.*WRONGTYPE")
        self.client.lpush(QUEUE, *['{"type":"nobody"}', '{"type":"noop","delay":3600}'] * 50)
        for n in range(3):
            self.ledger.push(self.server, 20, queue="queue:other")
            wait_until(self.ledger.all_ended, what="the other queue's jobs")
            wait_until(lambda: self.server.idle("queue:other"), what="their settlement")
        self.assertEqual(self.client.llen(QUEUE) + self.client.hlen(RUN), 1100)
        for place in self.PLACES:
            self.assertEqual(self.client.get("{queue:default}:" + place), b"mine")
            self.client.delete("{queue:default}:" + place)
        wait_until(lambda: self.counts() == [500, 500, 50, 50, 0, 0], what=lambda: str(
            self.counts()) + " to be [500, 500, 50, 50, 0, 0]")
        wait_until(lambda: len(worker.children()) == 2, what="guard and one runner")
        self.ledger.push(self.server, 5)
        wait_until(self.ledger.all_ended, what="jobs after it")
        self.assertEqual(set(self.ledger.began().values()), {1})


if __name__ == "__main__":
    import unittest
    unittest.main()

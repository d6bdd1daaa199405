"""What becomes of jobs: bytes, retries, outcomes, schedule, parking, bad input; pushed by the usual
clients."""

import json
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from bl import BUILD, ROOT, Case, wait_until
from ledger import Ledger

QUEUE, RUN, DEAD = "queue:default", "{queue:default}:run", "{queue:default}:dead"
PARKED, SCHEDULED, RETRY = ("{queue:default}:parked", "{queue:default}:scheduled",
                            "{queue:default}:retry")
FAST = '"backoff":{"type":"fixed","base":0.1,"jitter":0}'


def document_of(record):
    """The producer's bytes out of a wrapped record, by arithmetic alone."""
    count = int(record[record.index(b'"job_bytes":') + 12:].split(b",")[0])
    return record[-1 - count:-1]


class Jobs(Case):
    def setUp(self):
        super().setUp()
        self.server = self.redis()
        self.client = self.server.client
        self.ledger = Ledger(self.directory)
        self.seen = os.path.join(self.directory, "seen")

    def start(self, **more):
        handlers = {
            "report": {"exec": ["/bin/sh", "-c", "cat >>'%s'; exit 1" % self.seen]},
            "exits": {"exec": ["/bin/sh", "-c", "exit $(cat)"]},
            "endless": {"exec": ["/bin/sh", "-c", "trap '' TERM; while :; do :; done"]}}
        config = {"queues": ["critical", "default"], "runners": 2, "grace": "300ms",
                  "plugins": [os.path.join(BUILD, "jobs/*.so"), self.ledger.plugin],
                  "handlers": handlers}
        config.update(more)
        return self.worker(self.server, config)

    def push(self, text):
        self.client.lpush(QUEUE, text)

    def wait_idle(self):
        wait_until(self.server.idle, what="an idle queue")

    def dead(self, count=1):
        wait_until(lambda: self.client.llen(DEAD) == count, what="%d dead letters" % count)
        return self.client.lrange(DEAD, 0, -1)

    def test_a_program_gets_exactly_the_argument_bytes_on_every_attempt(self):
        self.start()
        args = b'{"n":12345678901234567890,"x":0.1,"e":[]}'
        pushed = b'{"type":"report", "args":' + args + b',"retry":1,' + FAST.encode() + b"}"
        self.push(pushed)
        letter = self.dead()[0]
        with open(self.seen, "rb") as file:
            self.assertEqual(file.read(), args + args)
        self.assertEqual(document_of(letter), pushed)
        json.loads(letter)

    def test_exit_codes(self):
        self.start()
        self.push('{"type":"exits","id":"done","args":0}')
        self.push('{"type":"exits","id":"dead","args":65}')
        self.push('{"type":"exits","id":"later","args":75}')
        self.push('{"type":"exits","id":"parked","args":78}')
        self.push('{"type":"exits","id":"retry","args":3}')
        wait_until(lambda: (self.client.llen(DEAD), self.client.llen(PARKED),
                            self.client.zcard(SCHEDULED), self.client.zcard(RETRY)) == (1, 1, 1, 1),
                   what="one of each")
        self.assertIn(b'"reason":"handler"', self.client.lindex(PARKED, 0))
        later = self.client.zrange(SCHEDULED, 0, 0)[0]
        self.assertIn(b'"snoozes":1', later)
        self.assertNotIn(b'"attempt":1', later.split(b'"job":')[0])
        self.assertIn(b"exit 3", self.client.zrange(RETRY, 0, 0)[0])
        self.wait_idle()

    def test_no_retry_and_no_dead_letter(self):
        self.start()
        self.push('{"type":"fail","id":"a","retry":0}')
        self.push('{"type":"fail","id":"b","retry":0,"dead":false}')
        letters = self.dead()
        self.wait_idle()
        self.assertIn(b'"id":"a"', letters[0])
        self.assertEqual(self.client.llen(DEAD), 1)

    def test_delay_and_at_work_by_plain_lpush(self):
        self.start()
        self.ledger.pushed.append("d")
        self.push(self.ledger.document("d", delay=1))
        self.push(self.ledger.document("far", at="2099-01-01T00:00:00Z"))
        wait_until(lambda: self.client.zcard(SCHEDULED) == 2, what="both in :scheduled")
        wait_until(self.ledger.all_ended, what="the delayed one")
        self.assertEqual(self.client.zcard(SCHEDULED), 1)

    def test_expired_is_dropped(self):
        self.start()
        self.push(self.ledger.document("old", expires_at=1))
        self.ledger.push(self.server, 1)
        wait_until(self.ledger.all_ended, what="the other job")
        self.wait_idle()
        self.assertEqual(set(self.ledger.began()), set(self.ledger.pushed))
        self.assertEqual(self.client.llen(DEAD), 0)

    def test_two_identical_jobs_without_id_are_two_jobs(self):
        self.start()
        text = '{"type":"fail","retry":1,"backoff":{"type":"fixed","base":3600}}'
        self.client.lpush(QUEUE, text, text)
        wait_until(lambda: self.client.zcard(RETRY) == 2, what="two retries")

    def test_an_unknown_type_waits_for_its_handler(self):
        worker = self.start()
        self.push('{"type":"new","id":"n"}')
        wait_until(lambda: self.client.llen(PARKED) == 1, what="the parked job")
        worker.config["handlers"]["new"] = {"exec": ["/bin/touch", self.seen]}
        worker.write_config()
        worker.hup()
        wait_until(lambda: os.path.exists(self.seen) and self.client.llen(PARKED) == 0,
                   what="its run")
        self.wait_idle()

    def test_a_timeout_ends_an_endless_program(self):
        worker = self.start()
        self.push('{"type":"endless","id":"e","timeout":0.3,"retry":0}')
        letter = self.dead()[0]
        self.assertIn(b'"kind":"timeout"', letter)
        wait_until(lambda: len(worker.descendants()) == 3, what="its process gone, the pool whole")

    def test_a_timeout_ends_an_endless_loop_in_c(self):
        self.start()
        self.push('{"type":"crash","id":"e","args":{"mode":"spin"},"timeout":0.3,"retry":0}')
        self.assertIn(b'"kind":"timeout"', self.dead()[0])

    def test_at_most_once(self):
        self.start(queues=[{"name": "default", "delivery": "at-most-once"}])
        self.ledger.push(self.server, 5)
        self.push('{"type":"fail","id":"f"}')
        self.dead()
        wait_until(self.ledger.all_ended, what="every job")
        self.assertEqual(set(self.ledger.began().values()), {1})
        self.assertEqual(self.client.exists(RUN, RETRY), 0)

    def test_a_paused_queue_waits(self):
        self.client.set("{queue:default}:paused", "1")
        self.start()
        self.ledger.push(self.server, 1, queue="queue:critical")
        wait_until(self.ledger.all_ended, what="the other queue's job")
        self.ledger.push(self.server, 1)
        self.ledger.push(self.server, 1, queue="queue:critical")
        wait_until(lambda: len(self.ledger.ended()) == 2, what="the other queue's next job")
        wait_until(lambda: self.client.llen(QUEUE) == 1, what="what a wait had brought, given back")
        self.assertEqual(len(self.ledger.ended()), 2)
        self.client.delete("{queue:default}:paused")
        wait_until(self.ledger.all_ended, what="the job that waited")

    def test_a_key_of_the_wrong_type_stops_only_its_queue(self):
        self.client.set(RUN, "mine")
        self.start()
        self.ledger.push(self.server, 2)
        self.ledger.push(self.server, 2, queue="queue:critical")
        wait_until(lambda: len(self.ledger.ended()) == 2, what="the other queue's jobs")
        self.assertEqual(self.client.llen(QUEUE), 2)
        self.client.delete(RUN)
        wait_until(self.ledger.all_ended, what="all jobs, once the key is mended")

    def test_a_list_of_ones_own_and_a_prefix(self):
        self.start(redis={"prefix": "app:"}, queues=[{"name": "mail", "key": "task_queue"}])
        self.ledger.push(self.server, 2, queue="app:task_queue")
        wait_until(self.ledger.all_ended, what="the jobs")

    def test_bad_input_is_kept_with_a_reason_and_hurts_nobody(self):
        bad = {
            b"not json": b"JSON", b'{"type":"echo"': b"byte", b"[1,2]": b"object",
            b'{"args":1}': b"type", b'{"type":5}': b"type", b'{"type":"echo","retry":"x"}': b"retry",
            b'{"type":"echo","type":"noop"}': b"type", b'{"type":"a b"}': b"type",
            b'{"type":"echo","args":"\xff\xfe"}': b"UTF-8", b'{"type":"echo"}\0': b"byte",
            b'{"type":"echo","args":' + b"[" * 100 + b"]" * 100 + b"}": b"deep",
            b'{"type":"echo","args":"' + b"x" * 5000 + b'"}': b"bytes",
        }
        self.start(limits={"document_bytes": 4096})
        self.ledger.push(self.server, 3)
        for document in bad:
            self.push(document)
        self.ledger.push(self.server, 3)
        letters = self.dead(len(bad))
        wait_until(self.ledger.all_ended, what="the good ones")
        self.wait_idle()
        for letter, (document, word) in zip(reversed(letters), bad.items()):
            with self.subTest(document=document[:40]):
                error = json.loads(letter.decode())["error"]["message"]
                self.assertIn(word.decode().lower(), error.lower())
                self.assertIn(b'"reason":"malformed"', letter)

    def test_a_record_newer_than_ours_is_parked_untouched(self):
        self.start()
        newer = b'{"v":9,"job_bytes":14,"what":"ever","job":{"type":"x"} }'
        self.push(newer)
        wait_until(lambda: self.client.lrange(PARKED, 0, -1) == [newer], what="it, parked")

    def test_redis_cli_pushes(self):
        self.start()
        self.ledger.pushed.append("cli")
        subprocess.run(["redis-cli", "-s", self.server.socket, "lpush", QUEUE,
                        self.ledger.document("cli")], check=True, stdout=subprocess.DEVNULL)
        wait_until(self.ledger.all_ended, what="the job")

    def test_a_sidekiq_client_pushes(self):
        self.start()
        self.push('{"class":"echo","jid":"abcdef012345","args":[1,"x"],"retry":true,"queue":"default",'
                  '"created_at":1700000000.5,"enqueued_at":1700000000.6,"reply_to":"reply:s"}')
        answer = json.loads(self.client.blpop("reply:s", timeout=30)[1])
        self.assertEqual((answer["id"], answer["result"]), ("abcdef012345", [1, "x"]))

    def test_ioredis_pushes(self):
        npm, node = shutil.which("npm"), shutil.which("node")
        where = os.path.join(ROOT, "build", "node")
        if npm is None or node is None:
            self.skipTest("no node or npm")
        if not os.path.isdir(os.path.join(where, "node_modules", "ioredis")):
            os.makedirs(where, exist_ok=True)
            done = subprocess.run([npm, "install", "--silent", "--no-audit", "--no-fund",
                                   "--prefix", where, "ioredis"], stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=120)
            if done.returncode != 0:
                self.skipTest("npm cannot install ioredis: " + done.stdout.decode()[-200:])
        self.start()
        self.ledger.pushed.append("node")
        script = ("const R = require('ioredis'); const r = new R(process.argv[1]);"
                  "r.lpush('queue:default', process.argv[2]).then(() => r.quit());")
        subprocess.run([node, "-e", script, self.server.socket, self.ledger.document("node")],
                       cwd=where, check=True, timeout=60)
        wait_until(self.ledger.all_ended, what="the job")


if __name__ == "__main__":
    import unittest
    unittest.main()

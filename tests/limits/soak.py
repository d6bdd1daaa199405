#!/usr/bin/python3
"""The worker's memory stays flat: `make soak SOAK_MINUTES=60`.

Rounds of mixed jobs: short ones by the thousand, documents and results of 1 MB, failures with long
texts, dead letters that are trimmed, follow-ups, replies; in each round Redis is frozen for a while
in the middle, while handlers go on and outcomes pile up.  After each round the private memory of the
worker and its descriptors are counted: from the third round on memory may grow by no more than
GROWTH_BYTES, descriptors not at all.
"""

import argparse
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from bl import BUILD, Case, wait_until
from life import Life

GROWTH_BYTES = 12 << 20
# While Redis is frozen: results held (64 MiB) and what is in buffers on both sides of the socket.
PEAK_BYTES = 160 << 20


def private_bytes(pid):
    total = 0
    with open("/proc/%d/smaps_rollup" % pid) as file:
        for line in file:
            if line.startswith("Private_"):
                total += int(line.split()[1]) * 1024
    return total


def descriptors(pid):
    return len(os.listdir("/proc/%d/fd" % pid))


class Soak(Case):
    minutes = float(os.environ.get("BUCKETLINE_SOAK_MINUTES") or 0.3)
    guard_seconds = 24 * 3600

    def setUp(self):
        if "address" in os.path.basename(BUILD):
            self.skipTest("a sanitizer keeps what is freed, so a weight says nothing")
        super().setUp()

    def push_round(self, life, number):
        client, name = life.redis.client, "r%d" % number
        for part in range(20):
            client.lpush("queue:default", *[life.document("%s-%d-%d" % (name, part, n))
                                            for n in range(250)])
        for n in range(10):
            for id, members in (
                    ("big", {"args": {"filler": "y" * 1000000}}),
                    ("kept", {"keep": "1s", "args": {"result_bytes": 1000000}}),
                    ("reply", {"reply_to": "reply", "args": {"result_bytes": 1000}}),
                    ("dead", {"args": {"dead": 1}}),
                    ("retried", {"args": {"fail_until": 3}}),
                    ("program", {"type": "fails", "retry": 0}),
                    ("parent", {"on_success": {"type": "life", "queue": "mail",
                                               "args": {"ledger": life.ledger}}})):
                client.lpush("queue:default", life.document("%s-%s-%d" % (name, id, n), **members))

    def done(self, life):
        left = life.left()
        return not left

    def test_memory_stays_flat(self):
        redis = self.redis()
        life = Life(self, redis)
        life.ledger = "/dev/null"
        worker = self.worker(redis, life.config(
            log={"level": "error"}, runners=3, recycle_after=1000, handlers={"fails": {
                "exec": ["/bin/sh", "-c", "yes problem | head -c 100000 >&2; exit 1"]}},
            queues=[{"name": "default", "dead_max": 100}, {"name": "mail", "key": "task_queue"}]),
            args=["--log-level", "info"])
        end, rounds, memory, fds = time.monotonic() + 60 * self.minutes, 0, [], []
        while rounds < 5 or time.monotonic() < end:
            self.push_round(life, rounds)
            redis.pause()
            time.sleep(0.5)  # a fault of this length, not a wait
            self.assertLess(private_bytes(worker.pid), PEAK_BYTES)
            redis.resume()
            wait_until(lambda: self.done(life), what=lambda: "a drained round: %r" % life.left())
            redis.client.delete("reply")
            memory.append(private_bytes(worker.pid))
            fds.append(descriptors(worker.pid))
            rounds += 1
        sys.stderr.write("soak: %d rounds, private KiB %s, descriptors %s\n" % (
            rounds, [m >> 10 for m in memory[:5] + memory[-5:]], sorted(set(fds[2:]))))
        self.assertLess(max(memory[-3:]) - min(memory[2:5]), GROWTH_BYTES)
        self.assertLessEqual(max(fds[-3:]), max(fds[2:5]))
        self.assertEqual(worker.drain(), 0)

    def test_results_do_not_pile_up_while_redis_is_frozen(self):
        redis = self.redis()
        client = redis.client
        life = Life(self, redis)
        worker = self.worker(redis, life.config(beat="2s", dead_after="10s", log={"level": "warn"}),
                             args=["--log-level", "info"])
        for n in range(300):  # the type counts as fast: many are sent ahead
            life.push_one("fast%d" % n)
        life.wait_drained(worker)
        before = private_bytes(worker.pid)
        client.lpush("queue:default", *[life.document(
            "large%d" % n, keep="1h", args={"result_bytes": 1000000}) for n in range(600)])
        wait_until(lambda: client.hlen("{queue:default}:run") > 150 or
                   client.llen("queue:default") == 0, what="many claimed", pause=0)
        redis.pause()
        seen = [-1, 0]

        def settled_down():
            ends = len(life.counts("end"))
            seen[1] = seen[1] + 1 if ends == seen[0] else 0
            seen[0] = ends
            return seen[1] > 50
        wait_until(settled_down, what="handlers that have nothing more to do")
        held = private_bytes(worker.pid) - before
        redis.resume()
        life.wait_drained(worker)
        sys.stderr.write("soak: %d results of 1 MB made, %d MiB held\n" % (seen[0] - 300, held >> 20))
        self.assertLess(held, PEAK_BYTES)
        self.assertEqual(len(client.keys("{queue:default}:result:*")), 600)
        for n in (0, 299, 599):
            self.assertGreater(client.strlen("{queue:default}:result:large%d" % n), 1000000)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Runs mixed jobs and weighs the worker.")
    parser.add_argument("--minutes", type=float, default=60, help="how long (60)")
    Soak.minutes = parser.parse_args().minutes
    unittest.main(argv=[sys.argv[0]])

"""What grows old: dead letters above their caps, parked jobs nobody can run, worn-out runners."""

import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from bl import BUILD, Case, wait_until

DEAD = "{queue:default}:dead"
PARKED = "{queue:default}:parked"


def wrapped(id, **members):
    document = json.dumps({"type": "nobody", "id": id}, separators=(",", ":"))
    head = json.dumps(dict({"v": 1, "job_bytes": len(document), "uid": "0" * 32 + ":" + id[1:],
                            "id": id}, **members), separators=(",", ":"))
    return head[:-1] + ',"job":' + document + "}"


class Janitor(Case):
    def config(self, **more):
        return dict({"queues": ["default"], "runners": 2,
                     "plugins": [os.path.join(BUILD, "jobs/*.so")]}, **more)

    def test_dead_letters_above_the_cap_go_oldest_first_and_are_logged(self):
        redis = self.redis()
        for n in range(1, 501):
            redis.client.lpush(DEAD, wrapped("j%d" % n, reason="failed", dead_at=1000))
        worker = self.worker(redis, self.config(queues=[{"name": "default", "dead_max": 20}]))
        wait_until(lambda: redis.client.llen(DEAD) == 20, what="the cap")
        self.assertIn(b'"id":"j500"', redis.client.lindex(DEAD, 0))
        self.assertIn(b'"id":"j481"', redis.client.lindex(DEAD, -1))
        worker.wait_log("dead_max")

    def test_dead_letters_grow_too_old(self):
        redis = self.redis()
        now = int(time.time() * 1000)
        for n in range(1, 121):
            redis.client.lpush(DEAD, wrapped("j%d" % n, reason="failed", dead_at=now - 7200000))
        redis.client.lpush(DEAD, wrapped("j999", reason="failed", dead_at=now))
        worker = self.worker(redis, self.config(queues=[{"name": "default", "dead_age": "1h"}]))
        wait_until(lambda: redis.client.llen(DEAD) == 1, what="the young one alone")
        self.assertIn(b"j999", redis.client.lindex(DEAD, 0))
        worker.wait_log("dead_age")

    def test_a_job_parked_too_long_becomes_a_dead_letter(self):
        redis = self.redis()
        now = int(time.time() * 1000)
        redis.client.lpush(PARKED, wrapped("j1", reason="unknown-type", parked_at=now - 7200000))
        redis.client.lpush(PARKED, wrapped("j2", reason="unknown-type", parked_at=now))
        redis.client.lpush(PARKED, wrapped("j3", reason="handler", parked_at=now - 7200000))
        self.worker(redis, self.config(park_for="1h"))
        wait_until(lambda: redis.client.llen(DEAD) == 1, what="the dead letter")
        letter = redis.client.lindex(DEAD, 0)
        self.assertIn(b'"id":"j1"', letter)
        self.assertIn(b"park_for", letter)
        self.assertEqual(redis.client.llen(PARKED), 2)

    def test_runners_are_recycled_after_so_many_jobs(self):
        redis = self.redis()
        worker = self.worker(redis, self.config(recycle_after=50))
        before = set(worker.children())
        for _ in range(400):
            redis.client.lpush("queue:default", '{"type":"noop"}')
        wait_until(redis.idle, what="every job")
        wait_until(lambda: len(set(worker.children()) & before) == 1 and
                   len(worker.children()) == 3, what="new runners (only the guard stays)")
        self.assertNotIn("level=error", worker.log())

    def test_a_runner_that_has_grown_is_replaced(self):
        redis = self.redis()
        worker = self.worker(redis, self.config(recycle_rss="1MiB"))
        redis.client.lpush("queue:default", '{"type":"noop"}')
        worker.wait_log("has grown above recycle_rss")
        wait_until(lambda: len(worker.children()) == 3, what="a whole pool")


if __name__ == "__main__":
    import unittest
    unittest.main()

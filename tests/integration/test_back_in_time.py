"""Redis goes back in time while a worker lives on: no job it settled otherwise than as done is lost."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import unittest

from bl import Case, wait_until


class BackInTime(Case):
    def places(self, r):
        q = b"{queue:default}:"
        return (r.lrange("queue:default", 0, -1) + r.hvals(q + b"run") + r.zrange(q + b"retry", 0, -1)
                + r.lrange(q + b"dead", 0, -1))

    def go_back(self, exit_code, settled):
        redis = self.redis()
        gate = os.path.join(self.directory, "gate")
        script = "while [ ! -e '%s' ]; do sleep 0.01; done; exit %d" % (gate, exit_code)
        self.worker(redis, {"runners": 1, "handlers": {"x": {"exec": ["/bin/sh", "-c", script]}}})
        redis.client.lpush("queue:default", '{"type":"x","id":"j1"}')
        wait_until(lambda: redis.client.hlen("{queue:default}:run") == 1, what="a claim")
        redis.client.save()                       # the state Redis will go back to
        open(gate, "w").close()
        wait_until(lambda: settled(redis.client), what="the settlement")
        redis.kill9()
        redis.start()                             # the record lies in `run` again
        wait_until(lambda: redis.client.hlen("bucketline:workers") == 1 and
                   redis.client.hlen("{queue:default}:run") == 0, what="the reconciling")
        self.assertEqual(1, len(self.places(redis.client)), "the job is lost")

    def test_after_an_end_that_was_waited_for(self):
        redis = self.redis()
        gate = os.path.join(self.directory, "gate")
        script = "while [ ! -e '%s' ]; do sleep 0.01; done" % gate
        worker = self.worker(redis, {"runners": 1, "handlers": {
            "x": {"exec": ["/bin/sh", "-c", script]}, "y": {"exec": ["/bin/true"]}}})
        client = redis.client
        client.lpush("queue:default", '{"type":"x","reply_to":"reply:1","on_success":{"type":"y",'
                     '"reply_to":"reply:2"}}')
        wait_until(lambda: client.hlen("{queue:default}:run") == 1, what="a claim")
        client.save()
        open(gate, "w").close()
        wait_until(lambda: client.exists("reply:1", "reply:2") == 2, what="both replies")
        worker.stop()  # or it has told them again before the look
        redis.kill9()
        redis.start()  # what was told is forgotten, and the job lies in `run` again
        self.assertEqual(0, client.exists("reply:1", "reply:2"))
        worker.cont()
        wait_until(lambda: client.exists("reply:1", "reply:2") == 2, what="both replies again")

    def test_after_a_retry(self):
        self.go_back(1, lambda r: r.zcard("{queue:default}:retry") == 1)

    def test_after_a_burial(self):
        self.go_back(65, lambda r: r.llen("{queue:default}:dead") == 1)


if __name__ == "__main__":
    unittest.main()

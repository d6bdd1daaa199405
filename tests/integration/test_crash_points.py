"""A sample of the crash points (all of them: make crash-points), another one in each run; the seed is
printed, and BUCKETLINE_SEED repeats it."""

import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../points"))

from bl import Case, run_command
from life import Life
from scenarios import Run, points

SAMPLE = 16
SEED = int(os.environ.get("BUCKETLINE_SEED") or random.SystemRandom().randrange(10**9))


class CrashPoints(Case):
    """One test for each point of the sample is added below."""

    def test_a_burst_without_crashes_ends_as_the_check_expects(self):
        redis = self.redis()
        life = Life(self, redis)
        life.push()
        worker = self.worker(redis, life.config())
        life.wait_drained(worker)
        self.assertEqual(worker.drain(), 0)
        life.check()

    def test_the_check_notices_what_is_wrong(self):
        redis = self.redis()
        life = Life(self, redis)
        life.push()
        worker = self.worker(redis, life.config())
        life.wait_drained(worker)
        worker.drain()
        redis.client.lpush("reply:reply0-0", redis.client.lindex("reply:reply0-0", 0))
        redis.client.lpop("{queue:default}:dead")
        with open(life.ledger, "a") as file:
            file.write("begin done0-0 1\n")
        bad = "\n".join(life.problems())
        for part in ("replies of reply0-0", "not a dead letter", "done0-0 attempt 1 began 2 times"):
            self.assertIn(part, bad)

    def test_a_normal_build_has_no_points(self):
        self.assertGreater(len(points()), 60)
        with open(run_command("worker", "--version").argv[0], "rb") as file:
            self.assertNotIn(b"BUCKETLINE_CRASH", file.read())


def add_sample():
    sample = random.Random(SEED).sample(points(), SAMPLE)
    sys.stderr.write("crash points: BUCKETLINE_SEED=%d\n" % SEED)
    for at, point in enumerate(sample):
        n = 1 + at % 3

        def test(self, point=point, n=n):
            run = Run(self, point, n)
            run.go()
            if n == 1:
                self.assertTrue(run.crashed, "%s was not passed" % point)

        setattr(CrashPoints, "test_killed_at_%s_%d" % (point.replace(".", "_").replace("-", "_"), n),
                test)


add_sample()

if __name__ == "__main__":
    import unittest
    unittest.main()

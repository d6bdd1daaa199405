"""A sample of failing library calls (all of them: make fail-calls), another one in each run."""

import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../points"))

from bl import BUILD, Case
from failures import ALL, Failing

SEED = int(os.environ.get("BUCKETLINE_SEED") or random.SystemRandom().randrange(10**9))
# These found something once; the rest is drawn.
ALWAYS = [("worker", "short", 1, 2), ("worker", "pipe", 5, 25), ("worker", "reset", 5, 25),
          ("worker", "intr", 1, 3), ("runner", "short", 1, 2)]


class FailingCalls(Case):
    """One test for each choice is added below."""

    def setUp(self):
        if "address" in os.path.basename(BUILD):
            self.skipTest("a sanitizer has calls of its own in these places")
        super().setUp()


def add_sample():
    sys.stderr.write("failing calls: BUCKETLINE_SEED=%d\n" % SEED)
    for args in ALWAYS + random.Random(SEED).sample([a for a in ALL if a not in ALWAYS], 6):
        def test(self, args=args):
            Failing(self, *args).go()
        setattr(FailingCalls, "test_%s_%s_%d_%d" % args, test)


add_sample()

if __name__ == "__main__":
    import unittest
    unittest.main()

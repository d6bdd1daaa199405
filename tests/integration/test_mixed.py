"""Short jobs and jobs that take for ever in one queue: none of the short ones waits for a slow one
while somebody could run it, and none of a burst while runners are idle.  Nothing here is timed: a slow
job outlasts the test, and what ran at the same time is told by the order of begins and ends."""

import os
import statistics
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from bl import Case, wait_until
from ledger import Ledger

FOR_EVER_MS = 3600 * 1000


class Mixed(Case):
    def setUp(self):
        super().setUp()
        self.ledger = Ledger(self.directory)
        self.server = self.redis()

    def start(self, name, runners):
        return self.worker(self.server, {"runners": runners, "plugins": [self.ledger.plugin],
                                         "shutdown_timeout": "100ms", "grace": "100ms"}, name=name)

    def push(self, ids, ms=0):
        """All at once: `slow...` takes for ever."""
        self.server.client.lpush("queue:default", *[
            self.ledger.document(id, ms=FOR_EVER_MS if id.startswith("slow") else ms) for id in ids])

    def wait_ended(self, ids):
        wait_until(lambda: set(ids) <= set(self.ledger.ended()),
                   what=lambda: "the end of %s" % sorted(set(ids) - set(self.ledger.ended()))[:5])

    def learn(self, ms=0):
        """The worker finds that jobs of this type are short: from now on many are sent ahead."""
        warm = ["warm%d" % n for n in range(300)]
        self.push(warm, ms)
        self.wait_ended(warm)

    def test_beside_slow_ones(self):
        self.start("worker", 3)
        self.learn()
        short = ["short%d" % n for n in range(300)]
        self.push(short[:50] + ["slow1"] + short[50:60] + ["slow2"] + short[60:])
        self.wait_ended(short)
        wait_until(lambda: set(self.ledger.began()) >= {"slow1", "slow2"}, what="both slow jobs")
        self.assertEqual(0, sum(n for id, n in self.ledger.ended().items() if id.startswith("slow")))
        self.assertEqual({1}, set(self.ledger.began().values()))

    def running_at_once(self, ids):
        """How many of these jobs ran at the same time, at most."""
        most = running = 0
        for what, id, _ in self.ledger.lines():
            running += (1 if what == "begin" else -1) * (id in ids)
            most = max(most, running)
        return most

    def test_bursts_are_shared_by_all_runners(self):
        """Though each of them might have taken all of a burst."""
        self.start("worker", 4)
        self.learn(ms=1)
        bursts = [["burst%d.%d" % (number, n) for n in range(32)] for number in range(21)]
        for ids in bursts:
            self.push(ids, ms=1)
            self.wait_ended(ids)
        self.assertGreater(statistics.median(self.running_at_once(set(ids)) for ids in bursts), 2)

    def test_behind_a_slow_one_of_another_worker(self):
        self.start("busy", 1)
        self.learn()
        short = ["short%d" % n for n in range(50)]
        self.push(["slow1"] + short)
        wait_until(lambda: "slow1" in self.ledger.began(), what="the slow job")
        self.assertEqual(0, sum(n for id, n in self.ledger.began().items() if id.startswith("short")))
        self.start("idle", 1)
        self.wait_ended(short)
        self.assertNotIn("slow1", self.ledger.ended())
        self.assertEqual({1}, set(self.ledger.began().values()))


if __name__ == "__main__":
    import unittest
    unittest.main()

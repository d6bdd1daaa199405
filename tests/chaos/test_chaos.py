"""A short run of chaos with seeds of its own: some of everything, then every check.

The long form is `make chaos`.
"""

import io
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from bl import Case
from bugs import BUGS, ROOT, planted
from bytecuts import Sweeps
from chaos import run_episode


class Chaos(Case):
    def check(self, seed, groups, seconds=4, **settings):
        out = io.StringIO()
        episode, findings = run_episode(seed, seconds, groups, out=out, **settings)
        self.assertEqual([], findings, out.getvalue())
        self.assertGreater(sum(episode.checker.settled.values()), 50, "hardly a run")
        self.assertGreater(len(episode.checker.world.log.faults), 2, "hardly chaos")

    def test_processes_redis_and_the_wire_fail(self):
        self.check(103, ("process", "redis", "wire"), workers=2)

    def test_redis_fails_and_goes_back_in_time(self):
        self.check(104, ("process", "redis", "cut"), workers=2)

    def test_the_wire_is_cut_after_some_bytes(self):
        sweeps = Sweeps(307, ["retry", "follow"], 6).run()
        self.assertEqual([], sweeps.failures)
        self.assertGreater(sum(sweeps.cuts.values()), 10)

    def test_every_mistake_can_be_planted(self):
        for name, (changes, _) in BUGS.items():
            with self.subTest(name):
                planted(ROOT, changes)


if __name__ == "__main__":
    unittest.main()

"""Runs each model with small bounds, and each of its mutants, which must be caught.

The larger runs are by hand: tests/model/model.py --full, and so on.
"""

import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import model
import model_beats
import model_hand
import model_journal
import model_links
from explorer import explore

MODELS = [model, model_journal, model_links, model_beats, model_hand]


class Models(unittest.TestCase):
    def test_quick_runs_find_nothing_wrong(self):
        for module in MODELS:
            for name, instance in module.base_runs(full=False):
                with self.subTest(module.__name__, run=name):
                    result = explore(instance)
                    self.assertTrue(result.ok, result)
                    self.assertGreater(result.states, 100, "hardly a model")

    def test_every_mutant_is_caught(self):
        for module in MODELS:
            tried = set()
            for name, instance, wanted in module.mutant_runs():
                with self.subTest(module.__name__, mutant=name):
                    result = explore(instance, stop_at_first=wanted != "stuck")
                    if wanted == "stuck":
                        self.assertTrue(result.stuck, result)
                    else:
                        self.assertIn(wanted, result.violations)
                tried.add(name)
            self.assertEqual(set(module.MUTANTS), tried)


class Explorer(unittest.TestCase):
    """That the explorer itself sees what it should."""

    class Walk:
        """From 0 upwards; 3 is settled, 5 a dead end, 7 broken; 5 and 7 only after a fault."""

        def initial(self):
            return 0

        def steps(self, state):
            if state < 3:
                yield "up", state + 1
            if state == 2:
                yield "slip!", 5
                yield "fall!", 7

        def complaints(self, state):
            if state == 7:
                yield "broken"

        def settled(self, state):
            return state in (3, 7)

        def cut_off(self, state):
            return False

    def test_finds_violations_and_dead_ends(self):
        result = explore(self.Walk())
        self.assertEqual(6, result.states)
        self.assertEqual({"broken": ["up", "up", "fall!"]}, result.violations)
        self.assertEqual([["up", "up", "slip!"]], result.stuck)
        self.assertFalse(result.ok)

    def test_says_when_it_was_cut_off(self):
        result = explore(self.Walk(), limit=2)
        self.assertFalse(result.complete or result.ok)

    def test_a_way_that_needs_a_fault_is_no_way_out(self):
        walk = self.Walk()
        walk.settled = lambda state: state == 7
        self.assertTrue(explore(walk).stuck)


if __name__ == "__main__":
    unittest.main()

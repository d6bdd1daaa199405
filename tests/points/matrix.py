#!/usr/bin/python3
"""Every crash point, each at several of its passings: `make crash-points`.

    tests/points/matrix.py [-k PATTERN] [--passings 1,2,5] [-v]

Needs the build with crash points (make POINTS=1).  Names the points that no run reached, and fails
then too: a point nobody passes proves nothing.  Exits 1 on any failure.
"""

import argparse
import os
import sys
import time
import traceback
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from scenarios import Run, points, scenario_of

from bl import Case


class OneRun(Case):
    """A Case for one run; runTest() is called through run()."""

    def __init__(self, point, n):
        super().__init__()
        self.point, self.n, self.made = point, n, None

    def runTest(self):
        self.made = Run(self, self.point, self.n)
        try:
            self.made.go()
        finally:
            self.reached, self.crashed = self.made.reached, self.made.crashed


def main():
    parser = argparse.ArgumentParser(description="Kills at every crash point.")
    parser.add_argument("-k", metavar="PATTERN", default="", help="only points that hold PATTERN")
    parser.add_argument("--passings", default="1,2,5", help="at which passings (1,2,5)")
    parser.add_argument("-v", action="store_true", help="name every run")
    options = parser.parse_args()
    chosen = [p for p in points() if options.k in p]
    reached, crashed, failed, runs = set(), set(), [], 0
    for point in chosen:
        for n in [int(word) for word in options.passings.split(",")]:
            began, case, result = time.monotonic(), OneRun(point, n), unittest.TestResult()
            case.run(result)
            runs += 1
            reached |= getattr(case, "reached", set())
            died = getattr(case, "crashed", False)
            if died:
                crashed.add(point)
            for _, text in result.failures + result.errors:
                failed.append("%s:%d" % (point, n))
                print("FAILED %s:%d (%s)\n%s" % (point, n, scenario_of(point), text), flush=True)
            if options.v:
                print("%-26s %d  %-12s %s  %.1f s" % (
                    point, n, scenario_of(point), "died" if died else "passed by",
                    time.monotonic() - began), flush=True)
            if not died and n > 1:
                break  # it is not passed so often
    never = [p for p in chosen if p not in crashed]
    for point in never:
        print("NEVER %s: %s" % (point, "reached, but never died of" if point in reached else
                                "not reached by scenario " + scenario_of(point)))
    print("%d points, %d runs, %d of them failed, %d points at which nothing ever died" % (
        len(chosen), runs, len(failed), len(never)))
    return 1 if failed or never or not chosen else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        traceback.print_exc()
        sys.exit(1)

#!/usr/bin/python3
"""Measures, beside what Redis allows a bare client on the same machine at the same time.

    tests/bench/main.py [--short] [--rounds N] [--json FILE] [--list] [NAME...]

NAME   only these measurements (--list names them)
--short    small counts and two rounds: to see that all of it runs, not to quote from
--rounds   how often each case is measured (5); medians and ratios are over the rounds
--json     writes the figures of every round too

Needs the build of `make bench-tools`.  docs/performance.md says what the rows mean.
"""

import argparse
import importlib
import sys
import time

import stage  # noqa: F401  finds tests/lib
import machine
from bench import Bench
from table import Table

NAMES = ("push", "drain", "sizes", "latency", "mixed", "programs", "footprint", "backlog", "pool", "queues",
         "durability", "idle")


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--json")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("names", nargs="*", metavar="NAME")
    options = parser.parse_args()
    if options.list:
        print("\n".join("%-10s %s" % (name, importlib.import_module(name).__doc__.split("\n")[0])
                        for name in NAMES))
        return 0
    unknown = [name for name in options.names if name not in NAMES]
    if unknown:
        parser.error("no measurement is called %s; there are %s" % (unknown[0], ", ".join(NAMES)))
    where = machine.describe()
    print(machine.text(where))
    table = Table(sys.stdout)
    rounds = options.rounds or (2 if options.short else 5)
    start, neighbours = time.monotonic(), machine.Neighbours()
    for name in options.names or NAMES:
        importlib.import_module(name).run(Bench(table, options.short, rounds))
    where["rounds"], where["seconds"] = rounds, round(time.monotonic() - start)
    where["others used"] = "%.0f %% of the machine" % neighbours.percent()
    print("\n%d rounds, %d s; meanwhile other processes used %s" % (
        rounds, where["seconds"], where["others used"]))
    if options.json:
        table.write_json(options.json, where)
    return 0


if __name__ == "__main__":
    sys.exit(main())

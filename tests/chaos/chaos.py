#!/usr/bin/python3
"""Chaos: real workers, real Redis, real clients, everything goes wrong, nothing may be lost.

    chaos.py [--seed N] [--minutes M | --seconds S] [--only GROUP,...] [--keep]

--only  groups of faults: process, redis, wire, cut (which lets Redis go back in time)
--keep  leave the directory of the run behind

A run is a number of episodes of about half a minute.  Each has its own Redis, workers and seed,
ends with a system at rest, and is then checked.  Prints the seed first; the same seed makes the
same choices, though not the same timing.  Exits 1 if a check found anything.
"""

import argparse
import concurrent.futures
import os
import random
import shutil
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from checker import Checker
from nemesis import Nemesis, faults_of
from producer import Catalog, Producer
from report import Summary
from world import World

EPISODE_SECONDS = 25


class Episode:
    """One world, from its start to the verdict."""

    def __init__(self, seed, seconds, groups, directory, **settings):
        self.seed, self.seconds, self.groups, self.directory = seed, seconds, groups, directory
        self.settings = dict(self._choose(random.Random(seed)), **settings)
        self.producers, self.checker = [], None

    def _choose(self, rng):
        return {"workers": rng.choice((1, 2, 2, 2)), "shared_state": rng.random() < 0.4,
                "runners": rng.randint(2, 5),
                "aof": "everysec" if "cut" in self.groups else "always",
                "reply_timeout": rng.choice(("1s", "4s"))}

    def run(self):
        """The findings."""
        world = World(self.directory, **self.settings)
        pool = concurrent.futures.ThreadPoolExecutor(4)
        book = open(os.path.join(self.directory, "pushes"), "w", buffering=1)
        try:
            pool.submit(world.start).result()
            catalog = Catalog(world.ledger, random.Random(self.seed + 1))
            self.producers = [Producer(world, catalog, self.seed + 10 + i, i % 2 == 1, 0.02, book)
                              for i in range(4)]
            for producer in self.producers:
                producer.start()
            nemesis = Nemesis(world, self.seed + 2, faults_of(self.groups), pool)
            nemesis.run(self.seconds)
            for producer in self.producers:
                producer.stop()
                if producer.error is not None:
                    raise producer.error
            pool.submit(world.repair).result()
            if world.drain():
                world.stop_workers()
            self.checker = Checker(world, catalog.jobs)
            return self.checker.check()
        finally:
            for producer in self.producers:
                producer.stopped.set()
            pool.shutdown()
            book.close()
            world.end()

    def complain(self, findings, out=sys.stdout):
        print("FAILED  seed %d  %s" % (self.seed, self.settings), file=out)
        told = set()
        for finding in findings[:30]:
            print(finding, file=out)
            if finding.key is not None and finding.key not in told and len(told) < 8:
                told.add(finding.key)
                print(self.checker.life_of(finding.key), file=out)


def run_episode(seed, seconds, groups, keep=False, out=sys.stdout, **settings):
    """One episode in a directory of its own; (episode, findings)."""
    directory = tempfile.mkdtemp(prefix="blchaos", dir="/tmp")
    episode = Episode(seed, seconds, groups, directory, **settings)
    findings = None
    try:
        findings = episode.run()
        if findings:
            episode.complain(findings, out)
        return episode, findings
    finally:
        if keep:
            print("kept: " + directory, file=out)
        else:
            shutil.rmtree(directory, ignore_errors=True)


MIXES = (("process",), ("redis",), ("wire",), ("process", "redis"), ("process", "wire"),
         ("process", "redis", "wire"), ("process", "redis", "cut"), ("process", "redis", "wire"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--only", default="")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1000000)
    seconds = options.seconds or options.minutes * 60
    print("seed %d" % seed, flush=True)
    failed, number, total = 0, 0, Summary()
    end = time.monotonic() + seconds
    while time.monotonic() < end or number == 0:
        mix = tuple(options.only.split(",")) if options.only else MIXES[number % len(MIXES)]
        length = max(3, min(EPISODE_SECONDS, end - time.monotonic()))
        own_seed = seed * 1000 + number
        began = time.monotonic()
        episode, findings = run_episode(own_seed, length, mix, options.keep)
        failed += bool(findings)
        print("episode %d, seed %d, faults of %s: %s" % (
            number, own_seed, "+".join(mix), "%d findings" % len(findings) if findings else "good"))
        summary = Summary.of(episode.checker, episode.producers, time.monotonic() - began)
        print(summary, flush=True)
        total.add(summary)
        number += 1
    print("all together: %s" % total)
    print("%d episodes, %d failed" % (number, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/python3
"""Measures other job queues beside this one, on the same machine and the same Redis.

    tests/bench/peers/main.py [--rounds N] [--list] [NAME...]

Each runs a job that does nothing, set up as its own documentation has it for speed; versions and
settings are printed.  They are fetched into a cache directory ($BUCKETLINE_PEERS) as the machine's apt
and npm can; what cannot be had is named and left out.  Jobs are stored first, then the peer's workers
are started; the clock runs from the moment the first jobs are gone until none is left, so starting
up is not counted.
"""

import argparse
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

import bench  # noqa: E402
import drain  # noqa: E402
import machine  # noqa: E402
from install import Missing  # noqa: E402
from peers import PEERS  # noqa: E402
from stage import Stage, bl  # noqa: E402
from table import Table  # noqa: E402

GUARD_SECONDS = 180


class PeerStage(Stage):
    """A stage that also runs what is not ours."""

    def start(self, argv, name, env, cwd="/"):
        process = bl.Process(argv, os.path.join(self.directory, "log-" + name.replace(" ", "-")),
                             env=env, cwd=cwd)
        process.spawn()
        self.processes.append(process)
        return process

    def end(self, process):
        process.remember()
        if process.running:
            process.popen.terminate()
            try:
                process.popen.wait(10)
            except subprocess.TimeoutExpired:
                pass  # end() kills it
        process.end()
        self.processes.remove(process)


def await_first(stage, peer, stored, workers):
    """Waits until the first jobs are gone; returns how many are left."""
    end = time.monotonic() + GUARD_SECONDS
    while time.monotonic() < end:
        left = peer.left(stage)
        if left == 0:
            raise Missing("was done before it could be timed")
        if left < stored:
            return left
        time.sleep(0.005)
    raise Missing("does not begin; it says:\n" + workers[0].log()[-1000:])


def measure(stage, peer):
    """Figures of one round of a peer."""
    done = subprocess.run(peer.push_argv(peer.count), cwd=peer.cwd(), env=peer.env(stage),
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    stored = peer.left(stage)
    if done.returncode != 0 or stored != peer.count:
        raise Missing("stored %d jobs of %d: %s" % (
            stored, peer.count, done.stdout.decode("utf-8", "replace")[-300:].strip()))
    workers = [stage.start(peer.argv(), peer.name, peer.env(stage), peer.cwd())
               for _ in range(peer.workers)]
    try:
        left = await_first(stage, peer, stored, workers)
        start = time.monotonic()
        bl.wait_until(lambda: peer.left(stage) == 0, GUARD_SECONDS, peer.name + " to end", 0.02)
        seconds = time.monotonic() - start
    except AssertionError as e:
        raise Missing(str(e))
    finally:
        for worker in workers:
            stage.end(worker)
        stage.clear()
    return {"jobs/s": left / seconds}


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("names", nargs="*", metavar="NAME")
    options = parser.parse_args()
    if options.list:
        print("\n".join(peer.name for peer in PEERS))
        return 0
    print(machine.text(machine.describe()))
    ours = "this, 2 runners"
    with PeerStage() as stage:
        cases, notes = {}, []
        for kind in PEERS:
            peer = kind()
            if options.names and peer.name not in options.names:
                continue
            try:
                peer.prepare(stage)
                figures = measure(stage, peer)  # also warms caches up
                print("%s: %.0f jobs/s at first" % (peer.name, figures["jobs/s"]), flush=True)
            except Missing as e:
                print("%s: left out: %s" % (peer.name, e), flush=True)
                continue
            cases[peer.name] = lambda peer=peer: measure(stage, peer)
            notes.append("%s %s: %s" % (peer.name, peer.version, peer.settings))
        cases = dict({ours: lambda: drain.with_worker(stage, 300000, 2)}, **cases)
        table = Table(sys.stdout)
        results = bench.Bench(table, False, options.rounds).interleave(cases)
        table.section("Jobs that do nothing, other queues beside this one",
                      bench.Bench.rows(results, "jobs/s", "jobs/s", ours), "\n".join(notes))
    return 0


if __name__ == "__main__":
    sys.exit(main())

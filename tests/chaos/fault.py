"""What every fault is: it breaks something, waits, mends it, and notes in the log what it did."""

import os
import signal
import time

from faults import now


class Fault:
    """`run()` returns when the fault is over.  `resources`: what it holds meanwhile."""

    weight = 1
    per_worker = True  # it concerns the worker `self.index` alone

    def __init__(self, world, rng, index):
        self.world, self.rng, self.index = world, rng, index

    @property
    def name(self):
        return type(self).__name__

    @property
    def resources(self):
        return ["worker%d" % self.index] if self.per_worker else ["redis"]

    def note(self, begin, pids=(), text=""):
        self.world.log.add(self.name, begin, self.index if self.per_worker else None, pids, text)

    def between(self, low, high):
        return low + self.rng.random() * (high - low)

    def sleep(self, low, high):
        seconds = self.between(low, high)
        time.sleep(seconds)
        return seconds


def send(pid, number):
    """True if the process was still there."""
    try:
        os.kill(pid, number)
        return True
    except ProcessLookupError:
        return False


def kill(pid):
    return send(pid, signal.SIGKILL)


__all__ = ["Fault", "kill", "now", "send"]

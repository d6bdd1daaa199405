"""The log of what was done to the system, by the same clock as the handlers' ledger."""

import threading
import time
from typing import NamedTuple


def now():
    """Seconds of CLOCK_BOOTTIME."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Fault(NamedTuple):
    kind: str
    begin: float
    end: float
    worker: object = None   # index of the worker that it hit; None = none, or all
    pids: tuple = ()        # processes that were killed
    text: str = ""

    def __str__(self):
        return "%.3f-%.3f %s%s%s%s" % (
            self.begin, self.end, self.kind,
            "" if self.worker is None else " worker%d" % self.worker,
            " pids=%s" % ",".join(map(str, self.pids)) if self.pids else "",
            " " + self.text if self.text else "")


class FaultLog:
    def __init__(self):
        self._lock = threading.Lock()
        self.faults = []

    def add(self, kind, begin, worker=None, pids=(), text=""):
        """Notes a fault that lasted from `begin` until now."""
        fault = Fault(kind, begin, now(), worker, tuple(pids), text)
        with self._lock:
            self.faults.append(fault)
        return fault

    def between(self, begin, end):
        return sorted(f for f in self.faults if f.begin <= end and f.end >= begin)

    def kinds(self):
        counts = {}
        for fault in self.faults:
            counts[fault.kind] = counts.get(fault.kind, 0) + 1
        return counts

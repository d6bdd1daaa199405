"""What processes used: seconds of processor time and memory, from /proc."""

import os

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    """Processor time of a process, all its threads, without its children.  None if it is gone."""
    total = 0
    try:
        for task in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/schedstat" % (pid, task)) as file:
                total += int(file.read().split()[0])  # ns
    except FileNotFoundError:
        return None
    return total / 1e9


def reaped_seconds(pid):
    """Processor time of the children a process has reaped, to 10 ms."""
    with open("/proc/%d/stat" % pid, "rb") as file:
        fields = file.read().rpartition(b") ")[2].split()
    return (int(fields[13]) + int(fields[14])) / TICKS


def memory(pid):
    """{"rss", "private_dirty", "pss"} of a process in KiB."""
    found = {}
    with open("/proc/%d/smaps_rollup" % pid) as file:
        for line in file:
            name, _, rest = line.partition(":")
            if name in ("Rss", "Private_Dirty", "Pss"):
                found[name.lower()] = int(rest.split()[0])
    return found


class Usage:
    """Processor time of Redis, of a worker and of its runners from start() to stop()."""

    def __init__(self, stage, worker):
        self.stage, self.worker = stage, worker
        self.guard = None

    def _now(self):
        runners = {pid: cpu_seconds(pid) for pid in self.worker.runners()}
        return {"redis": cpu_seconds(self.stage.redis.pid), "worker": cpu_seconds(self.worker.pid),
                "reaped": reaped_seconds(self.worker.pid),
                "runners": {pid: s for pid, s in runners.items() if s is not None}}

    def start(self):
        self.first = self._now()
        return self

    def stop(self):
        """{"redis", "worker", "runners"}: seconds.  A runner that was replaced meanwhile is found
        among the children the worker reaped."""
        last, first = self._now(), self.first
        runners = last["reaped"] - first["reaped"]
        for pid, seconds in last["runners"].items():
            runners += seconds - first["runners"].get(pid, 0)
        for pid, seconds in first["runners"].items():
            if pid not in last["runners"]:
                runners -= seconds
        return {"redis": last["redis"] - first["redis"],
                "worker": last["worker"] - first["worker"], "runners": max(runners, 0)}

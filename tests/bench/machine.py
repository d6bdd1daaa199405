"""What the figures were measured on."""

import os
import platform
import re
import resource
import subprocess
import time

import bl


def _output(argv, **options):
    try:
        return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              **options).stdout.decode().strip()
    except FileNotFoundError:
        return ""


def describe():
    """A dict, in the order in which it is printed."""
    with open("/proc/cpuinfo") as file:
        model = re.search(r"^(?:model name|Hardware)\s*:\s*(.*)$", file.read(), re.MULTILINE)
    with open("/proc/meminfo") as file:
        memory = int(re.search(r"MemTotal:\s*(\d+)", file.read()).group(1))
    executable, argv0 = bl.redis_server()
    redis = re.search(r"v=(\S+)", _output([argv0, "--version"], executable=executable))
    commit = _output(["git", "describe", "--always", "--dirty", "--abbrev=10"], cwd=bl.ROOT)
    return {"cores": os.cpu_count(), "cpu": model.group(1) if model else platform.machine(),
            "memory": "%.1f GiB" % (memory / 1048576), "kernel": platform.release(),
            "redis": redis.group(1) if redis else "?", "commit": commit or "?",
            "load before": "%.2f" % os.getloadavg()[0]}


def text(machine):
    return ", ".join("%s %s" % item for item in machine.items())


TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def _ticks():
    """{name: ticks of all processors since the machine started}, see proc_stat(5)."""
    with open("/proc/stat") as file:
        fields = file.readline().split()[1:9]
    names = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
    return dict(zip(names, map(int, fields)))


def stolen_us():
    """For how long, so far, a processor of this virtual machine had something to run and the host ran
    something else on it.  To 10 ms where a tick is that long; 0 on hardware."""
    return _ticks()["steal"] * TICK_S * 1e6


class Neighbours:
    """How much of the machine others used meanwhile: figures taken beside them are worth less."""

    def __init__(self):
        self.start = self._now()

    @staticmethod
    def _now():
        ticks = _ticks()
        ours = sum(u.ru_utime + u.ru_stime for u in map(
            resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
        busy = (sum(ticks.values()) - ticks["idle"] - ticks["iowait"]) * TICK_S
        return time.monotonic(), busy, ours

    def percent(self):
        """Per cent of all processors, from the start until now.  What we started must have ended."""
        elapsed, busy, ours = (b - a for a, b in zip(self.start, self._now()))
        return max(0, busy - ours) / elapsed / os.cpu_count() * 100

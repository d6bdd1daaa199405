"""What a run of chaos prints: how much of everything, and the times that were seen."""

import collections


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))]


def times(name, seconds, wanted=None):
    """One line: count, p50, p99, max in ms."""
    if not seconds:
        return "%-46s none" % name
    return "%-46s n %4d  p50 %7.1f  p99 %7.1f  max %7.1f ms%s" % (
        name, len(seconds), percentile(seconds, 0.5) * 1e3, percentile(seconds, 0.99) * 1e3,
        max(seconds) * 1e3, "" if wanted is None else "  (wanted: %s)" % wanted)


def counts(title, counter):
    rows = ["    %6d  %s" % (n, name) for name, n in sorted(counter.items(), key=lambda i: -i[1])
            if n]
    return "%s:%s" % (title, "\n" + "\n".join(rows) if rows else " none")


class Summary:
    """The figures of an episode, or of many added up."""

    def __init__(self):
        self.seconds = self.runs = 0
        self.pushes, self.clients = collections.Counter(), collections.Counter()
        self.settled, self.faults = collections.Counter(), collections.Counter()
        self.explained = collections.Counter()

    @classmethod
    def of(cls, checker, producers, seconds):
        self = cls()
        self.seconds, self.runs = seconds, sum(len(runs) for runs in checker.runs.values())
        for job in checker.jobs.values():
            if job.parent is None:
                self.pushes.update(answered=job.ok, refused=job.refused, unknown=job.unknown)
        for producer in producers:
            self.clients.update(producer.by_client)
        self.settled.update(checker.settled)
        self.faults.update(checker.world.log.kinds())
        self.explained.update(checker.explained)
        return self

    def add(self, other):
        self.seconds += other.seconds
        self.runs += other.runs
        for name in ("pushes", "clients", "settled", "faults", "explained"):
            getattr(self, name).update(getattr(other, name))

    def __str__(self):
        return "\n".join([
            "%d s; pushes: %d answered, %d refused, %d unknown; runs of handlers: %d; "
            "faults: %d" % (self.seconds, self.pushes["answered"], self.pushes["refused"],
                            self.pushes["unknown"], self.runs, sum(self.faults.values())),
            counts("pushed by client", self.clients),
            counts("what became of the jobs", self.settled),
            counts("faults", self.faults),
            counts("runs that were repeated or did not end, each explained", self.explained)])

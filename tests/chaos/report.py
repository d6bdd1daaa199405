"""What a run of chaos prints: how much of everything, and the times that were seen."""


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
    if not counter:
        return "%s: none" % title
    return "%s:\n%s" % (title, "\n".join(
        "    %6d  %s" % (n, name) for name, n in sorted(counter.items(), key=lambda i: -i[1])))


def summary(checker, producers, seconds):
    jobs = [job for job in checker.jobs.values() if job.parent is None]
    runs = sum(len(r) for r in checker.runs.values())
    by_client = {}
    for producer in producers:
        for way, n in producer.by_client.items():
            by_client[way] = by_client.get(way, 0) + n
    lines = [
        "%d s; pushes: %d answered, %d refused, %d unknown; runs of handlers: %d" % (
            seconds, sum(j.ok for j in jobs), sum(j.refused for j in jobs),
            sum(j.unknown for j in jobs), runs),
        counts("pushed by client", by_client),
        counts("what became of them", checker.settled),
        counts("faults", checker.world.log.kinds()),
        counts("runs that were repeated or did not end, each explained", checker.explained),
    ]
    return "\n".join(lines)

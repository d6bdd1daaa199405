"""How fast jobs are stored: many at once, and one by one."""

import os
import resource
import subprocess
import time

import bl
from stage import LIST, Stage
from usage import cpu_seconds

DOCUMENT = '{"type":"noop","id":"01a2142b-e3ab-7738-b233-2dc2945f655f","args":{"a":1}}'


def _timed(stage, count, push, whose=resource.RUSAGE_CHILDREN):
    """Figures of `push`, which stores `count` jobs; the client is our children, or ourselves."""

    def client_seconds():
        used = resource.getrusage(whose)
        return used.ru_utime + used.ru_stime

    client, redis, start = client_seconds(), cpu_seconds(stage.redis.pid), time.monotonic()
    push()
    seconds = time.monotonic() - start
    figures = {"jobs/s": count / seconds,
               "cpu client": (client_seconds() - client) * 100000 / count,
               "cpu redis": (cpu_seconds(stage.redis.pid) - redis) * 100000 / count}
    stored = stage.client.llen(LIST)
    if stored != count:
        raise AssertionError("%d jobs of %d were stored" % (stored, count))
    stage.clear()
    return figures


def _bare(stage, count, depth):
    return _timed(stage, count, lambda: stage.ceiling("push", count=count, batch=500, depth=depth))


def _enqueue(stage, count, *arguments):
    return _timed(stage, count, lambda: bl.run_command(
        "enqueue", *arguments, redis=stage.redis, guard=600))


def _processes(stage, count, argv, **options):
    def push():
        for _ in range(count):
            subprocess.run(argv, stdout=subprocess.DEVNULL, check=True, **options)

    return _timed(stage, count, push)


def _python(stage, count):
    client = stage.redis.new_client()

    def push():
        for _ in range(count):
            client.lpush(LIST, DOCUMENT)

    return _timed(stage, count, push, resource.RUSAGE_SELF)


def _rows(bench, results, against):
    rows = bench.rows(results, "jobs/s", "jobs/s", against)
    for who in ("client", "redis"):
        named = {"%s: %s" % (name, who): metrics for name, metrics in results.items()}
        rows += bench.rows(named, "cpu " + who, "CPU s/100k")
    return rows


def run(bench):
    count, singles = bench.scale(2000000, 50000), bench.scale(200, 50)
    with Stage() as stage:
        path = os.path.join(stage.directory, "documents")
        with open(path, "wb") as file:
            subprocess.run([os.path.join(bl.BUILD, "tests/bench/ceiling"), "documents", "--count",
                            str(count)], stdout=file, check=True)
        depth = max((2, 4, 8), key=lambda n: _bare(stage, count // 2, n)["jobs/s"])
        results = bench.interleave({
            "ceiling": lambda: _bare(stage, count, depth),
            "enqueue --bulk": lambda: _enqueue(stage, count, "--bulk", path),
            "enqueue --repeat": lambda: _enqueue(stage, count, "--repeat", count, "noop"),
        })
        bench.table.section(
            "Push, many at once", _rows(bench, results, "ceiling"),
            "%s documents of 100 bytes; ceiling: LPUSH of 500, %d in flight, the best of 2, 4, 8\n"
            "enqueue: the whole process, which checks every document" % (
                "{:,}".format(count), depth))
        env = bl.clean_env({"BUCKETLINE_REDIS_URL": stage.redis.url})
        cli = ["redis-cli", "-s", stage.redis.socket, "lpush", LIST, DOCUMENT]
        results = bench.interleave({
            "redis-cli lpush": lambda: _processes(stage, singles, cli),
            "enqueue": lambda: _processes(stage, singles, [bl.program("enqueue"), "noop", "{}"],
                                          env=env, cwd="/"),
            "python3-redis, one loop": lambda: _python(stage, singles * 20),
        })
        bench.table.section("Push, one by one", _rows(bench, results, "redis-cli lpush"),
                            "redis-cli and enqueue: a process per job, one after the other")

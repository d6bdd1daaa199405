"""How fast jobs are stored: many at once, and one by one."""

import os
import subprocess
import time

import bl
from stage import LIST, Stage


def _bulk(stage, path, count):
    start = time.monotonic()
    bl.run_command("enqueue", "--bulk", path, redis=stage.redis, guard=600)
    seconds = time.monotonic() - start
    stored = stage.client.llen(LIST)
    if stored != count:
        raise AssertionError("%d jobs of %d were stored" % (stored, count))
    stage.clear()
    return {"jobs/s": count / seconds}


def _repeat(stage, count):
    start = time.monotonic()
    bl.run_command("enqueue", "--repeat", count, "noop", redis=stage.redis, guard=600)
    seconds = time.monotonic() - start
    stage.clear()
    return {"jobs/s": count / seconds}


def _ceiling(stage, count, depth):
    got = stage.ceiling("push", count=count, batch=500, depth=depth)
    stage.clear()
    return {"jobs/s": count / got["seconds"]}


def _processes(stage, count):
    """One process of enqueue per job, one after the other."""
    env = bl.clean_env({"BUCKETLINE_REDIS_URL": stage.redis.url})
    argv = [bl.program("enqueue"), "noop", "{}"]
    start = time.monotonic()
    for _ in range(count):
        subprocess.run(argv, stdout=subprocess.DEVNULL, env=env, cwd="/", check=True)
    seconds = time.monotonic() - start
    stage.clear()
    return {"jobs/s": count / seconds}


def _pings(stage, count):
    """What a process per job costs at least: a client that sends one command and ends."""
    argv = ["redis-cli", "-s", stage.redis.socket, "lpush", LIST, '{"type":"noop"}']
    start = time.monotonic()
    for _ in range(count):
        subprocess.run(argv, stdout=subprocess.DEVNULL, check=True)
    seconds = time.monotonic() - start
    stage.clear()
    return {"jobs/s": count / seconds}


def _python(stage, count):
    client = stage.redis.new_client()
    document = '{"type":"noop","id":"01a2142b-e3ab-7738-b233-2dc2945f655f","args":{"a":1}}'
    start = time.monotonic()
    for _ in range(count):
        client.lpush(LIST, document)
    seconds = time.monotonic() - start
    stage.clear()
    return {"jobs/s": count / seconds}


def _fastest_depth(bench, stage):
    count = bench.scale(300000, 50000)
    return max((2, 4, 8), key=lambda depth: _ceiling(stage, count, depth)["jobs/s"])


def run(bench):
    count, singles = bench.scale(500000, 50000), bench.scale(200, 50)
    with Stage() as stage:
        path = os.path.join(stage.directory, "documents")
        with open(path, "wb") as file:
            subprocess.run([os.path.join(bl.BUILD, "tests/bench/ceiling"), "documents", "--count",
                            str(count)], stdout=file, check=True)
        depth = _fastest_depth(bench, stage)
        results = bench.interleave({
            "ceiling": lambda: _ceiling(stage, count, depth),
            "enqueue --bulk": lambda: _bulk(stage, path, count),
            "enqueue --repeat": lambda: _repeat(stage, count),
        })
        bench.table.section(
            "Push, many at once", bench.rows(results, "jobs/s", "jobs/s", "ceiling"),
            "%s documents of 100 bytes; ceiling: LPUSH of 500, %d in flight, the best of 2, 4, 8\n"
            "enqueue: the whole process, which checks every document" % (
                "{:,}".format(count), depth))
        results = bench.interleave({
            "redis-cli lpush": lambda: _pings(stage, singles),
            "enqueue": lambda: _processes(stage, singles),
            "python3-redis, one loop": lambda: _python(stage, singles * 20),
        })
        bench.table.section("Push, one by one",
                            bench.rows(results, "jobs/s", "jobs/s", "redis-cli lpush"),
                            "redis-cli and enqueue: a process per job, one after the other")

"""What makes a Redis unsafe for jobs is said by `worker --check` and, once, by a worker that starts."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from bl import BUILD, Case, Redis, run_command, wait_until
from ledger import build_plugin

SAID = "Redis and the safety of jobs"


class Check(Case):
    def check(self, redis, status=0, config=None, start=True):
        """What --check prints, and what a worker logs at its start."""
        worker = self.worker(redis, dict({
            "runners": 1, "plugins": [os.path.join(BUILD, "jobs/noop.so")]}, **config or {}),
            start=False)
        out = run_command("worker", "-c", worker.config_path, "--check", status=status).out
        if not start:
            return out, ""
        worker.start()
        redis.client.lpush("queue:default", '{"type":"noop"}')
        wait_until(lambda: redis.client.llen("queue:default") == 0, what="a job to be taken")
        worker.drain()
        return out, "".join(line + "\n" for line in worker.log().splitlines() if SAID in line)

    def assertSaid(self, redis, grade, text, level="warn", **more):
        out, log = self.check(redis, **more)
        self.assertRegex(out, r"(?m)^redis: %s: .*%s" % (grade, text))
        self.assertRegex(log, "level=%s .*%s" % (level, text))
        return out, log

    def assertQuiet(self, redis, text, **more):
        out, log = self.check(redis, **more)
        self.assertNotRegex(out, text)
        self.assertNotRegex(log, text)
        return out, log

    def test_the_safest_server_is_said_nothing_of(self):
        out, log = self.check(self.redis(aof="always"))
        self.assertNotRegex(out, r"warning|note|error")
        self.assertEqual(log, "")
        self.assertRegex(out, r"redis: unix:.*version \d.*master.*appendfsync always")
        self.assertRegex(out, r"round trip \d+\.\d\d ms, clocks differ by -?\d+ ms")

    def test_no_persistence_at_all(self):
        self.assertSaid(self.redis(), "warning", "no save points: a restart of Redis loses every job")

    def test_snapshots_alone(self):
        self.assertSaid(self.redis(options={"save": "900 1"}), "warning",
                        r"appendonly is off: .*\(save 900 1\)")

    def test_everysec(self):
        self.assertSaid(self.redis(aof="everysec"), "note", "may lose the last 2 s", level="info")

    def test_no_fsync(self):
        self.assertSaid(self.redis(aof="no"), "warning", "may lose the last 30 s")

    def test_eviction(self):
        self.assertSaid(self.redis(aof="always", maxmemory="100mb",
                                   options={"maxmemory-policy": "allkeys-lru"}),
                        "warning", "maxmemory-policy allkeys-lru: full memory may throw jobs away")
        self.assertSaid(self.redis(aof="always", options={"maxmemory-policy": "volatile-ttl"}),
                        "warning", "maxmemory-policy volatile-ttl: once maxmemory is set")

    def test_disk_writes_that_fail(self):
        data = os.path.join(self.directory, "data")
        os.mkdir(data)
        redis = self.redis(options={"stop-writes-on-bgsave-error": "no", "dir": data})
        redis.client.set("x", 1)
        os.rmdir(data)
        redis.client.execute_command("BGSAVE")
        wait_until(lambda: redis.client.info("persistence")["rdb_last_bgsave_status"] == "err",
                   what="a snapshot to fail")
        self.assertSaid(redis, "warning", "its last write to disk failed")

    def test_a_replica_is_no_place_for_jobs(self):
        master = self.redis(tcp=True)
        replica = self.redis(options={"replicaof": ["127.0.0.1", str(master.port)]})
        wait_until(lambda: replica.client.info("replication")["master_link_status"] == "up",
                   what="the replica")
        out, _ = self.check(replica, status=69, start=False)
        self.assertRegex(out, r"(?m)^redis: error: it is a replica")
        self.assertIn("replica, appendonly", out)

    def test_redis_away_and_configuration_wrong(self):
        redis = self.redis()
        redis.stop()
        out, _ = self.check(redis, status=69, start=False)
        self.assertRegex(out, r"redis: unix:.*: cannot connect")
        redis.start()
        self.check(redis, status=78, start=False,
                   config={"plugins": [os.path.join(self.directory, "missing.so")]})

    def test_another_clock(self):
        shim = build_plugin(self.directory, "shift_clock")
        for shift, words in ((-90, "ahead of"), (90, "behind")):
            redis = Redis(self.directory, aof="always", name="shifted%d" % shift)
            redis.env = dict(os.environ, LD_PRELOAD=shim, BL_SHIFT_S=str(shift))
            self.adopt(redis).start()
            self.assertSaid(redis, "warning", r"clock is (89|90)\.\d s %s Redis" % words)

    def test_config_denied(self):
        redis = self.redis(aof="everysec", options={"maxmemory-policy": "allkeys-lfu"})
        redis.client.execute_command("ACL", "SETUSER", "w", "on", ">pw", "~*", "&*", "+@all",
                                     "-config")
        url = "unix://%s?user=w&password=pw" % redis.socket
        out, log = self.check(redis, config={"redis": {"url": url}})
        self.assertIn("CONFIG GET appendfsync is refused here", out)
        self.assertRegex(out, "note: appendfsync could not be read")
        self.assertRegex(out, "warning: maxmemory-policy allkeys-lfu")  # INFO has it
        self.assertRegex(log, "level=info .*appendfsync could not be read")
        self.assertRegex(log, "level=warn .*maxmemory-policy allkeys-lfu")
        redis = self.redis()
        redis.client.execute_command("ACL", "SETUSER", "w", "on", ">pw", "~*", "&*", "+@all",
                                     "-config")
        out, _ = self.check(redis, config={"redis": {"url": "unix://%s?user=w&password=pw" % redis.socket}})
        self.assertRegex(out, r"warning: appendonly is off \(save points could not be read\)")

    def test_a_worker_says_it_once(self):
        redis = self.redis()
        worker = self.worker(redis, {"runners": 1})
        worker.wait_log(SAID)
        redis.restart()
        worker.wait_log("connected to Redis again")
        redis.restart()
        worker.wait_log("connected to Redis again", 2)
        self.assertEqual(worker.drain(), 0)
        self.assertEqual(worker.log().count(SAID), 1)


if __name__ == "__main__":
    import unittest
    unittest.main()

"""Redis goes away, comes back, forgets, refuses: nothing is lost and the worker always comes back."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

import redis as redis_py

from bl import Case, Redis, run_command, wait_until
from ledger import Ledger

RUN = "{queue:default}:run"
FAST = {"beat": "200ms", "dead_after": "1s"}


class Outage(Case):
    def setUp(self):
        super().setUp()
        self.ledger = Ledger(self.directory)

    def config(self, **more):
        return dict({"queues": ["default"], "runners": 2, "plugins": [self.ledger.plugin]}, **more)

    def assert_exactly_once(self):
        """Every job ended; none ran twice."""
        ended = self.ledger.ended()
        self.assertEqual([id for id in self.ledger.pushed if ended[id] != 1], [])

    def assert_at_least_once(self, redis):
        ended = self.ledger.ended()
        self.assertEqual([id for id in self.ledger.pushed if ended[id] == 0], [])
        self.assertTrue(redis.idle())

    def test_redis_killed_five_times_under_load_loses_nothing(self):
        redis = self.redis(aof="always")
        worker = self.worker(redis, self.config(runners=4))
        for round in range(5):
            self.ledger.push(redis, 200, ms=2)
            redis.kill9()
            redis.start()
            done_before = len(self.ledger.ended())
            self.ledger.push(redis, 1, prefix="next")
            wait_until(lambda: len(self.ledger.ended()) > done_before, what="the next job")
        wait_until(lambda: self.ledger.all_ended() and redis.idle(), what="every job")
        self.assert_at_least_once(redis)
        self.assertTrue(worker.running)
        # Only what was being settled when the power went may have run twice.
        self.assertEqual(redis.client.llen("{queue:default}:dead"), 0)

    def test_redis_that_comes_late_is_waited_for(self):
        redis = self.adopt(Redis(self.directory, name="late"))
        worker = self.worker(redis, self.config(), start=False).start(ready=False)
        worker.wait_log("Redis is away")
        redis.start()
        worker.wait_log(worker.READY)
        self.ledger.push(redis, 3)
        wait_until(self.ledger.all_ended, what="the jobs")

    def test_running_jobs_go_on_over_an_outage_and_are_settled_once(self):
        redis = self.redis(aof="always")
        worker = self.worker(redis, self.config())
        self.ledger.push(redis, 2, ms=800)
        wait_until(lambda: len(self.ledger.began()) == 2, what="both running")
        redis.kill9()
        wait_until(self.ledger.all_ended, what="both, while Redis was away")
        redis.start()
        wait_until(lambda: redis.idle(), what="their settlement")
        self.assert_exactly_once()
        self.assertTrue(worker.running)

    def test_every_connection_killed_again_and_again(self):
        redis = self.redis()
        self.worker(redis, self.config())
        for _ in range(20):
            self.ledger.push(redis, 20, ms=1)
            redis.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        wait_until(lambda: self.ledger.all_ended() and redis.idle(), what="every job")
        self.assert_exactly_once()

    def test_a_frozen_redis_makes_nobody_look_dead(self):
        redis = self.redis()
        workers = [self.worker(redis, self.config(**FAST)) for _ in range(2)]
        self.ledger.push(redis, 2, ms=6000)
        wait_until(lambda: len(self.ledger.began()) == 2, what="both running")
        redis.pause()
        workers[0].wait_log("lost, connecting again")
        wait_until(lambda: "lost, connecting again" in workers[1].log(), what="both to notice")
        redis.resume()
        wait_until(lambda: self.ledger.all_ended() and redis.idle(), what="both jobs")
        self.assert_exactly_once()
        for worker in workers:
            self.assertNotIn("is silent", worker.log())

    def test_scripts_flushed_again_and_again(self):
        redis = self.redis()
        self.worker(redis, self.config())
        for _ in range(20):
            self.ledger.push(redis, 10, ms=1)
            redis.client.script_flush()
        wait_until(lambda: self.ledger.all_ended() and redis.idle(), what="every job")
        self.assert_exactly_once()

    def test_full_memory_stops_only_producers(self):
        redis = self.redis()
        self.worker(redis, self.config())
        self.ledger.push(redis, 2, ms=500)
        self.ledger.push(redis, 20, ms=1)
        self.ledger.push(redis, 1, retry=1, args={"fail": 1},
                         backoff={"type": "fixed", "base": 0.05})
        redis.client.config_set("maxmemory", 1)
        with self.assertRaises(redis_py.exceptions.ResponseError):
            redis.client.lpush("queue:default", "x")
        wait_until(lambda: redis.client.llen("{queue:default}:dead") == 1 and redis.idle(),
                   what="everything to be settled")
        redis.client.config_set("maxmemory", 0)
        self.ledger.push(redis, 3)
        wait_until(self.ledger.all_ended, what="new jobs")

    def test_a_server_turned_replica_and_back(self):
        redis = self.redis(tcp=True)
        worker = self.worker(redis, self.config())
        self.ledger.push(redis, 2, ms=300)
        wait_until(lambda: len(self.ledger.began()) == 2, what="both running")
        redis.client.execute_command("REPLICAOF", "127.0.0.1", "1")
        worker.wait_log("READONLY|replica")
        redis.client.execute_command("REPLICAOF", "NO", "ONE")
        self.ledger.push(redis, 5)
        wait_until(lambda: self.ledger.all_ended() and redis.idle(), what="every job")
        self.assert_exactly_once()

    def test_a_password_changed_and_back(self):
        redis = self.redis()
        worker = self.worker(redis, self.config())
        redis.client.config_set("requirepass", "secret")
        own = redis.new_client(password="secret")
        own.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        worker.wait_log("NOAUTH")
        self.assertNotIn("secret", worker.log())
        own.config_set("requirepass", "")
        own.close()
        redis._drop_client()
        self.ledger.push(redis, 3)
        wait_until(self.ledger.all_ended, what="the jobs")

    def test_a_redis_that_forgot_everything(self):
        redis = self.redis()
        worker = self.worker(redis, self.config())
        self.ledger.push(redis, 2, ms=500)
        wait_until(lambda: len(self.ledger.began()) == 2, what="both running")
        redis.restart(hard=True)  # no persistence
        wait_until(self.ledger.all_ended, what="both to finish")
        self.ledger.push(redis, 3)
        wait_until(lambda: self.ledger.all_ended() and redis.idle(), what="new jobs")
        self.assert_exactly_once()
        self.assertTrue(worker.running)

    def test_a_redis_that_went_back_in_time(self):
        redis = self.redis(aof="always", options={"auto-aof-rewrite-percentage": "0"})
        worker = self.worker(redis, self.config())
        self.ledger.push(redis, 10)
        wait_until(lambda: self.ledger.all_ended() and redis.idle(), what="the first jobs")
        aof = [os.path.join(where, name) for where, _, names in os.walk(redis.directory)
               for name in names if name.endswith(".incr.aof")][0]
        worker.stop()
        redis.kill9()
        # Cut the last acknowledgement off.
        with open(aof, "rb") as file:
            data = file.read()
        at = data.rfind(b"HDEL")
        cut = data.rfind(b"*", 0, at)
        with open(aof, "wb") as file:
            file.write(data[:cut])
        redis.start()
        worker.cont()
        self.ledger.push(redis, 3)
        wait_until(lambda: self.ledger.all_ended() and redis.idle(), what="every job")
        self.assert_exactly_once()  # what was settled before is acknowledged again, not run again

    def test_workers_key_of_another_type_is_renamed_aside(self):
        redis = self.redis()
        worker = self.worker(redis, self.config(**FAST))
        redis.client.delete("bucketline:workers")
        redis.client.set("bucketline:workers", "mine")
        worker.wait_log("renamed aside")
        wait_until(lambda: redis.client.type("bucketline:workers") == b"hash", what="a new hash")
        self.ledger.push(redis, 3)
        wait_until(self.ledger.all_ended, what="the jobs")
        self.assertEqual([redis.client.get(key) for key in redis.client.keys("*workers*")
                          if redis.client.type(key) == b"string"], [b"mine"])

    def test_stopping_while_redis_is_away_keeps_the_outcomes(self):
        redis = self.redis(aof="always")
        worker = self.worker(redis, self.config(shutdown_timeout="1s"))
        self.ledger.push(redis, 2, ms=300)
        wait_until(lambda: len(self.ledger.began()) == redis.client.hlen(RUN) == 2,
                   what="both running")
        redis.kill9()
        wait_until(self.ledger.all_ended, what="both, while Redis was away")
        self.assertEqual(worker.drain(), 0)
        redis.start()
        self.assertEqual(redis.client.hlen(RUN), 2)
        run_command("worker", "-c", worker.config_path, "--burst")
        self.assertTrue(redis.idle())
        self.assert_exactly_once()


if __name__ == "__main__":
    import unittest
    unittest.main()

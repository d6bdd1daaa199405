"""The end of a job that somebody waits for: reply_to, keep, on_success, on_failure, exactly as often
as the job ended."""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from bl import BUILD, Case, wait_until
from life import Life


class Finish(Case):
    def setUp(self):
        super().setUp()
        self.server = self.redis()
        self.client = self.server.client
        self.worker_of_both = self.worker(self.server, {
            "queues": ["default", {"name": "mail", "key": "task_queue"}], "runners": 2,
            "plugins": [os.path.join(BUILD, "jobs/*.so")],
            "handlers": {"says": {"exec": ["/bin/echo", "-n", "plain text"]}}})

    def push(self, **document):
        self.client.lpush("queue:default", json.dumps(document))

    def reply(self, key):
        found = self.client.blpop(key, timeout=30)
        self.assertIsNotNone(found, "no reply on %s" % key)
        return json.loads(found[1])

    def test_a_plain_client_pops_its_answer(self):
        self.push(type="echo", id="a", args={"x": 0.1}, reply_to="reply:a")
        self.assertEqual(self.reply("reply:a"), {
            "id": "a", "type": "echo", "outcome": "done", "attempt": 1, "result": {"x": 0.1}})

    def test_no_answer_goes_without_its_result(self):
        """The worker may see on the shared page that a job is done before the frame with its result
        has come: among short and slow ones that happened to one in ten."""
        count = 5000
        pipe = self.client.pipeline()
        for n in range(count):
            pipe.lpush("queue:default", '{"type":"echo","args":%d,"reply_to":"reply:n"}' % n)
            if n % 3 == 0:
                pipe.lpush("queue:default", '{"type":"sleep","args":{"ms":%d}}' % (n % 5))
        pipe.execute()
        wait_until(lambda: self.client.llen("reply:n") == count, what="the answers")
        answers = [json.loads(a).get("result") for a in self.client.lrange("reply:n", 0, -1)]
        self.assertEqual(sorted(answers, key=str), sorted(range(count), key=str))

    def test_no_answer_waits_for_the_next_look(self):
        """What is left in the outbox while a page of it is read, or relayed, is relayed after it, not
        at the look that is due seconds later.  Time is told by the worker's own beats."""
        self.assertEqual(self.worker_of_both.drain(), 0)
        self.worker_of_both.write_config(beat="200ms", dead_after="60s")
        self.worker_of_both.start()

        def beats():
            return max(map(int, self.client.hvals("bucketline:workers")))

        longest = 0
        for n in range(100):
            begin = beats()
            for i in range(40):
                self.push(type="sleep", args={"ms": i % 10}, reply_to="reply:%d" % n)
            for i in range(40):
                self.reply("reply:%d" % n)
            longest = max(longest, beats() - begin)
        self.assertLess(longest, 15, "beats between push and answer")  # a look takes 50

    def test_a_result_that_is_no_json_is_text(self):
        self.push(type="says", id="b", reply_to="reply:b")
        self.assertEqual(self.reply("reply:b")["result"], "plain text")

    def test_a_failure_is_answered_when_it_is_final(self):
        self.push(type="fail", id="c", args={"message": "no luck"}, retry=1, reply_to="reply:c",
                  backoff={"type": "fixed", "base": 0.05, "jitter": 0})
        answer = self.reply("reply:c")
        self.assertEqual((answer["outcome"], answer["attempt"]), ("dead", 2))
        self.assertEqual(answer["error"]["message"], "no luck")
        self.assertEqual(self.client.llen("reply:c"), 0)
        self.assertEqual(self.client.llen("{queue:default}:dead"), 1)

    def test_an_expired_job_is_answered_too(self):
        self.push(type="echo", id="d", expires_at=1, reply_to="reply:d")
        self.assertEqual(self.reply("reply:d")["outcome"], "expired")

    def test_a_result_is_kept_as_long_as_asked(self):
        self.push(type="echo", id="e", args=[1, 2], keep="1h")
        kept = wait_until(lambda: self.client.get("{queue:default}:result:e"), what="the result")
        self.assertEqual(json.loads(kept)["result"], [1, 2])
        self.assertTrue(3500 < self.client.ttl("{queue:default}:result:e") <= 3600)

    def test_the_result_of_a_fast_job_is_kept_though_a_slow_one_follows(self):
        """Its frames wait in the runner for the next report, which the slow job holds up."""
        life = Life(self, self.server)
        self.worker_of_both.write_config(plugins=[life.plugin], runners=1)
        self.worker_of_both.hup()
        self.worker_of_both.wait_log("configuration reloaded")
        for n in range(100):
            life.push_one("fast%d" % n)
        life.wait_drained(self.worker_of_both)
        for n in range(5):
            self.client.lpush("queue:default", *[life.document("%s%d" % (id, n), **more)
                                                 for id, more in (
                ("first", {}), ("kept", {"keep": "1h", "args": {"result_bytes": 50}}),
                ("slow", {"args": {"ms": 400}}))])
            kept = wait_until(lambda n=n: self.client.get("{queue:default}:result:kept%d" % n),
                              what="the kept result")
            self.assertEqual(len(json.loads(kept)["result"]), 48)
            for fast in range(100):  # the handler counts as fast again
                life.push_one("again%d-%d" % (n, fast))
            life.wait_drained(self.worker_of_both)

    def test_follow_ups_run_after_success_and_only_then(self):
        self.push(type="echo", id="f",
                  on_success={"type": "echo", "id": "f2", "reply_to": "reply:f2",
                              "on_failure": {"type": "echo", "reply_to": "reply:never"}},
                  on_failure={"type": "echo", "reply_to": "reply:never"})
        self.assertEqual(self.reply("reply:f2")["id"], "f2")
        self.assertEqual(self.client.llen("reply:never"), 0)

    def test_a_follow_up_after_failure_goes_to_its_queue(self):
        self.push(type="fail", id="g", retry=0, dead=False,
                  on_success={"type": "echo", "reply_to": "reply:never"},
                  on_failure={"type": "echo", "queue": "mail", "id": "g2", "reply_to": "reply:g2"})
        self.assertEqual(self.reply("reply:g2")["id"], "g2")
        self.assertEqual(self.client.llen("{queue:default}:dead"), 0)
        wait_until(lambda: self.client.llen("{queue:default}:outbox") == 0, what="an empty outbox")

    def test_what_another_worker_left_in_the_outbox_is_relayed(self):
        self.assertEqual(self.worker_of_both.drain(), 0)
        self.push(type="echo", id="h", reply_to="reply:h")
        self.worker_of_both.start()
        self.assertEqual(self.reply("reply:h")["id"], "h")

    def test_a_follow_up_whose_list_is_no_list_waits(self):
        self.client.set("queue:odd", "x")
        self.push(type="echo", id="i", on_success={"type": "echo", "queue": "odd", "id": "i2"})
        self.worker_of_both.wait_log("its list has another type")
        self.client.delete("queue:odd")
        wait_until(lambda: self.client.llen("queue:odd") == 1, what="the follow-up")


if __name__ == "__main__":
    import unittest
    unittest.main()

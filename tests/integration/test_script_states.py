"""No script loses or doubles a job, whatever the keys and the server are like.

Conservation tries every script with every key of every wrong type in every state in which a server
refuses writes: a job must afterwards be somewhere, once, and an error must have changed nothing.
Walk calls them at random.
"""

import os
import random
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import redis as redis_py

from bl import wait_until
from scripts import (BYTES, DAY_MS, DEAD, HAND, HANDS, INFO, LIST, MARK, ME, OTHER, OUTBOX, PARKED,
                     PAUSED, RESULT, RETRY, RUN, SCHEDULED, TARGET, WORKERS, ScriptCase, job, token)


class Call:
    """One way to call a script, and the jobs that it may end when it succeeds."""

    def __init__(self, script, keys, args, ends=(), label=""):
        self.script, self.keys, self.args, self.ends = script, keys, args, ends
        self.name = script + label


CALLS = [
    Call("claim", [LIST, RUN, PAUSED], [ME, 100, 4, BYTES]),
    Call("claim", [LIST, RUN, PAUSED], [ME, 100, 4, 1], label=" of little room"),
    Call("claim", [LIST, RUN, PAUSED], [ME, 1, 4, BYTES], label=" with a token in use"),
    Call("retry", [RUN, RETRY], [token(1), 1000, "1", job("run")]),
    Call("retry", [RUN, SCHEDULED], [token(1), 1000, "0", job("run")], label=" at a time"),
    Call("bury", [RUN, DEAD], [token(1), job("run")]),
    Call("bury", [RUN, PARKED], [token(1), ""], label=" as it is"),
    Call("back", [RUN, LIST], [token(1), job("run"), token(2), "", token(9), job("no")]),
    Call("due", [RETRY, LIST, RUN], [10]),
    Call("beat", [WORKERS], [ME]),
    Call("scan", [RUN], ["0", ME]),
    Call("take", [RUN, PARKED], [job("parked"), "", "0", token(100)], label=" into run"),
    Call("take", [RUN, PARKED], [job("no"), "", "0", token(100)], label=" of what is not there"),
    Call("drop_owner", [WORKERS, INFO], [ME, "7"]),
    Call("take", [RUN, DEAD, LIST], [job("dead"), job("dead"), "-1"]),
    Call("take", [RUN, RETRY, LIST], [job("retry"), job("retry"), "0"], label=" from a zset"),
    Call("take", [RUN, DEAD], [job("dead"), "", "0"], ends=["dead"], label=" for good"),
    Call("finish", [RUN, LIST, DEAD, OUTBOX, RESULT],
         [token(1), "", job("next"), "reply", "follow", "result", "1000"], ends=["run"]),
    Call("finish", [RUN, LIST, DEAD, OUTBOX],
         [token(1), job("run"), job("next"), "", "", "", "0"], label=" of a failure"),
    Call("relay", [MARK, TARGET], [job("next"), "LPUSH", "100", "0"]),
    Call("trim", [RUN, DEAD], ["0"], ends=["dead", "dead2"]),
    Call("hold", [RUN, HAND, LIST], [token(100), job("hand")]),
    Call("hold", [RUN, HAND, LIST], [token(1), job("run")], label=" again"),
    Call("hold", [RUN, HAND, LIST], [token(100), job("no")], label=" of what is not there"),
    Call("let_go", [RUN, HAND, LIST, HANDS], [ME, "", ""]),
    Call("let_go", [RUN, HAND, LIST, HANDS], [ME, "", "waits"], label=" for good"),
    Call("let_go", [RUN, HAND, LIST, HANDS], [OTHER, "waits", ""], label=" before a wait"),
]
JOBS = ["wait", "wait2", "run", "run2", "retry", "later", "dead", "dead2", "parked", "hand", "hand2"]
KINDS = {
    "string": lambda r, key: r.set(key, "x"),
    "list": lambda r, key: r.lpush(key, "x"),
    "hash": lambda r, key: r.hset(key, "f", "x"),
    "zset": lambda r, key: r.zadd(key, {"x": 1}),
    "set": lambda r, key: r.sadd(key, "x"),
}


class Conservation(ScriptCase):
    @classmethod
    def setUpClass(cls):
        cls.server_options = {"dir": tempfile.mkdtemp(prefix="bl", dir="/tmp")}
        super().setUpClass()
        # A failed save, after which MISCONF follows whenever save points are set.
        os.rmdir(cls.server_options["dir"])
        cls.client.bgsave()
        wait_until(lambda: cls.client.info()["rdb_last_bgsave_status"] == "err",
                   what="a save that fails")

    def enter(self, state):
        r = self.client
        if state == "oom":
            r.config_set("maxmemory", "1")
        elif state == "noreplicas":
            r.config_set("min-replicas-to-write", "1")
        elif state == "misconf":
            r.config_set("save", "86400 100000000")
        elif state == "readonly":
            r.execute_command("REPLICAOF", "127.0.0.1", "1")

    def leave(self):
        self.client.execute_command("REPLICAOF", "NO", "ONE")
        self.client.config_set("maxmemory", "0")
        self.client.config_set("min-replicas-to-write", "0")
        self.client.config_set("save", "")

    def fill(self):
        r = self.client
        r.flushall()
        r.rpush(LIST, job("wait2"), job("wait"))
        r.hset(RUN, mapping={token(1): job("run"), token(2): job("run2")})
        r.zadd(RETRY, {job("retry"): 1})
        r.zadd(SCHEDULED, {job("later"): 1})
        r.lpush(DEAD, job("dead"), job("dead2"))
        r.lpush(PARKED, job("parked"))
        r.lpush(HAND, job("hand"), job("hand2"))
        r.hset(HANDS, ME, "waits")
        r.hset(WORKERS, ME, 7)
        r.hset(INFO, ME, "{}")

    def places(self):
        """How often each job is somewhere."""
        counts = dict.fromkeys(JOBS, 0)
        for content in self.dump().values():
            if isinstance(content, dict):
                records = content.values()
            elif isinstance(content, bytes):
                records = [content]
            else:
                records = [r[0] if isinstance(r, tuple) else r for r in content]
            for record in records:
                for name in JOBS:
                    counts[name] += record == job(name)
        return counts

    def attempt(self, call, state, wrong, kind):
        """Runs one combination; returns the reply, or the error as text."""
        self.fill()
        if wrong is not None:
            self.client.delete(wrong)
            KINDS[kind](self.client, wrong)
        counts, before = self.places(), self.dump()
        self.enter(state)
        try:
            reply = self.call(call.script, call.keys, call.args)
        except redis_py.exceptions.RedisError as error:
            reply = "error: %s" % error
        self.leave()
        after = self.places()
        for name in JOBS:
            fewest = 0 if name in call.ends else counts[name]
            self.assertTrue(fewest <= after[name] <= counts[name],
                            "%s was there %d times, is there %d times; reply %r" % (
                                name, counts[name], after[name], reply))
        if isinstance(reply, str):
            self.assertEqual(before, self.dump(), "an error changed something")
        return reply

    def test_every_script_is_tried(self):
        here = os.path.dirname(os.path.abspath(__file__))
        names = {name[:-len(".lua")] for name in os.listdir(os.path.join(here, "../../common/lua"))
                 if name.endswith(".lua")}
        self.assertEqual(names, {call.script for call in CALLS})

    def test_any_key_of_another_type_is_told_when_a_hand_is_looked_into(self):
        for call in CALLS:
            if call.script not in ("hold", "let_go"):
                continue
            for wrong in call.keys:
                if call.name == "hold again" and wrong == HAND:
                    continue  # it is in `run`: the hand is not looked into
                for kind in KINDS:
                    if kind == {RUN: "hash", HANDS: "hash"}.get(wrong, "list"):
                        continue
                    with self.subTest(call.name, wrong=wrong, kind=kind):
                        reply = self.attempt(call, "ok", wrong, kind)
                        self.assertIn("WRONGTYPE", str(reply))

    def test_every_wrong_type_in_every_refusing_state(self):
        for call in CALLS:
            for state in ("ok", "oom", "noreplicas", "misconf", "readonly"):
                for wrong in [None] + call.keys:
                    for kind in KINDS if wrong is not None else [None]:
                        with self.subTest(call.name, state=state, wrong=wrong, kind=kind):
                            self.attempt(call, state, wrong, kind)

    def test_claiming_and_settling_go_on_where_memory_is_full(self):
        for call in CALLS:
            with self.subTest(call.name):
                wanted = self.attempt(call, "ok", None, None)
                if call.script == "relay":
                    continue  # a new push: refused, and tried again
                self.assertEqual(wanted, self.attempt(call, "oom", None, None))

    def test_other_refusing_states_are_told_before_any_effect(self):
        # The client cuts the word READONLY off.
        for state, text in (("noreplicas", "NOREPLICAS"), ("misconf", "MISCONF"),
                            ("readonly", "read only replica")):
            for call in CALLS:
                if call.script == "scan":
                    continue  # reads only
                with self.subTest(call.name, state=state):
                    reply = self.attempt(call, state, None, None)
                    self.assertIsInstance(reply, str)
                    self.assertIn(text, reply)

    def test_push_is_refused_where_memory_is_full(self):
        """The state "oom" is one: else the test above would prove nothing."""
        self.enter("oom")
        try:
            with self.assertRaises(redis_py.exceptions.ResponseError):
                self.client.lpush(LIST, "x")
            with self.assertRaises(redis_py.exceptions.ResponseError):
                self.client.hincrby(WORKERS, ME, 1)
        finally:
            self.leave()


class Walk(ScriptCase):
    """Scripts at random, right and wrong tokens alike, against what should be where."""

    def records(self):
        found = []
        for content in self.dump().values():
            found += content.values() if isinstance(content, dict) else \
                [r[0] if isinstance(r, tuple) else r for r in content]
        return sorted(found)

    def step(self, rnd, live, sequence):
        """One call; returns the job that it ended, if any."""
        held = self.client.hgetall(RUN)
        # Half of the tokens are of claims that ended long ago, or never were.
        name = rnd.choice(sorted(held)) if held and rnd.random() < 0.5 else \
            token(rnd.randrange(sequence + 2))
        record = held.get(name, rnd.choice(live) if live else job("none"))
        verb = rnd.choice(["claim", "retry", "bury", "park", "back", "due", "take", "unpark", "ack",
                           "wait", "hold", "let go"])
        if verb == "claim":
            self.claim(first=sequence, count=rnd.randrange(1, 6), room=rnd.choice([1, 40, BYTES]))
        elif verb == "retry":
            self.call("retry", [RUN, RETRY], [name, rnd.choice([0, DAY_MS]), "1", record])
        elif verb in ("bury", "park"):
            self.call("bury", [RUN, DEAD if verb == "bury" else PARKED], [name, record])
        elif verb == "back":
            self.call("back", [RUN, LIST], [name, rnd.choice(["", record])])
        elif verb == "due":
            self.call("due", [RETRY, LIST, RUN], [rnd.randrange(1, 4)])
        elif verb == "take":
            source = rnd.choice([DEAD, RETRY, PARKED])
            self.call("take", [RUN, source, LIST], [record, record, rnd.choice(["0", "-1"])])
        elif verb == "wait":
            self.client.lmove(LIST, HAND, "RIGHT", "LEFT")
        elif verb == "hold":
            brought = self.client.lindex(HAND, 0)
            if brought is not None and rnd.random() < 0.7:
                record = brought
            if held.get(name, record) == record:
                self.call("hold", [RUN, HAND, LIST], [name, record])
            else:
                self.refused("DUPTOKEN", "hold", [RUN, HAND, LIST], [name, record])
        elif verb == "let go":
            self.call("let_go", [RUN, HAND, LIST, HANDS], [ME, "", rnd.choice(["", "waits"])])
        elif verb == "unpark":
            self.call("take", [RUN, PARKED], [record, "", "0", token(sequence + 9)])
        elif self.client.hdel(RUN, name):
            return record
        return None

    def test_every_job_is_somewhere_once(self):
        for seed in range(6):
            rnd = random.Random(seed)
            self.client.flushall()
            live, sequence = [], 0
            for number in range(250):
                if rnd.random() < 0.2:
                    live.append(job("%d-%d" % (seed, number)))
                    self.client.lpush(LIST, live[-1])
                ended = self.step(rnd, live, sequence)
                sequence += 10
                if ended is not None:
                    live.remove(ended)
                self.assertEqual(sorted(live), self.records(), "seed %d, step %d" % (seed, number))


if __name__ == "__main__":
    unittest.main()

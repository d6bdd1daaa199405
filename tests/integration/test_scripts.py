"""The Lua scripts on a real Redis, called directly.

Conservation tries every script with every key of every wrong type in every state in which a server
refuses writes: a job must afterwards be somewhere, once, and an error must have changed nothing.
The other classes try what each script promises when all is well.
"""

import os
import random
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import redis as redis_py

from bl import Case, lua, wait_until

LIST = b"queue:a"
RUN, RETRY, SCHEDULED, DEAD, PARKED, OUTBOX, PAUSED = (
    b"{queue:a}:" + part for part in
    (b"run", b"retry", b"scheduled", b"dead", b"parked", b"outbox", b"paused"))
RESULT = b"{queue:a}:result:x"
WORKERS, INFO = b"bucketline:workers", b"{bucketline:workers}:info"
MARK, TARGET = b"{queue:b}:relayed:job:1", b"queue:b"

ME, OTHER = b"0" * 31 + b"1", b"0" * 31 + b"2"
BYTES = 256 * 1024
DAY_MS = 86400 * 1000


def token(sequence, owner=ME):
    return owner + b":%d" % sequence


def job(name, size=0):
    """A record; the name makes it recognisable, the padding makes it as large as wanted."""
    text = b'{"job":"%s"' % name.encode()
    return text + b" " * max(0, size - len(text) - 1) + b"}"


class ScriptCase(Case):
    """One server for the whole class, emptied before each test."""

    server_options = {}

    @classmethod
    def setUpClass(cls):
        cls.holder = cls("hold")
        Case.setUp(cls.holder)
        cls.server = cls.holder.redis(options=cls.server_options)
        cls.client = cls.server.client
        cls.addClassCleanup(cls.holder.doCleanups)

    def hold(self):
        """Nothing: the holder of the class's server is a test case that is never run."""

    def setUp(self):
        super().setUp()
        self.client.flushall()

    def call(self, name, keys, args):
        return self.client.eval(lua(name), len(keys), *keys, *args)

    def refused(self, text, name, keys, args):
        """The script answers with an error that begins so (the client cuts a plain ERR off)."""
        with self.assertRaises(redis_py.exceptions.ResponseError) as caught:
            self.call(name, keys, args)
        self.assertTrue(str(caught.exception).startswith(text), str(caught.exception))

    def now_ms(self):
        seconds, micros = self.client.time()
        return seconds * 1000 + micros // 1000

    def waiting(self):
        """The list, in the order in which it will be claimed."""
        return self.client.lrange(LIST, 0, -1)[::-1]

    def claim(self, first=1, count=1, room=BYTES, owner=ME):
        reply = self.call("claim", [LIST, RUN, PAUSED], [owner, first, count, room])
        return reply[0], reply[1], reply[2:]

    def dump(self):
        return dump(self.client)


def dump(client):
    """Everything the server holds."""
    readers = {b"list": lambda k: client.lrange(k, 0, -1), b"hash": client.hgetall,
               b"zset": lambda k: client.zrange(k, 0, -1, withscores=True),
               b"set": client.smembers, b"string": client.get}
    return {key: readers[client.type(key)](key) for key in client.keys()}


# ---- conservation --------------------------------------------------------------------------------


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
]
JOBS = ["wait", "wait2", "run", "run2", "retry", "later", "dead", "dead2", "parked"]
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


# ---- claim ---------------------------------------------------------------------------------------


class Claim(ScriptCase):
    def push(self, *records):
        for record in records:
            self.client.lpush(LIST, record)

    def test_takes_the_longest_waiting_first_under_tokens_in_order(self):
        self.push(job("1"), job("2"), job("3"))
        self.assertEqual((0, 1, [job("1"), job("2")]), self.claim(first=7, count=2))
        self.assertEqual({token(7): job("1"), token(8): job("2")}, self.client.hgetall(RUN))
        self.assertEqual([job("3")], self.waiting())

    def test_takes_what_is_there(self):
        self.push(job("1"))
        self.assertEqual((0, 0, [job("1")]), self.claim(count=10))
        self.assertEqual((0, 0, []), self.claim(first=2, count=10))

    def test_takes_nothing_while_paused(self):
        self.push(job("1"))
        self.client.set(PAUSED, "by hand")
        self.assertEqual((1, 1, []), self.claim())
        self.assertEqual({}, self.client.hgetall(RUN))

    def test_keeps_within_the_bytes(self):
        self.push(*(job(str(i), 100) for i in range(20)))
        self.assertEqual(10, len(self.claim(count=20, room=1000)[2]))
        self.assertEqual(10, len(self.claim(first=50, count=20, room=1099)[2]))

    def test_takes_one_larger_record_alone(self):
        self.push(job("large", 5000), job("small"))
        self.assertEqual([job("large", 5000)], self.claim(count=5, room=1000)[2])
        self.assertEqual([job("small")], self.claim(first=2, count=5, room=1000)[2])

    def test_stops_before_a_record_that_is_too_large(self):
        self.push(job("1"), job("2"), job("large", 5000), job("3"))
        self.assertEqual([job("1"), job("2")], self.claim(count=5, room=1000)[2])

    def test_takes_many_at_once(self):
        self.push(*(job(str(i)) for i in range(300)))
        flag, left, records = self.claim(count=256)
        self.assertEqual((0, 44), (flag, left))
        self.assertEqual([job(str(i)) for i in range(256)], records)
        self.assertEqual(256, self.client.hlen(RUN))

    def test_takes_records_of_any_bytes_and_none(self):
        records = [b"", b"\x00\xff\r\n", b"-ERR no", b"5"]
        self.push(*records)
        self.assertEqual(records, self.claim(count=9)[2])

    def test_a_token_in_use_changes_nothing(self):
        self.push(job("1"), job("2"), job("3"))
        self.client.hset(RUN, token(9), job("held"))
        before = self.dump()
        self.refused("DUPTOKEN " + token(9).decode(), "claim", [LIST, RUN, PAUSED],
                     [ME, 7, 3, BYTES])
        self.assertEqual(before, self.dump())

    def test_sequences_are_exact_up_to_2_to_53(self):
        self.push(job("1"), job("2"))
        self.claim(first=2 ** 53 - 2, count=2)
        self.assertEqual({token(2 ** 53 - 2), token(2 ** 53 - 1)}, set(self.client.hkeys(RUN)))

    def test_equal_documents_stay_two_jobs(self):
        self.push(job("same"), job("same"))
        self.claim(count=2)
        self.assertEqual([job("same")] * 2, self.client.hvals(RUN))
        # Once wrapped, their uid keeps them apart in a zset too.
        for i, uid in ((1, b"a"), (2, b"b")):
            self.call("retry", [RUN, RETRY], [token(i), 0, "1", b'{"uid":"%s"}' % uid])
        self.assertEqual(2, self.client.zcard(RETRY))


# ---- settling ------------------------------------------------------------------------------------


class Settle(ScriptCase):
    def setUp(self):
        super().setUp()
        self.client.hset(RUN, mapping={token(i): job(str(i)) for i in (1, 2, 3)})

    def test_retry_counts_from_redis_clock(self):
        before = self.now_ms()
        self.assertEqual(1, self.call("retry", [RUN, RETRY], [token(1), 60000, "1", job("new")]))
        ((record, score),) = self.client.zrange(RETRY, 0, -1, withscores=True)
        self.assertEqual(job("new"), record)
        self.assertGreaterEqual(score, before + 60000)
        self.assertLessEqual(score, self.now_ms() + 60000)
        self.assertFalse(self.client.hexists(RUN, token(1)))

    def test_schedule_at_a_time(self):
        self.call("retry", [RUN, SCHEDULED], [token(1), 1893456000123, "0", job("new")])
        self.assertEqual(1893456000123, self.client.zscore(SCHEDULED, job("new")))

    def test_a_time_that_is_no_number_changes_nothing(self):
        before = self.dump()
        for at in ("soon", "", "nan"):
            with self.assertRaises(redis_py.exceptions.ResponseError):
                self.call("retry", [RUN, RETRY], [token(1), at, "0", job("new")])
        self.assertEqual(before, self.dump())

    def test_bury_puts_the_newest_left(self):
        self.call("bury", [RUN, DEAD], [token(1), job("a")])
        self.call("bury", [RUN, DEAD], [token(2), job("b")])
        self.assertEqual([job("b"), job("a")], self.client.lrange(DEAD, 0, -1))

    def test_bury_takes_the_bytes_from_run(self):
        self.call("bury", [RUN, PARKED], [token(1), ""])
        self.assertEqual([job("1")], self.client.lrange(PARKED, 0, -1))

    def test_back_keeps_the_order(self):
        self.client.delete(RUN)
        for i in range(6):
            self.client.lpush(LIST, job(str(i)))
        self.claim(first=0, count=4)
        newest_first = [x for i in (3, 2, 1, 0) for x in (token(i), "" if i % 2 else job(str(i)))]
        self.assertEqual(4, self.call("back", [RUN, LIST], newest_first))
        self.assertEqual([job(str(i)) for i in range(6)], self.waiting())
        self.assertEqual(0, self.client.hlen(RUN))

    def test_back_gives_an_empty_record_back(self):
        self.client.hset(RUN, token(4), "")
        self.assertEqual(1, self.call("back", [RUN, LIST], [token(4), ""]))
        self.assertEqual([b""], self.waiting())

    def test_fence_a_settled_claim_can_not_be_settled_again(self):
        after = {
            "retry": ([RUN, RETRY], [token(1), 0, "1", job("1")], 0),
            "bury": ([RUN, DEAD], [token(1), job("1")], 0),
            "back": ([RUN, LIST], [token(1), job("1")], 0),
            "finish": ([RUN, LIST, DEAD, OUTBOX],
                       [token(1), job("1"), job("n"), "o", "p", "", "0"], 0),
        }
        self.assertEqual(1, self.client.hdel(RUN, token(1)))
        before = self.dump()
        for name, (keys, args, wanted) in after.items():
            with self.subTest(name):
                self.assertEqual(wanted, self.call(name, keys, args))
                self.assertEqual(before, self.dump())

    def test_fence_the_new_claim_of_the_same_job_is_not_touched(self):
        self.call("back", [RUN, LIST], [token(1), ""])
        self.claim(first=1, owner=OTHER)
        self.assertEqual(0, self.call("bury", [RUN, DEAD], [token(1), job("1")]))
        self.assertEqual(job("1"), self.client.hget(RUN, token(1, OTHER)))


class Finish(ScriptCase):
    KEYS = [RUN, LIST, DEAD, OUTBOX]

    def setUp(self):
        super().setUp()
        self.client.hset(RUN, token(1), job("1"))

    def test_does_all_in_one_step(self):
        self.assertEqual(1, self.call("finish", self.KEYS + [RESULT], [
            token(1), "", job("next"), "reply", "follow", "result", "60000"]))
        self.assertEqual([job("next")], self.waiting())
        self.assertEqual([b"follow", b"reply"], self.client.lrange(OUTBOX, 0, -1))
        self.assertEqual(b"result", self.client.get(RESULT))
        self.assertTrue(0 < self.client.pttl(RESULT) <= 60000)
        self.assertFalse(self.client.exists(RUN, DEAD))

    def test_does_only_what_is_wanted(self):
        self.assertEqual(1, self.call("finish", self.KEYS, [token(1), "", "", "", "", "", "0"]))
        self.assertEqual({}, self.dump())

    def test_buries_with_its_follow_up(self):
        self.call("finish", self.KEYS, [token(1), job("dead"), job("next"), "", "", "", "0"])
        self.assertEqual({DEAD: [job("dead")], LIST: [job("next")]}, self.dump())

    def test_a_bad_time_changes_nothing(self):
        before = self.dump()
        for ms in ("0", "-1", "x", "", "1e400"):
            self.refused("the time to keep", "finish", self.KEYS + [RESULT],
                         [token(1), "", job("n"), "", "", "r", ms])
        self.assertEqual(before, self.dump())


class Relay(ScriptCase):
    def test_pushes_once(self):
        args = [job("1"), "LPUSH", "86400", "0"]
        self.assertEqual(1, self.call("relay", [MARK, TARGET], args))
        self.assertEqual(0, self.call("relay", [MARK, TARGET], args))
        self.assertEqual([job("1")], self.client.lrange(TARGET, 0, -1))
        self.assertEqual(-1, self.client.ttl(TARGET))
        self.assertTrue(0 < self.client.ttl(MARK) <= 86400)

    def test_a_reply_goes_right_and_expires(self):
        self.client.rpush(TARGET, "first")
        self.call("relay", [MARK, TARGET], ["second", "RPUSH", "100", "86400"])
        self.assertEqual([b"first", b"second"], self.client.lrange(TARGET, 0, -1))
        self.assertTrue(0 < self.client.ttl(TARGET) <= 86400)

    def test_a_target_of_another_type_is_not_marked(self):
        self.client.set(TARGET, "x")
        self.refused("WRONGTYPE", "relay", [MARK, TARGET], ["x", "LPUSH", "100", "0"])
        self.assertFalse(self.client.exists(MARK))


# ---- due -----------------------------------------------------------------------------------------


class Due(ScriptCase):
    def due(self, most=200, zset=RETRY):
        return tuple(self.call("due", [zset, LIST, RUN], [most]))

    def test_nothing_is_there(self):
        self.assertEqual((0, -1), self.due())

    def test_moves_in_due_order_behind_what_waits(self):
        now = self.now_ms()
        self.client.lpush(LIST, job("waits"))
        self.client.zadd(RETRY, {job("b"): now - 1, job("a"): now - 2, job("c"): now,
                                 job("far"): now + DAY_MS})
        moved, wait = self.due()
        self.assertEqual(3, moved)
        self.assertTrue(0 < wait <= DAY_MS, wait)
        self.assertEqual([job(n) for n in ("waits", "a", "b", "c")], self.waiting())
        self.assertEqual([job("far")], self.client.zrange(RETRY, 0, -1))

    def test_is_bounded_in_items(self):
        self.client.zadd(RETRY, {job(str(i)): i for i in range(450)})
        self.assertEqual((7, 0), self.due(most=7))
        self.assertEqual((200, 0), self.due(most=10000))
        self.assertEqual((200, 0), self.due())
        self.assertEqual((43, -1), self.due())
        self.assertEqual([job(str(i)) for i in range(450)], self.waiting())

    def test_is_bounded_in_bytes(self):
        self.client.zadd(RETRY, {job(str(i), 60000): i for i in range(9)})
        self.assertEqual((4, 0), self.due())
        self.assertEqual((4, 0), self.due())
        self.assertEqual((1, -1), self.due())

    def test_moves_one_larger_record_alone(self):
        self.client.zadd(RETRY, {job("large", 300000): 1, job("2"): 2, job("3"): 3})
        self.assertEqual((1, 0), self.due())
        self.assertEqual((2, -1), self.due())

    def test_odd_scores(self):
        self.client.zadd(RETRY, {job("never"): "inf", job("always"): "-inf"})
        moved, wait = self.due()
        self.assertEqual(1, moved)
        self.assertGreater(wait, 10 ** 15)
        self.client.zadd(RETRY, {job("soon"): self.now_ms() + 3600000.25})
        self.assertTrue(3590000 < self.due()[1] <= 3600001)


# ---- who lives, what is claimed ---------------------------------------------------------------------


class Owners(ScriptCase):
    def test_beat_counts(self):
        self.assertEqual([1, 2, 3], [self.call("beat", [WORKERS], [ME]) for _ in range(3)])

    def test_a_worker_that_beat_again_is_not_dropped(self):
        self.client.hset(WORKERS, mapping={ME: 5, OTHER: 6})
        self.client.hset(INFO, mapping={ME: "{}", OTHER: "{}"})
        self.assertEqual(0, self.call("drop_owner", [WORKERS, INFO], [ME, "4"]))
        self.assertEqual(0, self.call("drop_owner", [WORKERS, INFO], [ME, "-1"]))
        self.assertEqual(1, self.call("drop_owner", [WORKERS, INFO], [ME, "5"]))
        self.assertEqual({WORKERS: {OTHER: b"6"}, INFO: {OTHER: b"{}"}}, self.dump())

    def test_who_is_known_to_be_gone_is_dropped_wherever_the_counter_stands(self):
        self.client.hset(WORKERS, mapping={ME: 5, OTHER: 6})
        self.assertEqual(1, self.call("drop_owner", [WORKERS, INFO], [ME, "-2"]))
        self.assertEqual(1, self.call("drop_owner", [WORKERS, INFO], [ME, "-2"]))
        self.assertEqual({WORKERS: {OTHER: b"6"}}, self.dump())

    def test_an_unlisted_worker_is_dropped(self):
        self.client.hset(INFO, ME, "{}")
        self.assertEqual(1, self.call("drop_owner", [WORKERS, INFO], [ME, "-1"]))
        self.assertEqual({}, self.dump())


class Scan(ScriptCase):
    def scan(self, owner):
        """All tokens of an owner, and how many calls it took."""
        cursor, found, pages = b"0", set(), 0
        while True:
            cursor, *tokens = self.call("scan", [RUN], [cursor, owner])
            found.update(tokens)
            pages += 1
            if cursor == b"0":
                return found, pages

    def fill(self, count, size=0):
        for owner in (ME, OTHER):
            self.client.hset(RUN, mapping={
                token(i, owner): job(str(i), size) for i in range(count)})

    def test_nothing_is_claimed(self):
        self.assertEqual((set(), 1), self.scan(ME))

    def test_names_the_tokens_of_one_owner_or_all(self):
        for count in (3, 2000):  # a listpack, and a hash table
            self.fill(count)
            mine = {token(i) for i in range(count)}
            self.assertEqual(mine, self.scan(ME)[0])
            self.assertEqual(mine | {token(i, OTHER) for i in range(count)}, self.scan("")[0])

    def test_goes_by_pages(self):
        self.fill(2000)
        self.assertGreater(self.scan(ME)[1], 5)

    def test_looks_at_few_large_records_at_once(self):
        self.fill(20, 200000)
        found, pages = self.scan(ME)
        self.assertEqual(20, len(found))
        self.assertGreater(pages, 8)


# ---- parked, dead ---------------------------------------------------------------------------------


class Repair(ScriptCase):
    def test_take_into_run_takes_one_of_equal_records(self):
        self.client.rpush(PARKED, job("a"), job("b"), job("a"))
        self.assertEqual(1, self.call("take", [RUN, PARKED], [job("a"), "", "0", token(1)]))
        self.assertEqual({token(1): job("a")}, self.client.hgetall(RUN))
        self.assertEqual([job("b"), job("a")], self.client.lrange(PARKED, 0, -1))

    def test_take_into_run_what_another_was_faster_to_take(self):
        self.client.rpush(PARKED, job("b"))
        before = self.dump()
        self.assertEqual(0, self.call("take", [RUN, PARKED], [job("a"), "", "0", token(1)]))
        self.assertEqual(before, self.dump())

    def test_take_into_run_under_a_token_in_use_changes_nothing(self):
        self.client.rpush(PARKED, job("a"))
        self.client.hset(RUN, token(1), job("held"))
        before = self.dump()
        self.refused("DUPTOKEN", "take", [RUN, PARKED], [job("a"), "", "0", token(1)])
        self.assertEqual(before, self.dump())

    def test_take_moves_one_of_equal_records(self):
        self.client.rpush(DEAD, job("a"), job("b"), job("a"))
        take = lambda side: self.call("take", [RUN, DEAD, LIST], [job("a"), job("new"), side])
        self.assertEqual(1, take("-1"))
        self.assertEqual([job("a"), job("b")], self.client.lrange(DEAD, 0, -1))
        self.assertEqual(1, take("1"))
        self.assertEqual(0, take("1"))
        self.assertEqual({DEAD: [job("b")], LIST: [job("new")] * 2}, self.dump())

    def test_take_removes(self):
        self.client.rpush(DEAD, job("a"), job("b"))
        self.assertEqual(1, self.call("take", [RUN, DEAD], [job("a"), "", "0"]))
        self.assertEqual({DEAD: [job("b")]}, self.dump())

    def test_take_from_a_zset(self):
        self.client.zadd(SCHEDULED, {job("a"): 1, job("b"): 2})
        self.assertEqual(1, self.call("take", [RUN, SCHEDULED, LIST], [job("b"), job("n"), "1"]))
        self.assertEqual(0, self.call("take", [RUN, SCHEDULED, LIST], [job("b"), job("n"), "1"]))
        self.assertEqual({SCHEDULED: [(job("a"), 1)], LIST: [job("n")]}, self.dump())

    def test_take_finds_what_has_moved_a_little(self):
        self.client.rpush(DEAD, *(job(str(i)) for i in range(100)))
        take = lambda i, place: self.call("take", [RUN, DEAD], [job(str(i)), "", place])
        self.assertEqual([1, 1, 1, 1], [take(0, "16"), take(99, "-17"), take(20, "3"), take(50, "-34")])
        self.assertEqual([0, 0, 0, 0], [take(1, "17"), take(98, "0"), take(10, "-500"), take(10, "500")])
        self.assertEqual([job(str(i)) for i in range(100) if i not in (0, 20, 50, 99)],
                         self.client.lrange(DEAD, 0, -1))

    def test_take_from_the_middle_of_a_long_list(self):
        count = 30000
        before = [job(str(i)) for i in range(count)]
        self.client.rpush(DEAD, *before)
        for where, ends in ((9000, 0), (-9000, 0), (15000, 33), (-10050, 33)):
            left = self.client.lrange(DEAD, 0, -1)
            record = left[where]
            self.assertEqual(1, self.call("take", [RUN, DEAD, LIST], [record, record, where]))
            self.assertEqual(record, self.client.lpop(LIST))
            left.remove(record)
            after = self.client.lrange(DEAD, 0, -1)
            self.assertEqual(sorted(left), sorted(after))
            # In order but for the strides, in which an older record comes to stand further left.
            place = {r: i for i, r in enumerate(after)}
            moved = {r for i, r in enumerate(left) if place[r] < i}
            self.assertLessEqual(len(moved), ends)
            self.assertEqual([r for r in left if r not in moved], [r for r in after if r not in moved])

    def test_take_within_one_list_loses_nothing(self):
        self.client.rpush(DEAD, job("a"), job("b"))
        self.call("take", [RUN, DEAD, DEAD], [job("b"), job("b"), "-1"])
        self.assertEqual([job("b"), job("a")], self.client.lrange(DEAD, 0, -1))

    def test_trim_removes_the_oldest_in_steps(self):
        self.client.lpush(DEAD, *(job(str(i)) for i in range(450)))
        trim = lambda keep: self.call("trim", [RUN, DEAD], [keep])
        self.assertEqual([200, 200, 40, 0], [trim(10) for _ in range(4)])
        self.assertEqual([job(str(i)) for i in range(449, 439, -1)],
                         self.client.lrange(DEAD, 0, -1))
        self.assertEqual(10, trim(0))
        self.assertEqual({}, self.dump())

    def test_trim_to_no_number_changes_nothing(self):
        self.client.lpush(DEAD, job("a"))
        for keep in ("", "x", "-1"):
            self.refused("the cap is no", "trim", [RUN, DEAD], [keep])
        self.assertEqual({DEAD: [job("a")]}, self.dump())


# ---- all together ---------------------------------------------------------------------------------


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
        verb = rnd.choice(["claim", "retry", "bury", "park", "back", "due", "take", "unpark", "ack"])
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

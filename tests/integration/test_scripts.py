"""What each Lua script promises, called directly on a real Redis.

That nothing is lost whatever a server refuses is tried in test_script_states.py.
"""

import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import redis as redis_py

from scripts import (BYTES, DAY_MS, DEAD, HAND, HANDS, INFO, LIST, MARK, ME, OTHER, OUTBOX, PARKED,
                     PAUSED, RESULT, RETRY, RUN, SCHEDULED, TARGET, WORKERS, ScriptCase, job, token)


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


# ---- the hand ------------------------------------------------------------------------------------


class Hand(ScriptCase):
    def push(self, *records):
        for record in records:
            self.client.lpush(LIST, record)

    def wait(self):
        return self.client.blmove(LIST, HAND, 1, "RIGHT", "LEFT")

    def held(self):
        """The hand, in the order in which its records were brought."""
        return self.client.lrange(HAND, 0, -1)[::-1]

    def hold(self, number, record):
        return self.call("hold", [RUN, HAND, LIST], [token(number), record])

    def let_go(self, says="", who=ME, goes=""):
        return self.call("let_go", [RUN, HAND, LIST, HANDS], [who, says, goes])

    def test_hold_takes_what_the_wait_brought(self):
        self.push(job("1"), job("2"), job("3"))
        self.assertEqual(2, self.hold(7, self.wait()))
        self.assertEqual({RUN: {token(7): job("1")}, LIST: [job("3"), job("2")]}, self.dump())
        self.assertEqual(1, self.hold(8, self.wait()))
        self.assertEqual(0, self.hold(9, self.wait()))
        self.assertEqual({RUN: {token(i): job(str(i - 6)) for i in (7, 8, 9)}}, self.dump())

    def test_hold_answers_the_same_again_and_changes_nothing(self):
        self.push(job("1"), job("2"), job("3"))
        self.hold(7, self.wait())
        second = self.wait()
        before = self.dump()
        self.assertEqual(1, self.hold(7, job("1")))
        self.assertEqual(before, self.dump())
        for record in (second, job("no"), ""):
            self.refused("DUPTOKEN", "hold", [RUN, HAND, LIST], [token(7), record])
            self.assertEqual(before, self.dump())

    def test_hold_of_what_the_hand_does_not_hold_changes_nothing(self):
        self.push(job("1"), job("2"), job("3"))
        self.hold(7, self.wait())
        self.wait()
        before = self.dump()
        # already in `run`, in the list only, nowhere, nearly the one in the hand, nothing
        for record in (job("1"), job("3"), job("no"), job("2") + b" ", ""):
            self.assertEqual(-1, self.hold(8, record))
            self.assertEqual(before, self.dump())

    def test_hold_with_an_empty_hand(self):
        self.assertEqual(-1, self.hold(1, job("1")))
        self.assertEqual({}, self.dump())

    def test_fence_what_was_let_go_can_not_be_held(self):
        self.push(job("1"))
        record = self.wait()
        self.assertEqual(1, self.let_go(who=OTHER, goes="waits"))
        self.assertEqual(-1, self.hold(1, record))
        self.assertEqual((0, 0, [record]), self.claim(first=1, owner=OTHER))
        self.assertEqual(-1, self.hold(1, record))
        self.assertEqual({RUN: {token(1, OTHER): record}}, self.dump())

    def test_fence_what_is_held_is_not_let_go(self):
        self.push(job("1"))
        self.hold(1, self.wait())
        self.assertEqual(0, self.let_go(goes="waits"))
        self.assertEqual({RUN: {token(1): job("1")}}, self.dump())

    def test_hold_takes_one_of_equal_records(self):
        self.push(job("same"), job("other"), job("same"))
        for _ in range(3):
            self.wait()
        self.assertEqual(0, self.hold(1, job("same")))
        self.assertEqual([job("other"), job("same")], self.held())
        self.assertEqual(0, self.hold(2, job("same")))
        self.assertEqual([job("other")], self.held())
        self.assertEqual({token(1): job("same"), token(2): job("same")}, self.client.hgetall(RUN))

    def test_hold_finds_the_newest_16(self):
        self.client.lpush(HAND, *(job(str(i)) for i in range(20)))
        self.assertEqual(-1, self.hold(1, job("3")))
        self.assertEqual([0, 0], [self.hold(2, job("4")), self.hold(3, job("19"))])
        self.assertEqual({token(2): job("4"), token(3): job("19")}, self.client.hgetall(RUN))
        self.assertEqual([job(str(i)) for i in range(20) if i not in (4, 19)], self.held())

    def test_hold_records_of_any_bytes_and_none(self):
        records = [b"", b"\x00\xff\r\n", b"-ERR no", b"5"]
        self.push(*records)
        for number, record in enumerate(records):
            self.assertEqual(record, self.wait())
            self.assertEqual(3 - number, self.hold(number, record))
        self.assertEqual({RUN: {token(i): r for i, r in enumerate(records)}}, self.dump())

    def test_let_go_keeps_the_order(self):
        self.push(*(job(str(i)) for i in range(6)))
        for _ in range(4):
            self.wait()
        self.assertEqual(4, self.let_go(""))
        self.assertEqual([job(str(i)) for i in range(6)], self.waiting())
        self.assertFalse(self.client.exists(HAND))
        self.assertEqual(0, self.let_go(""))
        self.assertEqual([job(str(i)) for i in range(6)], self.waiting())

    def test_let_go_gives_an_empty_record_back(self):
        self.push("", job("1"))
        self.wait()
        self.wait()
        self.assertEqual(2, self.let_go(goes="waits"))
        self.assertEqual({LIST: [job("1"), b""]}, self.dump())

    def test_let_go_names_and_forgets_the_owner(self):
        def named(says="", who=ME, goes=""):
            self.assertEqual(0, self.let_go(says, who, goes))
            return self.client.hgetall(HANDS)
        self.assertEqual({}, named())
        self.assertEqual({ME: b"waits"}, named("waits"))
        self.assertEqual({ME: b"waits"}, named("waits"))
        self.assertEqual({ME: b"waits", OTHER: b"waits"}, named("waits", OTHER))
        self.assertEqual({ME: b"waits", OTHER: b"waits"}, named())
        self.assertEqual({ME: b"waits", OTHER: b"waits"}, named(goes="died"))
        self.assertEqual({OTHER: b"waits"}, named(goes="waits"))
        self.assertEqual({OTHER: b"waits"}, named(goes="waits"))
        self.assertEqual({OTHER: b"died"}, named("died", OTHER))
        self.assertEqual({OTHER: b"died"}, named(who=OTHER, goes="waits"))
        self.assertEqual({}, named(who=OTHER, goes="died"))
        self.assertEqual({}, self.dump())

    def test_let_go_names_nobody_whose_list_is_of_another_type(self):
        """A wait there is refused: nothing of it would ever lie in the hand."""
        self.client.set(LIST, "x")
        self.refused("WRONGTYPE", "let_go", [RUN, HAND, LIST, HANDS], [ME, "waits", ""])
        self.assertEqual({LIST: b"x"}, self.dump())

    def test_let_go_is_bounded_and_a_hand_that_holds_something_stays_named(self):
        self.client.hset(HANDS, ME, "waits")
        self.client.lpush(HAND, *(job(str(i)) for i in range(40)))
        for left in (24, 8):
            self.assertEqual(16, self.let_go(goes="waits"))
            self.assertEqual(left, self.client.llen(HAND))
            self.assertEqual({ME: b"waits"}, self.client.hgetall(HANDS))
        self.assertEqual(8, self.let_go(goes="waits"))
        self.assertEqual({LIST: [job(str(i)) for i in range(39, -1, -1)]}, self.dump())


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


if __name__ == "__main__":
    unittest.main()

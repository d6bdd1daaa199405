#!/usr/bin/python3
"""Proves the checks: plants one mistake after the other in a copy of the tree, and each must be
caught.

    bugs.py [--only NAME,...] [--list]

First every hunt runs on the copy as it is and must find nothing.  Then, for each mistake, its text
is replaced (found exactly once, or this fails), the programs are built, and its hunts run until one
catches it.  Prints a table: mistake, caught by.  Exits 1 if one was not caught.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from checker import CHECKS

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PYTHON = sys.executable


def trap(name):
    return "trap: " + name, ["tests/chaos/traps.py", "Traps." + name]


def hand(name):
    return "hand: " + name, ["tests/integration/test_hand.py", "Hand." + name]


def cuts(session):
    return "byte cuts: " + session, ["tests/chaos/bytecuts.py", "--stride", "41", "--jobs", "8",
                                     "--only", session]


def chaos(groups, seconds=15):
    return "chaos: " + groups, ["tests/chaos/chaos.py", "--seed", "5", "--seconds", str(seconds),
                                "--only", groups]


ARRIVES_LATE = trap("test_a_settlement_that_arrives_after_anothers")
ARRIVES_MEANWHILE = trap("test_a_settlement_that_arrives_while_another_runs_the_job")
RETURNED = trap("test_what_had_returned_is_settled_by_the_next_worker")
DECIDED = trap("test_what_was_decided_is_settled_by_the_next_worker")
OUTAGE = trap("test_outcomes_outlast_an_outage")
RUNS_AGAIN = trap("test_what_ran_when_its_worker_was_killed_runs_again")
IDENTICAL = trap("test_identical_documents_stay_apart")
FULL = trap("test_full_memory_stops_nothing_but_pushes")
ORPHANS = trap("test_nothing_outlives_its_worker")

FENCE = "if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end\n"
DIRTY = "redis.call('HDEL', KEYS[1], '')\n"
OTHERS_TOKEN = FENCE.replace("return 0", """
  local all = redis.call('HGETALL', KEYS[1])
  if not all[1] then return 0 end
  ARGV[1] = all[1]
""")

# Sends HSET run token record by hand: the second command of a claim in two steps.
REGISTER = """        struct buf planted = BUF_INIT;
        char token[TOKEN_MAX_BYTES];
        size_t token_len = token_format(&w->inc, first + (uint64_t)i, token);
        buf_printf(&planted, "*4\\r\\n$4\\r\\nHSET\\r\\n$%zu\\r\\n%s\\r\\n$%zu\\r\\n%s\\r\\n$%zu\\r\\n",
                   strlen(q->keys.run), q->keys.run, token_len, token, bytes.len);
        buf_add_span(&planted, bytes);
        buf_add_str(&planted, "\\r\\n");
        ignore_result(redis_link_send(w->main, buf_span(&planted), stats_ignore, NULL));
        buf_done(&planted);
"""
MOVE_ON = """    if (due.moved > 0) {
        q->maybe = true;
        for (int64_t i = 0; i < due.moved; i++) {
            struct buf planted = BUF_INIT;
            buf_printf(&planted, "*5\\r\\n$5\\r\\nLMOVE\\r\\n$%zu\\r\\n%s:limbo\\r\\n$%zu\\r\\n%s\\r\\n"
                       "$5\\r\\nRIGHT\\r\\n$4\\r\\nLEFT\\r\\n", strlen(q->keys.list) + 6,
                       q->keys.list, strlen(q->keys.list), q->keys.list);
            ignore_result(redis_link_send(w->main, buf_span(&planted), on_planted, NULL));
            buf_done(&planted);
        }
    }
"""
NO_ANSWER = """static void on_planted(void *arg, const struct redisReply *reply)
{
    (void)arg;
    (void)reply;
}

"""
INCLUDE_STATS = '#include "worker/stats.h"\n#include "worker/worker.h"\n'
WORKER_H = '#include "worker/worker.h"\n'

# name -> ([(file, old, new)], [hunt])
BUGS = {
    "no fence: the token is not checked": (
        [("common/lua/%s.lua" % name, FENCE, "") for name in ("retry", "bury", "finish")],
        [ARRIVES_LATE, ARRIVES_MEANWHILE]),
    "settled by id, whoever's claim it is": (
        [("common/lua/%s.lua" % name, FENCE, OTHERS_TOKEN) for name in
         ("retry", "bury", "finish")],
        [ARRIVES_MEANWHILE]),
    "popped, then registered": (
        [("common/lua/claim.lua", "redis.call('HSET', KEYS[2], unpack(fields))\n", ""),
         ("common/lua/claim.lua", "redis.call('HSETNX', KEYS[2], token, record) == 1", "true"),
         ("worker/claim.c", WORKER_H, INCLUDE_STATS),
         ("worker/claim.c", "        (void)intake(w, q, first + (uint64_t)i, bytes);\n",
          REGISTER + "        (void)intake(w, q, first + (uint64_t)i, bytes);\n"),
         ("worker/claim.c", "#include <stdlib.h>\n", "#include <stdlib.h>\n#include <string.h>\n")],
        [cuts("done"), chaos("wire")]),
    "acknowledged before it runs": (
        [("worker/dispatch.c", WORKER_H, INCLUDE_STATS),
         ("worker/dispatch.c", "        runner_send(r, c);\n",
          "        struct buf planted = BUF_INIT;\n"
          "        store_cmd_ack(&planted, &c->queue->keys, &w->inc, &c->seq, 1);\n"
          "        ignore_result(redis_link_send(w->main, buf_span(&planted), stats_ignore, NULL));\n"
          "        buf_done(&planted);\n"
          "        runner_send(r, c);\n")],
        [RUNS_AGAIN]),
    "claimed again under the same tokens": (
        [("common/lua/claim.lua", "  if held then return redis.error_reply('DUPTOKEN ' .. tokens[i]) "
          "end\n", ""),
         ("common/lua/claim.lua", "  if not new then return redis.error_reply('DUPTOKEN ' .. token) "
          "end\n", ""),
         ("worker/claim.c", "        return; /* the connection's end is handled where it is seen */\n",
          "        w->next_seq = r->first_seq;\n        return;\n"),
         ("worker/reconcile.c", "        w->next_seq = seq + 1; /* cannot be, unless somebody wrote "
          "there: never reuse it */\n", "        (void)0;\n")],
        [cuts("three"), chaos("wire")]),
    "no reconcile": (
        [("worker/reconcile.c", "    if (c->once || c->hold",
          "    if (w != NULL || c->once || c->hold"),
         ("worker/reconcile.c", "    if (request_covers(w, seq))\n        return;\n",
          "    if (w != NULL)\n        return;\n")],
        [cuts("done"), chaos("wire")]),
    "no dirty write first": (
        [("common/lua/%s.lua" % name, DIRTY, "") for name in ("retry", "bury", "finish")],
        [FULL]),
    "no uid in the zsets": (
        [("worker/settle.c", "        memcpy(rec->uid, token, strlen(token) + 1);\n",
          "        (void)token;\n        memcpy(rec->uid, \"0:1\", 4);\n")],
        [IDENTICAL]),
    "outcomes dropped after a while": (
        [("worker/settle.c", "        if (c->decision.action == SETTLE_ACK && c->outcome == NULL)\n",
          "        if (mono_ms() - c->claimed_mono_ms > 2500) {\n"
          "            settle_forget(w, c);\n            continue;\n        }\n"
          "        if (c->decision.action == SETTLE_ACK && c->outcome == NULL)\n")],
        [OUTAGE]),
    "the journal is not read": (
        [("worker/recover.c", "    if (r->journal == NULL) {\n        e->kind = ENDING_LOST;\n",
          "    if (r->inc.hex[0] != 0) {\n        e->kind = ENDING_LOST;\n")],
        [RETURNED]),
    "the slot is freed before the answer": (
        [("worker/settle.c", "    claim_list_append(&w->settle.to_send, c);\n    worker_wake(w);\n}\n",
          "    pool_release_slot(w, c);\n"
          "    claim_list_append(&w->settle.to_send, c);\n    worker_wake(w);\n}\n")],
        [DECIDED]),
    "a takeover acknowledges what failed": (
        [("worker/recover.c", "        dispatch_read_slot(s, &c->message, e, text);\n",
          "        dispatch_read_slot(s, &c->message, e, text);\n"
          "        e->outcome = OUTCOME_DONE;\n")],
        [RETURNED]),
    "due in two steps": (
        [("common/lua/due.lua", "    redis.call('LPUSH', KEYS[2], record)\n",
          "    redis.call('LPUSH', KEYS[2] .. ':limbo', record)\n"),
         ("worker/schedule.c", "    if (due.moved > 0) {\n        CRASH_POINT(\"due.moved\");\n"
          "        q->maybe = true;\n    }\n", MOVE_ON),
         ("worker/schedule.c", "static void due_answer(", NO_ANSWER + "static void due_answer(")],
        [cuts("later"), chaos("wire")]),
    "no death signal, and a blind guard": (
        [("worker/child.c", "    if (s->die_with_parent) {\n", "    if (s->die_with_parent && 0) {\n"),
         ("worker/guard.c", "        if (n == 1 && parent_is_gone(g)) {\n",
          "        if (n == 1 && parent_is_gone(g) && 0) {\n")],
        [ORPHANS]),
    "jobs begin by constants, not by the beat": (
        [("worker/runner/main.c", "r->config.dead_after_ms * 3 / 5", "6000")],
        [("fencing: slow beat", ["tests/chaos/fencing.py",
                                 "Long.test_a_slow_beat_hinders_no_job"])]),
    "settled before it lies in run": (
        [("worker/settle.c", "    if (c->hold == HOLD_NONE)\n        settle_send(w, c);\n",
          "    settle_send(w, c);\n"),
         ("worker/hand.c", "    if (c->state == CLAIM_SETTLING)\n        settle_send(w, c);\n", "")],
        [hand("test_scripts_are_forgotten_between_two_jobs")]),
    "a hand is let go while it may be filled": (
        [("worker/hand.c", " || wait_under_way(a)", "")],
        [hand("test_nothing_is_let_go_while_a_wait_is_under_way"), cuts("three"), chaos("wire")]),
    "a hand is forgotten when its wait breaks": (
        [("worker/wait.c", "        hand_doubt(wt->queue);\n"
          "        reconcile_connection_died(", "        reconcile_connection_died("),
         ("worker/hand.c", "        q->hand_doubtful |= q->hand_named;\n", "")],
        [hand("test_what_a_broken_wait_left_is_let_go_at_once"), cuts("done"), chaos("wire")]),
    "a dead worker's hand is forgotten": (
        [("worker/recover.c", "    if (r->last_page && !r->let_go) {\n        let_go(r);\n        return;\n    }\n",
          "    (void)let_go;\n")],
        [hand("test_a_killed_workers_hand_is_let_go_by_the_next_one")]),
    "nobody looks for hands of owners unlisted": (
        [("worker/recover.c", "        store_cmd_hands(&cmd, &w->queues[i]->keys);\n"
          "        if (redis_link_send(w->main, buf_span(&cmd), on_audit_hands, w) < 0)\n"
          "            break;\n", "        (void)on_audit_hands;\n")],
        [hand("test_a_dead_owners_hand_that_is_named_is_let_go")]),
    "a thawed worker begins at once": (
        [("worker/dispatch.c", "    if (w->ready.first == NULL || liveness_doubtful(w) ||\n",
          "    if (w->ready.first == NULL ||\n")],
        [("fencing: begins nothing", ["tests/chaos/fencing.py", "Quick.test_a_claim_that_was_lost_"
                                      "before_it_was_heard_of_begins_nothing"])]),
}


def planted(directory, changes):
    """{name: text} with the changes made; each old text must be there exactly once."""
    texts = {}
    for name, old, new in changes:
        if name not in texts:
            with open(os.path.join(directory, name)) as file:
                texts[name] = file.read()
        if texts[name].count(old) != 1:
            raise ValueError("%s: found %d times instead of once:\n%s" % (
                name, texts[name].count(old), old))
        texts[name] = texts[name].replace(old, new)
    return texts


class Copy:
    """The tree, with what was built, elsewhere."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="blbugs", dir="/tmp")
        for name in ("common", "worker", "jobs", "enqueue", "jobctl", "scripts", "tests"):
            shutil.copytree(os.path.join(ROOT, name), os.path.join(self.directory, name))
        for name in ("Makefile", "VERSION"):
            shutil.copy2(os.path.join(ROOT, name), self.directory)
        self.build()

    def build(self):
        done = subprocess.run(["make", "-j2", "programs"], cwd=self.directory, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              env=dict(os.environ, MAKEFLAGS="", MAKELEVEL=""))
        if done.returncode != 0:
            raise SystemExit("it cannot be built:\n" + done.stdout[-4000:])

    def plant(self, changes):
        """Returns what undoes it."""
        before = {}
        for name, text in planted(self.directory, changes).items():
            path = os.path.join(self.directory, name)
            with open(path) as file:
                before[path] = file.read()
            with open(path, "w") as file:
                file.write(text)

        def undo():
            for path, text in before.items():
                with open(path, "w") as file:
                    file.write(text)
        return undo

    def hunt(self, argv):
        """(caught, what was said)."""
        env = dict(os.environ, BUCKETLINE_BUILD=os.path.join(self.directory, "build"),
                   PYTHONDONTWRITEBYTECODE="1", PYTHONWARNINGS="ignore",
                   BUCKETLINE_TEST_SLOW="0.4")
        done = subprocess.run([PYTHON] + argv, cwd=self.directory, env=env, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace")
        return done.returncode != 0, done.stdout

    def remove(self):
        shutil.rmtree(self.directory, ignore_errors=True)


def evidence(text):
    """The line of a hunt's output that says what was found."""
    for pattern in (r"\[(?:%s)\] .*" % "|".join(CHECKS), r"^FAILED  .*", r"^\w*Error: .*"):
        found = re.search(pattern, text, re.MULTILINE)
        if found:
            return found.group(0)[:150]
    return "exit status"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--no-control", action="store_true", help="trust the tree as it is")
    options = parser.parse_args()
    chosen = [name for name in BUGS if not options.only or
              any(part in name for part in options.only.split(","))]
    if options.list:
        print("\n".join(chosen))
        return 0
    copy, missed = Copy(), 0
    try:
        hunts = {} if options.no_control else \
            {hunt[0]: hunt[1] for name in chosen for hunt in BUGS[name][1]}
        for name, argv in hunts.items():
            caught, said = copy.hunt(argv)
            if caught:
                print("the hunt %s finds something without a mistake:\n%s" % (name, said[-6000:]))
                return 1
        print("%d hunts find nothing in the tree as it is" % len(hunts), flush=True)
        for name in chosen:
            missed += not try_one(copy, name)
    finally:
        copy.remove()
    print("%d mistakes planted, %d caught" % (len(chosen), len(chosen) - missed))
    return 1 if missed else 0


def try_one(copy, name):
    changes, hunts = BUGS[name]
    began = time.monotonic()
    undo = copy.plant(changes)
    copy.build()
    caught, by, said = False, "NOTHING", ""
    for by, argv in hunts:
        caught, said = copy.hunt(argv)
        if caught:
            break
    undo()
    copy.build()
    print("%-40s %s  (%d s)\n    %s" % (name, by if caught else "NOT CAUGHT",
                                       time.monotonic() - began, evidence(said)), flush=True)
    return caught


if __name__ == "__main__":
    sys.exit(main())

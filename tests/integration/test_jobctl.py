"""The jobctl command against a real Redis: what it shows, and that what it mends is neither
lost nor doubled."""

import base64
import json
import os
import pty
import select
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from bl import GUARD_SECONDS, SLOW, Case, clean_env, program, run_command, wait_until

QUEUE, DEAD, PARKED = "queue:default", "{queue:default}:dead", "{queue:default}:parked"
SCHEDULED, RETRY, RUN = "{queue:default}:scheduled", "{queue:default}:retry", "{queue:default}:run"
DOCUMENT = b'{"type":"mail","id":"m1", "args":{"n":12345678901234567890,"x":0.1,"e":[]} }'
WORKER = b"0123456789abcdef0123456789abcdef"


def wrap(document, **head):
    """A record as a worker writes it."""
    members = {"v": 1, "job_bytes": len(document)}
    members.update(head)
    return json.dumps(members, separators=(",", ":")).encode()[:-1] + b',"job":' + document + b"}"


def wrap_raw(data, **head):
    try:
        name, text = "raw", data.decode()
    except UnicodeDecodeError:
        name, text = "raw64", base64.b64encode(data).decode()
    members = {"v": 1, "raw_bytes": len(data)}
    members.update(head)
    members[name] = text
    return json.dumps(members, separators=(",", ":"), ensure_ascii=False).encode()


def head_of(record):
    """The members of a wrapper without the document."""
    members = json.loads(record)
    del members["job"], members["job_bytes"]
    return members


def letter(n, type="mail", **more):
    head = {"uid": "%s:%d" % (WORKER.decode(), n), "id": "j%d" % n, "attempt": 26,
            "dead_at": 1795000000000 + n, "reason": "retries-spent",
            "error": {"kind": "failed", "message": "boom %d" % n, "attempt": 26,
                      "at": 1795000000000},
            "history": [{"kind": "failed", "message": "boom", "attempt": 25, "at": 1794000000000}]}
    head.update(more)
    return wrap(b'{"type":"%s","args":[%d]}' % (type.encode(), n), **head)


class JobctlCase(Case):
    def setUp(self):
        super().setUp()
        self.server = self.redis()
        self.client = self.server.client

    def jobctl(self, *args, **options):
        options.setdefault("redis", self.server)
        return run_command("jobctl", *args, **options)

    def on_terminal(self, answer, *args, before=lambda: None):
        """Runs jobctl with a terminal as standard input; (status, output, errors)."""
        master, slave = pty.openpty()
        popen = subprocess.Popen([program("jobctl")] + list(args), stdin=slave,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/",
                                 env=clean_env({"BUCKETLINE_REDIS_URL": self.server.url}))
        os.close(slave)
        try:
            asked = b""
            while not asked.endswith(b"[y/N] "):
                ready = select.select([popen.stderr], [], [], GUARD_SECONDS * SLOW)[0]
                chunk = os.read(popen.stderr.fileno(), 4096) if ready else b""
                self.assertTrue(chunk, "it asks nothing: %r" % asked)
                asked += chunk
            before()
            os.write(master, answer)
            out, err = popen.communicate(timeout=GUARD_SECONDS * SLOW)
            return popen.returncode, out.decode(), (asked + err).decode()
        finally:
            if popen.poll() is None:
                popen.kill()
                popen.wait()
            os.close(master)


class Queues(JobctlCase):
    def fill(self):
        now = self.client.time()[0] * 1000
        self.client.lpush(QUEUE, b'{"type":"a","enqueued_at":%d}' % (now - 90000), b"{}")
        self.client.hset(RUN, WORKER + b":1", b"{}")
        self.client.zadd(SCHEDULED, {wrap(b"{}", uid="1"): now, wrap(b"{}", uid="2"): now,
                                     wrap(b"{}", uid="3"): now})
        self.client.zadd(RETRY, {wrap(b"{}", uid="4"): now})
        self.client.lpush(PARKED, "{}", "{}")
        self.client.lpush("{tasks}:dead", "{}")

    def test_counts(self):
        self.fill()
        default, tasks = self.jobctl("--json", "queues").json()
        self.assertGreaterEqual(default.pop("oldest_wait_ms"), 89000)
        self.assertEqual(default, {
            "queue": "default", "list": QUEUE, "waiting": 2, "running": 1, "scheduled": 3,
            "retry": 1, "parked": 2, "dead": 0, "outbox": 0, "paused": False})
        self.assertEqual((tasks["queue"], tasks["list"], tasks["dead"]), ("tasks", "tasks", 1))
        lines = self.jobctl("queues").out.splitlines()
        self.assertEqual(lines[0].split()[:8], ["QUEUE", "WAITING", "RUNNING", "SCHEDULED", "RETRY",
                                                "PARKED", "DEAD", "OLDEST"])
        self.assertEqual(lines[1].split()[:7], ["default", "2", "1", "3", "1", "2", "0"])
        self.assertEqual(len(lines), 3)

    def test_named_and_configured(self):
        self.fill()
        yaml = os.path.join(self.directory, "worker.yaml")
        with open(yaml, "w") as f:
            f.write("redis:\n  url: %s\nqueues:\n  - name: work\n    key: tasks\n" %
                    self.server.url)
        os.chmod(yaml, 0o600)
        found = self.jobctl("-c", yaml, "--json", "queues", redis=None).json()
        self.assertEqual([(q["queue"], q["dead"]) for q in found], [("work", 1)])
        found = self.jobctl("-c", yaml, "--json", "--scan", "queues", redis=None).json()
        self.assertEqual([q["queue"] for q in found], ["work", "default"])
        found = self.jobctl("--json", "queues", "nobody", "default").json()
        self.assertEqual([(q["queue"], q["waiting"]) for q in found],
                         [("nobody", 0), ("default", 2)])
        found = self.jobctl("--json", "--key", "tasks", "queues", "x").json()
        self.assertEqual([(q["queue"], q["dead"]) for q in found], [("x", 1)])

    def test_a_prefix(self):
        self.client.lpush("app:queue:a", "{}")
        self.client.lpush("queue:b", "{}")
        self.client.lpush("app[1]*:queue:c", "{}")
        for prefix, names in (("app:", ["a"]), ("app[1]*:", ["c"]), ("", ["b"]), ("zzz", [])):
            found = self.jobctl("--json", "--prefix", prefix, "queues").json()
            self.assertEqual([q["queue"] for q in found], names)

    def test_nothing_there(self):
        self.assertEqual(self.jobctl("--json", "queues").json(), [])
        self.assertEqual(self.jobctl("--json", "dead", "ls").json(), [])
        self.assertEqual(self.jobctl("--json", "workers").json(), [])
        self.assertEqual(self.jobctl("queues").out, "")

    def test_a_key_of_a_wrong_type(self):
        self.client.lpush(QUEUE, "{}")
        self.client.set(DEAD, "x")
        [q] = self.jobctl("--json", "queues").json()
        self.assertEqual((q["waiting"], q["dead"]), (1, None))
        self.assertIn("WRONGTYPE", q["problem"])
        self.assertIn("WRONGTYPE", self.jobctl("dead", "ls", status=None).err)

    def test_pause_and_resume(self):
        self.jobctl("pause", "default", "--reason", "disk full")
        self.assertEqual(self.client.get("{queue:default}:paused"), b"disk full")
        [q] = self.jobctl("--json", "queues").json()
        self.assertEqual((q["paused"], q["pause_reason"]), (True, "disk full"))
        self.assertIn("paused: disk full", self.jobctl("queues").out)
        self.assertIn("is resumed", self.jobctl("resume", "default").out)
        self.assertIn("was not paused", self.jobctl("resume", "default").out)
        self.assertEqual(self.client.dbsize(), 0)

    def test_workers(self):
        self.client.hset("bucketline:workers", WORKER, 17)
        self.client.hset("{bucketline:workers}:info", mapping={
            WORKER: b'{"host":"h1","pid":42,"queues":["a","b"],"runners":4,"busy":3,'
                    b'"started_at_ms":1795000000000,"phase":"running"}',
            b"f" * 32: b"{}", b"nonsense": b"{}"})
        one, gone = self.jobctl("--json", "workers").json()
        self.assertEqual((one["incarnation"], one["beat"], one["info"]["pid"]),
                         (WORKER.decode(), 17, 42))
        self.assertEqual((gone["incarnation"], gone["beat"]), ("f" * 32, None))
        lines = self.jobctl("workers").out.splitlines()
        for word in (WORKER.decode(), "h1", "42", "a,b", "4", "3", "17", "running",
                     "2026-11-18T11:06:40Z"):
            self.assertIn(word, lines[1].split())


class Letters(JobctlCase):
    def test_ls(self):
        self.client.lpush(DEAD, letter(1), letter(2, type="pdf"),
                          wrap_raw(b"\xff\xfe", uid="u3", id="j3", reason="invalid"),
                          DOCUMENT, b"no JSON \x1b[2J")
        found = self.jobctl("--json", "dead", "ls").json()
        self.assertEqual([l["id"] for l in found], ["", "m1", "j3", "j2", "j1"])
        self.assertEqual([l["type"] for l in found], ["", "mail", "", "pdf", "mail"])
        self.assertEqual(found[0]["document"], "no JSON \x1b[2J")
        self.assertEqual(found[1]["document"], DOCUMENT.decode())
        self.assertEqual(base64.b64decode(found[2]["document_base64"]), b"\xff\xfe")
        self.assertEqual(found[4]["error"]["message"], "boom 1")
        self.assertEqual(len(found[4]["history"]), 1)
        text = self.jobctl("dead", "ls", "default").out
        self.assertNotIn("\x1b", text)
        self.assertIn("boom 2", text)
        found = self.jobctl("--json", "dead", "ls", "--type", "mail").json()
        self.assertEqual([l["id"] for l in found], ["m1", "j1"])
        self.assertEqual(self.jobctl("--json", "dead", "ls", "other").json(), [])

    def test_pages(self):
        self.client.lpush(DEAD, *[letter(n) for n in range(731)])
        self.client.lpush("{queue:other}:dead", *[letter(n) for n in range(1000, 1010)])

        def ids(*options):
            return [l["id"] for l in self.jobctl("--json", "dead", "ls", *options).json()]

        default = ["j%d" % n for n in range(730, -1, -1)]
        other = ["j%d" % n for n in range(1009, 999, -1)]
        self.assertEqual(ids(), default[:50])
        self.assertEqual(ids("--limit", "0"), default + other)
        self.assertEqual(ids("--limit", "20", "--offset", "725"), (default + other)[725:745])
        self.assertEqual(ids("--limit", "100", "--offset", "735"), other[4:])
        self.assertEqual(ids("-q", "other", "--limit", "3"), other[:3])
        result = self.jobctl("dead", "ls")
        self.assertEqual(len(result.out.splitlines()), 51)
        self.assertIn("--offset 50", result.err)
        self.assertEqual(len(self.jobctl("dead", "ls", "--limit", "0").out.splitlines()), 742)

    def test_show(self):
        self.client.lpush(DEAD, wrap(DOCUMENT, uid="u1", id="j1", attempt=3, crashes=2,
                                     reason="crashed", dead_at=1795000000000,
                                     error={"kind": "crash", "message": "killed by signal 11",
                                            "attempt": 3, "at": 1795000000000,
                                            "stderr": "one\ntwo \x1b[1m"}))
        for id in ("j1", "m1", "u1"):  # the record's id, the document's, the uid
            result = self.jobctl("dead", "show", id)
            self.assertEqual(result.raw_out.splitlines()[-1], DOCUMENT)
            for text in ("crashed", "killed by signal 11", "2026-11-18T11:06:40.000Z"):
                self.assertIn(text, result.out)
            self.assertNotIn("\x1b", result.out)
            self.assertEqual(self.jobctl("--json", "dead", "show", id).json()["document"],
                             DOCUMENT.decode())
        self.client.lpush(DEAD, letter(5, history=[{"kind": "timeout", "attempt": 25},
                                                   {"kind": "failed", "attempt": 26}]))
        lines = self.jobctl("dead", "show", "j5").out.splitlines()
        self.assertEqual([" ".join(l.split()) for l in lines if "kind" in l],
                         ["kind failed", "kind timeout (it took too long)"])
        self.jobctl("dead", "show", "nobody", status=65)
        self.jobctl("dead", "show", status=64)

    def test_retry(self):
        self.client.lpush(DEAD, letter(1), letter(2, crashes=3, lost=1), letter(3))
        self.assertEqual(self.jobctl("dead", "retry", "j2").out, "1 retried\n")
        self.assertEqual(self.client.lrange(DEAD, 0, -1), [letter(3), letter(1)])
        [record] = self.client.lrange(QUEUE, 0, -1)
        self.assertTrue(record.endswith(b',"job":{"type":"mail","args":[2]}}'))
        self.assertEqual(head_of(record), {
            "v": 1, "uid": WORKER.decode() + ":2", "id": "j2",
            "error": json.loads(letter(2))["error"], "history": json.loads(letter(2))["history"]})
        self.jobctl("dead", "retry", "j2", status=65)

    def test_retry_of_all_kinds(self):
        self.client.lpush(DEAD, wrap(DOCUMENT, uid="u1", attempt=3), DOCUMENT,
                          wrap_raw(b'{"type":', uid="u2"), wrap_raw(b"\xff\xfe", uid="u3"),
                          b'{"v":99,"job_bytes":2,"job":{}}')
        result = self.jobctl("--json", "dead", "retry", "--all", status=65)
        self.assertEqual(result.json(), {"retried": 4, "gone": 0, "refused": 1})
        self.assertIn("newer version", result.err)
        waiting = self.client.lrange(QUEUE, 0, -1)[::-1]
        self.assertTrue(waiting[0].endswith(b',"job":' + DOCUMENT + b"}"))
        self.assertEqual(waiting[1:], [DOCUMENT, b'{"type":', b"\xff\xfe"])
        self.assertEqual(self.client.lrange(DEAD, 0, -1), [b'{"v":99,"job_bytes":2,"job":{}}'])

    def test_retry_of_many_in_order(self):
        self.client.lpush(DEAD, *[letter(n, type="pdf" if n % 3 == 0 else "mail")
                                  for n in range(1000)])
        self.client.lpush("{queue:other}:dead", letter(5000))
        self.assertEqual(self.jobctl("dead", "retry", "--all", "--type", "mail", "-q",
                                     "default").out, "666 retried\n")
        self.assertEqual([head_of(r)["id"] for r in self.client.lrange(QUEUE, 0, -1)[::-1]],
                         ["j%d" % n for n in range(1000) if n % 3 != 0])
        self.assertEqual(self.client.lrange(DEAD, 0, -1)[::-1],
                         [letter(n, type="pdf") for n in range(0, 1000, 3)])
        self.assertEqual(self.jobctl("dead", "retry", "--all").out, "335 retried\n")
        self.assertEqual(self.client.llen(QUEUE), 1000)
        self.assertEqual(self.client.llen("queue:other"), 1)
        self.assertFalse(self.client.exists(DEAD))

    def test_one_id_of_several(self):
        same = [letter(n, id="same") for n in (1, 2, 3)]
        self.client.lpush(DEAD, *same)
        for verb in ("show", "retry"):
            result = self.jobctl("dead", verb, "same", status=65)
            self.assertIn("3 of them", result.err)
            for n in (1, 2, 3):
                self.assertIn("%s:%d" % (WORKER.decode(), n), result.err)
        self.assertEqual(self.client.llen(DEAD), 3)
        self.jobctl("dead", "retry", "%s:2" % WORKER.decode())
        self.assertEqual(self.client.lrange(DEAD, 0, -1), [same[2], same[0]])
        self.assertEqual(len(self.jobctl("--json", "dead", "show", "same", "--all").json()), 2)
        self.assertEqual(self.jobctl("dead", "rm", "same", "--all", "--yes").out, "2 removed\n")
        self.assertFalse(self.client.exists(DEAD))

    def test_rm(self):
        self.client.lpush(DEAD, letter(1), letter(2, type="pdf"), letter(3))
        for args in (["j1"], ["--all"]):
            self.assertIn("--yes", self.jobctl("dead", "rm", *args, status=64).err)
        self.assertEqual(self.client.llen(DEAD), 3)
        self.assertEqual(self.jobctl("dead", "rm", "j1", "--yes").out, "1 removed\n")
        self.assertEqual(self.client.lrange(DEAD, 0, -1), [letter(3), letter(2, type="pdf")])
        self.jobctl("dead", "rm", "--all", "--type", "pdf", "-y")
        self.assertEqual(self.client.lrange(DEAD, 0, -1), [letter(3)])
        self.assertEqual(self.jobctl("dead", "rm", "--all", "--yes").out, "1 removed\n")
        self.assertEqual(self.client.dbsize(), 0)
        self.assertEqual(self.jobctl("dead", "rm", "--all", "--yes").out, "0 removed\n")

    def test_rm_asks_on_a_terminal(self):
        self.client.lpush(DEAD, letter(1), letter(2))
        for answer in (b"\n", b"n\n", b"\x04"):
            status, out, err = self.on_terminal(answer, "dead", "rm", "--all")
            self.assertEqual((status, out), (0, ""))
            self.assertIn("Remove 2 dead letters for good?", err)
        self.assertEqual(self.client.llen(DEAD), 2)
        status, out, err = self.on_terminal(b"y\n", "dead", "rm", "j1")
        self.assertEqual((status, out), (0, "1 removed\n"))
        self.assertIn("Remove 1 dead letter for good?", err)
        self.assertEqual(self.client.lrange(DEAD, 0, -1), [letter(2)])

    def test_a_server_that_forgot_the_script(self):
        self.client.lpush(DEAD, letter(1))
        status, out, err = self.on_terminal(b"y\n", "dead", "rm", "--all",
                                            before=self.client.script_flush)
        self.assertEqual((status, out), (0, "1 removed\n"), err)

    def test_what_others_took_meanwhile(self):
        self.client.lpush(DEAD, letter(1), letter(2))

        def take_one():
            self.client.lrem(DEAD, 1, letter(1))

        status, out, err = self.on_terminal(b"y\n", "dead", "rm", "--all", before=take_one)
        self.assertEqual((status, out), (0, "1 removed\n"), err)
        self.assertFalse(self.client.exists(DEAD))

    def test_parked(self):
        record = wrap(DOCUMENT, uid="u1", id="m1", attempt=2, parked_at=1795000000000,
                      reason="unknown-type")
        self.client.lpush(PARKED, record)
        [found] = self.jobctl("--json", "parked", "ls").json()
        self.assertEqual((found["place"], found["reason"]), ("parked", "unknown-type"))
        self.assertIn("unknown-type", self.jobctl("parked", "show", "m1").out)
        self.jobctl("parked", "retry", "m1")
        [record] = self.client.lrange(QUEUE, 0, -1)
        self.assertEqual(head_of(record), {"v": 1, "uid": "u1", "id": "m1", "attempt": 2})
        self.assertFalse(self.client.exists(PARKED))

    def test_what_is_due_later(self):
        for noun, key in (("scheduled", SCHEDULED), ("retries", RETRY)):
            records = [wrap(b'{"type":"t","args":[%d]}' % n, uid="u%d" % n, id="s%d" % n, attempt=1)
                       for n in range(300)]
            self.client.zadd(key, {r: 1795000000000 + n for n, r in enumerate(records)})
            found = self.jobctl("--json", noun, "ls", "--limit", "0").json()
            self.assertEqual([l["id"] for l in found], ["s%d" % n for n in range(300)])
            self.assertEqual(found[0]["due_at"], "2026-11-18T11:06:40.000Z")
            self.jobctl(noun, "run", "s7")
            self.assertEqual(self.client.lrange(QUEUE, 0, -1), [records[7]])
            self.jobctl(noun, "rm", "s8", "--yes")
            self.assertEqual(self.client.zcard(key), 298)
            self.assertEqual(self.jobctl(noun, "run", "--all").out, "298 retried\n")
            self.assertEqual(self.client.lrange(QUEUE, 0, -1)[::-1],
                             [records[7]] + records[:7] + records[9:])
            self.client.delete(QUEUE)

    def test_large_letters(self):
        records = [wrap(b'{"type":"t","args":"%s"}' % (b"%d" % n * 900000), uid="u%d" % n)
                   for n in range(10)]
        self.client.lpush(DEAD, *records)
        found = self.jobctl("--json", "dead", "ls", "--limit", "0").json()
        self.assertEqual([len(l["document"]) for l in found], [900022] * 10)
        self.assertEqual(self.jobctl("dead", "retry", "--all").out, "10 retried\n")
        self.assertEqual(self.client.llen(QUEUE), 10)


class Usage(JobctlCase):
    def test_help_of_everything(self):
        self.assertIn("dead retry", self.jobctl("--help", redis=None).out)
        self.assertIn("dead retry", self.jobctl("dead", "--help", redis=None).out)
        for words in (["queues"], ["pause"], ["resume"], ["workers"], ["dead", "ls"],
                      ["dead", "show"], ["dead", "retry"], ["dead", "rm"], ["parked", "ls"],
                      ["scheduled", "run"], ["retries", "run"]):
            text = self.jobctl(*words, "--help", redis=None).out
            self.assertIn("Usage: jobctl [OPTION...] " + " ".join(words), text)
            self.assertIn("--url", text)
        self.assertIn("--limit", self.jobctl("dead", "ls", "--help", redis=None).out)
        self.assertNotIn("--limit", self.jobctl("workers", "--help", redis=None).out)

    def test_wrong_usage(self):
        for words in ([], ["nope"], ["dead"], ["dead", "nope"], ["queues", "--type", "x"],
                      ["dead", "retry"], ["dead", "retry", "a", "b"], ["pause"], ["workers", "x"],
                      ["dead", "ls", "--limit", "x"], ["--nope"], ["queues", "a{b}"],
                      ["--key", "x", "queues"]):
            result = self.jobctl(*words, status=64)
            self.assertTrue(result.err.startswith("jobctl: "), result)

    def test_no_redis(self):
        self.server.stop()
        self.jobctl("queues", status=69)

    def test_the_password_is_not_repeated(self):
        url = "unix://%s?password=s3cret-word" % self.server.socket
        result = self.jobctl("-u", url, "queues", redis=None, status=69)
        self.assertNotIn("s3cret-word", result.err)


if __name__ == "__main__":
    unittest.main()

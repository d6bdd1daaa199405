"""The enqueue command against a real Redis: what is pushed, byte for byte, and what it says when
Redis does not take it."""

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import unittest
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from bl import GUARD_SECONDS, SLOW, Case, clean_env, program, run_command, wait_until

QUEUE = "queue:default"
ARGS = '{"n":12345678901234567890,"x":0.1,"e":[]}'


class EnqueueCase(Case):
    def setUp(self):
        super().setUp()
        self.server = self.redis(**self.server_options())
        self.client = self.server.client

    def server_options(self):
        return {}

    def enqueue(self, *args, **options):
        options.setdefault("redis", self.server)
        return run_command("enqueue", *args, **options)

    def spawn(self, *args, env=None, stderr=subprocess.PIPE):
        """An enqueue whose standard input the test feeds."""
        variables = {"BUCKETLINE_REDIS_URL": self.server.url} if env is None else env
        popen = subprocess.Popen([program("enqueue")] + list(args), stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, stderr=stderr, cwd="/",
                                 env=clean_env(variables))
        self.addCleanup(self._reap, popen)
        return popen

    def _reap(self, popen):
        if popen.poll() is None:
            popen.kill()
        popen.wait()
        for stream in (popen.stdin, popen.stdout, popen.stderr):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    pass

    def queue(self, key=QUEUE):
        """Documents, the first that will be taken first."""
        return self.client.lrange(key, 0, -1)[::-1]

    def file(self, name, content):
        path = os.path.join(self.directory, name)
        with open(path, "wb") as f:
            f.write(content if isinstance(content, bytes) else content.encode())
        return path

    def feed(self, popen, data):
        """Writes and closes its input; standard output and error, decoded, and the exit status."""
        out, err = popen.communicate(data, timeout=GUARD_SECONDS * SLOW)
        return popen.returncode, out.decode(), (err or b"").decode()


class OneJob(EnqueueCase):
    def test_the_id_alone_is_printed(self):
        result = self.enqueue("email.send", ARGS)
        self.assertRegex(result.out, r"\A[0-9a-f-]{36}\n\Z")
        self.assertEqual(result.err, "")
        self.assertEqual(uuid.UUID(result.out.strip()).version, 7)
        [document] = self.queue()
        self.assertEqual(json.loads(document)["id"], result.out.strip())
        self.assertIn(b'"args":' + ARGS.encode() + b",", document)

    def test_args_come_from_files_and_standard_input(self):
        path = self.file("args.json", "\n  " + ARGS + "\n")
        self.enqueue("t", "@" + path)
        self.enqueue("t", "-", input=ARGS + "\n")
        for document in self.queue():
            self.assertIn(b'"args":' + ARGS.encode() + b",", document)
        self.enqueue("t", "@/nowhere", status=66)
        self.assertEqual(len(self.queue()), 2)

    def test_every_option_is_a_member(self):
        self.enqueue("t", "--id", "x1", "--at", "2030-01-01T00:00:00Z", "--expires-at",
                     "1900000000", "--retry", "3", "--backoff", "exp:2s:1h", "--timeout", "1500ms", "--meta",
                     "a=b=c", "--meta", "d=", "--tag", "x", "--tag", "y", "--group", "g",
                     "--unique", "order:42:1h", "--unique-until", "start", "--keep", "1d",
                     "--reply-to", "reply:1", "--on-success", '{"type":"next"}', "--on-failure",
                     '{"type":"sorry"}', "--no-dead")
        document = json.loads(self.queue()[0])
        self.assertGreater(document.pop("enqueued_at"), 1.7e12)
        self.assertEqual(document, {
            "type": "t", "id": "x1", "at": 1893456000000, "expires_at": 1900000000000, "retry": 3,
            "backoff": {"type": "exp", "base": 2, "max": 3600}, "timeout": 1.5,
            "meta": {"a": "b=c", "d": ""}, "tags": ["x", "y"], "group": "g",
            "unique": {"key": "order:42", "ttl": 3600, "until": "start"}, "keep": 86400,
            "reply_to": "reply:1", "on_success": {"type": "next"},
            "on_failure": {"type": "sorry"}, "dead": False})

    def test_in_counts_from_now(self):
        self.enqueue("t", "--in", "10m", "--expires-in", "1h")
        document = json.loads(self.queue()[0])
        late = document["at"] - document["enqueued_at"] - 600000
        self.assertLess(abs(late), GUARD_SECONDS * 1000)
        self.assertEqual(document["expires_at"] - document["at"], 50 * 60000)

    def test_queues_map_to_lists(self):
        yaml = self.file("worker.yaml", "redis:\n  url: %s\n  prefix: 'app:'\n"
                                        "queues:\n  - name: mail\n    key: mail_tasks\n"
                                        "  - default\n" % self.server.url)
        os.chmod(yaml, 0o600)
        self.enqueue("-c", yaml, "-q", "mail", "t", redis=None)
        self.enqueue("-q", "mail", "t", redis=None, cwd=self.directory)  # found, not named
        self.enqueue("-c", yaml, "t", redis=None)
        unlisted = self.enqueue("-c", yaml, "-q", "nobody", "t", redis=None)
        self.assertIn("nobody", unlisted.err)
        self.enqueue("-c", yaml, "--prefix", "", "--key", "other", "t", redis=None)
        self.enqueue("-q", "mail", "t")
        sizes = {key: self.client.llen(key) for key in self.client.keys("*")}
        self.assertEqual(sizes, {b"app:mail_tasks": 2, b"app:queue:default": 1,
                                 b"app:queue:nobody": 1, b"other": 1, b"queue:mail": 1})

    def test_a_bad_worker_yaml_is_named(self):
        yaml = self.file("bad.yaml", "quues: []\n")
        result = self.enqueue("-c", yaml, "t", status=78)
        self.assertIn("bad.yaml:1:", result.err)
        self.enqueue("-c", "/nowhere.yaml", "t", status=78)
        self.assertEqual(self.client.dbsize(), 0)

    def test_bad_data_is_refused(self):
        deep = "[" * 65 + "]" * 65
        for args in (["t", "{"], ["t", "nonsense"], ["t", ""], ["t", deep], ["t", "1 2"],
                     ["--on-success", "{}", "t"], ["--on-success", "[]", "t"],
                     ["--on-failure", '{"type":5}', "t"], ["--id", "x" * 129, "t"],
                     ["t", "-"]):
            result = self.enqueue(*args, input='"' + "x" * 1048600 + '"', status=65)
            self.assertTrue(result.err.startswith("enqueue: "), result)
        self.assertEqual(self.client.dbsize(), 0)

    def test_wrong_usage_is_refused(self):
        for args in ([], ["t", "1", "2"], ["bad type"], ["--nope", "t"], ["--retry", "x", "t"],
                     ["--retry", "-1", "t"], ["--timeout", "soon", "t"], ["--at", "tomorrow", "t"],
                     ["--meta", "novalue", "t"], ["--meta", "a=1", "--meta", "a=2", "t"],
                     ["--backoff", "expo", "t"], ["--unique-ttl", "5m", "t"],
                     ["--unique", "k", "--unique-until", "later", "t"], ["--skip", "5", "t"],
                     ["-n", "2", "--id", "x", "t"], ["-n", "0", "t"], ["--bulk", "-", "t"],
                     ["--bulk", "-", "--retry", "1"], ["-q", "a{b}", "t"], ["-q", "", "t"],
                     ["-u", "http://x", "t"], ["--tag", b"\xff", "t"]):
            argv = [a if isinstance(a, str) else os.fsdecode(a) for a in args]
            result = self.enqueue(*argv, status=64)
            self.assertTrue(result.err.startswith("enqueue: "), result)
        self.assertEqual(self.client.dbsize(), 0)

    def test_help_and_version(self):
        text = self.enqueue("--help").out
        for option in ("--bulk", "--wait-replicas", "--unique", "--print", "Exit codes"):
            self.assertIn(option, text)
        self.assertRegex(self.enqueue("--version").out, r"^enqueue \(Bucketline\) \d")

    def test_a_key_that_is_no_list(self):
        self.client.set(QUEUE, "x")
        self.assertIn("no list", self.enqueue("t", status=65).err)

    def test_too_few_replicas(self):
        result = self.enqueue("--wait-replicas", "1", "--wait-timeout", "50ms", "t", status=75)
        self.assertIn("0 of 1", result.err)
        self.assertEqual(json.loads(self.queue()[0])["id"], result.out.strip())

    def test_a_replica_that_has_it(self):
        replica = self.redis(options={"replicaof": "no one"})
        self.server.end()
        primary = self.redis(tcp=True)
        replica.client.execute_command("REPLICAOF", "127.0.0.1", str(primary.port))
        wait_until(lambda: replica.client.info("replication")["master_link_status"] == "up",
                   what="the replica to be connected")
        self.enqueue("--wait-replicas", "1", "--wait-timeout", "60s", "t", redis=primary)
        self.assertEqual(replica.client.llen(QUEUE), 1)


class NoRedis(EnqueueCase):
    def test_nobody_there(self):
        self.server.stop()
        self.assertIn(self.server.socket, self.enqueue("t", status=69).err)

    def test_nothing_said(self):
        env = {"BUCKETLINE_PRIVATE_DIR": self.directory, "HOME": self.directory}
        result = self.enqueue("t", redis=None, env=env, status=69)
        for way in ("--url", "BUCKETLINE_REDIS_URL", "REDIS_URL", "worker.yaml"):
            self.assertIn(way, result.err)

    def test_full(self):
        self.client.config_set("maxmemory-policy", "noeviction")
        self.client.config_set("maxmemory", 1)
        result = self.enqueue("t", status=75)
        self.assertIn("Redis is full", result.err)
        self.assertIn("not stored", result.err)
        self.assertEqual(result.out, "")


class Secrets(EnqueueCase):
    def setUp(self):
        # The library's client knows no password: the server is asked for one afterwards.
        Case.setUp(self)
        self.server = self.redis(tcp=True)
        self.client = self.server.client
        self.client.config_set("requirepass", "s3cret-word")

    def urls(self, password):
        return ["redis://:%s@127.0.0.1:%d" % (password, self.server.port),
                "unix://%s?password=%s" % (self.server.socket, password)]

    def test_the_password_leaves_the_process_list(self):
        for argv in (["--url=%s"], ["-u", "%s"], ["-u%s"], ["--url", "%s"]):
            for url in self.urls("s3cret-word"):
                popen = self.spawn(*[a.replace("%s", url) for a in argv], "--bulk", "-", env={})
                popen.stdin.write(b'{"type":"t"}\n')
                popen.stdin.flush()
                wait_until(lambda: self.client.llen(QUEUE) == 1, what="the first job")
                with open("/proc/%d/cmdline" % popen.pid, "rb") as f:
                    self.assertNotIn(b"s3cret-word", f.read())
                status, out, err = self.feed(popen, b"")
                self.assertEqual((status, out), (0, "1\n"), err)
                self.client.delete(QUEUE)

    def test_a_wrong_password_is_not_repeated(self):
        for url in self.urls("wr0ng-word"):
            result = self.enqueue("-u", url, "t", redis=None, status=69)
            self.assertNotIn("wr0ng-word", result.err)
            self.assertIn("WRONGPASS", result.err)

    def test_an_acl_user_who_may_only_push(self):
        self.client.execute_command("ACL", "SETUSER", "producer", "on", ">pw", "~queue:*", "+lpush",
                                    "+client|setname", "+client|id", "+info", "+ping", "+select")
        url = "redis://producer:pw@127.0.0.1:%d" % self.server.port
        self.enqueue("-u", url, "t", redis=None)
        result = self.enqueue("-u", url, "--key", "elsewhere", "t", redis=None, status=69)
        self.assertIn("NOPERM", result.err)
        self.assertEqual(self.client.dbsize(), 1)


class Print(EnqueueCase):
    """What --print shows, given to redis-cli, is what would have been sent."""

    LINES = [b'{"type":"t","args":' + ARGS.encode() + b"}",
             b'{"type":"t","args":"it\'s \\"quoted\\" \\\\ $HOME `x` !"}',
             b'{"type":"t","args":"\\u0000\\n"}',
             '{"type":"t","args":"größe 漢字 😀"}'.encode(),
             b' { "type" : "t" }',
             b'{"type":"t",\t"args":"a\x7fb"}']

    def redis_cli(self, text):
        tool = shutil.which("redis-cli")
        if tool is None:
            self.skipTest("no redis-cli")
        subprocess.run([tool, "-s", self.server.socket], input=text, check=True,
                       stdout=subprocess.DEVNULL, timeout=GUARD_SECONDS * SLOW)

    def test_bulk(self):
        data = b"".join(line + b"\n" for line in self.LINES)
        shown = self.enqueue("-q", "a b", "--bulk", "-", "--print", input=data)
        self.assertEqual(self.client.dbsize(), 0)
        self.assertTrue(shown.out.startswith("LPUSH 'queue:a b' "))
        self.redis_cli(shown.raw_out)
        self.assertEqual(self.queue("queue:a b"), self.LINES)
        self.client.flushall()
        self.enqueue("-q", "a b", "--bulk", "-", input=data)
        self.assertEqual(self.queue("queue:a b"), self.LINES)

    def test_one_job_in_a_shell(self):
        args = ["--id", "x", "--retry", "2", "--meta", "a=b", "t", ARGS]
        shown = self.enqueue("--print", *args, redis=None, env={"BUCKETLINE_PRIVATE_DIR": "/x"})
        self.assertEqual(shown.out.count("\n"), 1)
        if shutil.which("redis-cli") is None:
            self.skipTest("no redis-cli")
        subprocess.run("redis-cli -s %s %s" % (self.server.socket, shown.out), shell=True,
                       check=True, stdout=subprocess.DEVNULL)
        self.enqueue(*args)
        one, two = (re.sub(rb'"enqueued_at":\d+', b"", d) for d in self.queue())
        self.assertEqual(one, two)

    def test_what_is_shown_is_what_the_server_sees(self):
        def monitored(work):
            with self.client.monitor() as monitor:
                work()
                while True:
                    seen = monitor.next_command()["command"]
                    if seen.split(" ")[0].upper() == "LPUSH":
                        return seen

        seen = monitored(lambda: self.enqueue("--bulk", "-", input='{"type":"t","args":[1]}\n'))
        shown = self.enqueue("--bulk", "-", "--print", input='{"type":"t","args":[1]}\n').out
        self.assertEqual(seen, shown.strip().replace("'", ""))

    def test_waiting_is_shown_too(self):
        shown = self.enqueue("--print", "--wait-replicas", "2", "t").out.splitlines()
        self.assertEqual(shown[1], "WAIT 2 5000")


class Bulk(EnqueueCase):
    def test_a_hundred_thousand_in_order(self):
        lines = [b'{"type":"t","id":"%d","args":[%d, 1.0]}' % (i, i) for i in range(100000)]
        result = self.enqueue("--bulk", self.file("jobs", b"\n".join(lines)))
        self.assertEqual((result.out, result.err), ("100000\n", ""))
        self.assertEqual(self.queue(), lines)

    def test_bad_lines_are_named_and_the_rest_is_stored(self):
        lines = ['{"type":"t","id":"1"}', "", '{"type":', "  ", '{"id":"5"}', "[1]",
                 '{"type":"t","retry":"x"}', '{"type":"t","id":"8"}\r', '{"type":"a","type":"b"}',
                 '"' + "x" * 1100000 + '"', '{"type":"t","id":"11"}']
        result = self.enqueue("--bulk", "-", input="\n".join(lines), status=65)
        self.assertEqual(result.out, "3\n")
        self.assertEqual(self.queue(), [b'{"type":"t","id":"1"}', b'{"type":"t","id":"8"}',
                                        b'{"type":"t","id":"11"}'])
        named = [int(n) for n in re.findall(r"^enqueue: line (\d+): ", result.err, re.M)]
        self.assertEqual(named, [3, 5, 6, 7, 9, 10])
        self.assertIn('line 7: member "retry"', result.err)

    def test_nothing_at_all(self):
        self.assertEqual(self.enqueue("--bulk", "-").out, "0\n")
        self.enqueue("--bulk", "/nowhere", status=66)

    def test_a_slow_producer_is_not_made_to_wait(self):
        popen = self.spawn("--bulk", "-")
        for n in range(1, 6):
            popen.stdin.write(b'{"type":"t"}\n{"type":')
            popen.stdin.flush()
            wait_until(lambda: self.client.llen(QUEUE) == 2 * n - 1, what="the whole line")
            popen.stdin.write(b'"u"}\n')
            popen.stdin.flush()
            wait_until(lambda: self.client.llen(QUEUE) == 2 * n, what="the rest of the other")
        self.assertEqual(self.feed(popen, b""), (0, "10\n", ""))

    def test_a_line_that_is_too_long_holds_nothing_up(self):
        popen = self.spawn("--bulk", "-")
        for n in range(1, 4):
            popen.stdin.write(b'{"type":"t"}\n"' + b"x" * 1200000)
            popen.stdin.flush()
            wait_until(lambda: self.client.llen(QUEUE) == n, what="what stood before it")
            popen.stdin.write(b'"\n')
        status, out, err = self.feed(popen, b"")
        self.assertEqual((status, out), (65, "3\n"))
        self.assertEqual(re.findall(r"^enqueue: line (\d+): longer than \d+ bytes$", err, re.M),
                         ["2", "4", "6"])

    def test_input_that_cannot_be_read(self):
        self.assertIn("Is a directory", self.enqueue("--bulk", self.directory, status=66).err)

    def test_large_documents(self):
        lines = [b'{"type":"t","args":"%s"}' % (b"%d" % (i % 10) * (i * 9000)) for i in range(100)]
        self.enqueue("--bulk", "-", input=b"\n".join(lines))
        self.assertEqual(self.queue(), lines)

    def test_skip(self):
        lines = [b'{"type":"t","id":"%d"}' % i for i in range(1, 11)]
        result = self.enqueue("--bulk", "-", "--skip", "3,5-6,10", input=b"\n".join(lines))
        self.assertEqual(result.out, "4\n")
        self.assertEqual([json.loads(d)["id"] for d in self.queue()], ["4", "7", "8", "9"])

    def test_repeat(self):
        result = self.enqueue("-n", "12345", "t", ARGS)
        self.assertEqual(result.out, "12345\n")
        documents = self.queue()
        ids = [json.loads(d)["id"] for d in documents]
        self.assertEqual(len(set(ids)), 12345)
        self.assertEqual(ids, sorted(ids))  # UUIDv7 ascends
        self.assertTrue(all(b'"args":' + ARGS.encode() in d for d in documents))

    def test_repeat_of_what_is_bad(self):
        self.enqueue("-n", "5", "--on-success", "{}", "t", status=65)
        self.assertEqual(self.client.dbsize(), 0)

    def test_progress_on_a_terminal(self):
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        popen = self.spawn("--bulk", "-", stderr=slave)
        os.close(slave)
        seen = b""

        def shown():
            nonlocal seen
            popen.stdin.write(b'{"type":"t"}\n' * 600)
            popen.stdin.flush()
            if select.select([master], [], [], 0)[0]:
                seen += os.read(master, 65536)
            return b" jobs, " in seen

        wait_until(shown, what="a line of progress")
        status, out, _ = self.feed(popen, b"")
        self.assertEqual(status, 0)
        self.assertEqual(int(out), self.client.llen(QUEUE))

    def test_a_signal_ends_it_with_an_account(self):
        popen = self.spawn("--bulk", "-")
        popen.stdin.write(b'{"type":"t"}\n' * 1200)
        popen.stdin.flush()
        wait_until(lambda: self.client.llen(QUEUE) >= 1000, what="the first commands")
        popen.send_signal(signal.SIGINT)
        status = popen.wait(GUARD_SECONDS * SLOW)
        out, err = popen.stdout.read().decode(), popen.stderr.read().decode()
        self.assertEqual(status, 75, err)
        self.assertEqual(int(out), self.client.llen(QUEUE))
        self.assertIn("stored: %s jobs (lines 1-%s)" % (out.strip(), out.strip()), err)


class BulkFails(EnqueueCase):
    def server_options(self):
        return {"aof": "always"}

    def account(self, err):
        """Stored and unknown lines and the --skip that is proposed, out of the message."""
        def numbers(text):
            return [n for part in text.split(", ") for first, last in [map(int, part.split("-"))]
                    for n in range(first, last + 1)]

        stored = re.search(r"stored: (\d+) jobs \(lines ([^)]*)\)", err)
        unknown = re.search(r"unknown, perhaps stored: lines (.*)", err)
        skip = re.search(r"to go on: --skip (\S+)", err)
        return (numbers(stored.group(2)) if stored.group(2) != "none" else [],
                numbers(unknown.group(1)) if unknown else [], skip.group(1))

    def test_redis_dies_in_the_middle(self):
        lines = [b'{"type":"t","id":"%d"}' % i for i in range(1, 200001)]
        data = b"\n".join(lines) + b"\n"
        popen = self.spawn("--bulk", "-")
        at = data.index(b'"60000"')
        popen.stdin.write(data[:at])
        popen.stdin.flush()
        wait_until(lambda: self.client.llen(QUEUE) > 20000, what="some of them to be stored")
        self.server.kill9()
        status, out, err = self.feed(popen, data[at:])
        self.assertEqual(status, 75, err)
        stored, unknown, skip = self.account(err)
        self.assertEqual(int(out), len(stored))
        self.assertRegex(err, r"not sent: from line \d+ on")

        # What was acknowledged is there; what else is there is among the unknown.
        self.server.start()
        self.client = self.server.client
        there = [int(json.loads(d)["id"]) for d in self.queue()]
        self.assertEqual(there[:len(stored)], stored)
        self.assertTrue(set(there[len(stored):]) <= set(unknown), (there[-1], stored[-1]))

        # And as it was told to go on, all are there, in order but for the unknown.
        result = self.enqueue("--bulk", "-", "--skip", skip, input=data)
        self.assertEqual(int(result.out), 200000 - len(stored))
        ids = [int(json.loads(d)["id"]) for d in self.queue()]
        self.assertEqual(sorted(set(ids)), list(range(1, 200001)))
        self.assertEqual(ids[len(there):], list(range(len(stored) + 1, 200001)))

    def test_redis_is_full_in_the_middle(self):
        self.client.config_set("maxmemory-policy", "noeviction")
        self.client.config_set("maxmemory", self.client.info("memory")["used_memory"] + 4000000)
        lines = [b'{"type":"t","id":"%d","args":"%s"}' % (i, b"x" * 200) for i in range(1, 50001)]
        result = self.enqueue("--bulk", "-", input=b"\n".join(lines), status=75)
        self.assertIn("Redis is full", result.err)
        stored, unknown, skip = self.account(result.err)
        self.assertEqual(unknown, [])
        self.assertGreater(len(stored), 0)
        self.assertEqual([int(json.loads(d)["id"]) for d in self.queue()], stored)
        self.client.config_set("maxmemory", 0)
        self.enqueue("--bulk", "-", "--skip", skip, input=b"\n".join(lines))
        self.assertEqual(sorted(int(json.loads(d)["id"]) for d in self.queue()),
                         list(range(1, 50001)))


if __name__ == "__main__":
    unittest.main()

"""Pushes by clients that know nothing of Bucketline: whatever way they have to append to a list, and
whatever documents other systems' clients push."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from bl import BUILD, ROOT, SLOW, Case, clean_env, run_command, wait_until
from ledger import Ledger
from records import unwrap

QUEUE, DEAD = "queue:default", "{queue:default}:dead"
LIMIT = 120  # seconds for another program


class ProducersCase(Case):
    def setUp(self):
        super().setUp()
        self.server = self.redis()
        self.client = self.server.client
        self.ledger = Ledger(self.directory)
        self.worker_of_all = self.worker(self.server, {"runners": 2, "plugins": [
            self.ledger.plugin, os.path.join(BUILD, "jobs/*.so")]})

    def documents(self, count, prefix):
        """That many jobs that the ledger expects."""
        ids = ["%s%d" % (prefix, n) for n in range(count)]
        self.ledger.pushed += ids
        return [self.ledger.document(id) for id in ids]

    def run_program(self, *argv, input=None, cwd="/"):
        done = subprocess.run(argv, input=input, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              cwd=cwd, env=clean_env(), timeout=LIMIT * SLOW)
        self.assertEqual(done.returncode, 0, done.stdout.decode("utf-8", "replace"))
        return done.stdout.decode("utf-8", "replace")

    def all_run_once(self):
        wait_until(self.ledger.all_ended, what="all jobs")
        wait_until(self.server.idle, what="an idle queue")
        self.assertEqual(self.ledger.began(), {id: 1 for id in self.ledger.pushed})
        self.assertFalse(self.client.exists(DEAD, "{queue:default}:parked"))


class RedisCli(ProducersCase):
    def cli(self, *args, input=None):
        return self.run_program("redis-cli", "-s", self.server.socket, *args, input=input)

    def test_one_several_and_from_standard_input(self):
        self.cli("lpush", QUEUE, *self.documents(1, "one"))
        self.cli("lpush", QUEUE, *self.documents(5, "several"))
        # -x appends what it reads, with the newline at its end.
        self.cli("-x", "lpush", QUEUE, input=self.documents(1, "stdin")[0].encode() + b"\n")
        self.cli("rpush", QUEUE, *self.documents(1, "right"))
        self.cli("lpushx", QUEUE, "")  # a list that is not there gets nothing
        self.all_run_once()

    def test_a_pipe_of_a_thousand_commands(self):
        commands = b""
        for document in self.documents(1000, "pipe"):
            words = [b"LPUSH", QUEUE.encode(), document.encode()]
            commands += b"*3\r\n" + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)
        self.assertIn("errors: 0, replies: 1000", self.cli("--pipe", input=commands))
        self.all_run_once()

    def test_a_script_and_a_transaction(self):
        first, second, third = self.documents(3, "atomic")
        self.cli("eval", "return redis.call('LPUSH', KEYS[1], ARGV[1])", "1", QUEUE, first)
        self.cli(input=("MULTI\nLPUSH %s %s\nLPUSH %s %s\nEXEC\n" % (
            QUEUE, json.dumps(second), QUEUE, json.dumps(third))).encode())
        self.all_run_once()


class Python(ProducersCase):
    def test_text_bytes_and_pipelines(self):
        text, data = self.documents(2, "single")
        self.client.lpush(QUEUE, text)
        self.client.lpush(QUEUE, data.encode())
        with self.client.pipeline(transaction=False) as pipe:
            for document in self.documents(500, "pipeline"):
                pipe.lpush(QUEUE, document)
            pipe.execute()
        with self.client.pipeline(transaction=True) as pipe:
            pipe.lpush(QUEUE, *self.documents(200, "multi")).set("beside", 1).execute()
        self.all_run_once()

    def test_many_at_a_time(self):
        batches = [self.documents(100, "thread%d-" % n) for n in range(8)]

        def push(batch):
            client = self.server.new_client()
            for document in batch:
                client.lpush(QUEUE, document)
            client.close()

        threads = [threading.Thread(target=push, args=[batch]) for batch in batches]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.all_run_once()

    def test_json_of_its_own_making(self):
        """Indented, with escapes, in another order, with NaN, which is no JSON."""
        document = {"args": {"name": "\u00e4\u20ac\U0001f600", "n": 2 ** 80, "f": 1e-7, "e": []},
                    "type": "echo", "reply_to": "reply:py", "extra": {"kept": None}}
        for text in (json.dumps(document), json.dumps(document, indent=2, ensure_ascii=False)):
            self.client.lpush(QUEUE, text)
            answer = json.loads(self.client.blpop("reply:py", timeout=60)[1])
            self.assertEqual(answer["result"], document["args"])
        bad = json.dumps({"type": "echo", "args": float("nan")})
        self.client.lpush(QUEUE, bad)
        wait_until(lambda: self.client.llen(DEAD) == 1, what="the dead letter")
        self.assertEqual(unwrap(self.client.lindex(DEAD, 0))[1], bad.encode())


class Enqueue(ProducersCase):
    def test_a_job_and_many(self):
        text = json.dumps({"ledger": self.ledger.path, "ms": 0}, separators=(",", ":"))
        run_command("enqueue", "ledger", text, "--id", "single", redis=self.server)
        self.ledger.pushed.append("single")
        run_command("enqueue", "--bulk", "-", redis=self.server,
                    input="\n".join(self.documents(300, "bulk")) + "\n")
        run_command("enqueue", "ledger", text, "--id", "later", "--in", "1s", redis=self.server)
        self.ledger.pushed.append("later")
        self.all_run_once()


class Node(ProducersCase):
    def ioredis(self):
        """The directory where ioredis is installed: kept in build/ for the next time."""
        npm, node = shutil.which("npm"), shutil.which("node")
        if npm is None or node is None:
            self.skipTest("no node or npm (Debian: apt install nodejs npm)")
        where = os.path.join(ROOT, "build", "node")
        if not os.path.exists(os.path.join(where, "node_modules/ioredis/package.json")):
            os.makedirs(where, exist_ok=True)
            try:
                done = subprocess.run(
                    [npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", where,
                     "ioredis@5"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                    stdin=subprocess.DEVNULL, timeout=LIMIT)
            except subprocess.TimeoutExpired:
                self.skipTest("npm reaches no registry within %d s" % LIMIT)
            if done.returncode != 0:
                self.skipTest("npm cannot install ioredis: " + done.stdout.decode()[-200:])
        return where

    def node(self, script):
        where = self.ioredis()
        return self.run_program("node", "-e", "const Redis = require('ioredis');"
                                "const redis = new Redis(process.argv[1]);"
                                "(async () => {" + script + "; await redis.quit();"
                                "})().catch(e => { console.error(e); process.exit(1); })",
                                self.server.socket, self.ledger.path, cwd=where)

    def test_single_pushes_a_pipeline_and_an_answer(self):
        self.ledger.pushed += ["node%d" % n for n in range(201)]
        printed = self.node("""
            const job = id => JSON.stringify(
                {type: 'ledger', id, args: {ledger: process.argv[2], ms: 0}});
            await redis.lpush('queue:default', job('node0'));
            const pipeline = redis.pipeline();
            for (let n = 1; n <= 100; n++) pipeline.lpush('queue:default', job('node' + n));
            for (const [error] of await pipeline.exec()) if (error) throw error;
            await redis.lpush('queue:default',
                              ...Array.from({length: 100}, (_, n) => job('node' + (n + 101))));
            await redis.lpush('queue:default', JSON.stringify(
                {type: 'echo', args: {n: 9007199254740993n.toString(), x: 0.1, e: [], s: '\\u2028'},
                 reply_to: 'reply:node', at: Date.now()}));
            console.log((await redis.blpop('reply:node', 60))[1]);
        """)
        self.assertEqual(json.loads(printed)["result"],
                         {"n": "9007199254740993", "x": 0.1, "e": [], "s": "\u2028"})
        self.all_run_once()

    def test_a_transaction_and_a_date_as_it_is_printed(self):
        self.ledger.pushed += ["multi0", "multi1"]
        self.node("""
            const job = (id, more) => JSON.stringify(
                {type: 'ledger', id, args: {ledger: process.argv[2], ms: 0}, ...more});
            await redis.multi().lpush('queue:default', job('multi0'))
                .lpush('queue:default', job('multi1', {at: new Date(Date.now() + 1000)})).exec();
        """)
        self.all_run_once()


class Sidekiq(ProducersCase):
    """Documents as Sidekiq's clients push them: Client#raw_push, perform_in, and the Python, Go and Node
    ports, which copied them."""

    def job(self, jid, **more):
        return json.dumps(dict({
            "class": "ledger", "args": [{"ledger": self.ledger.path}], "retry": True,
            "queue": "default", "jid": jid, "created_at": time.time(),
            "enqueued_at": time.time()}, **more), separators=(",", ":"))

    def push(self, jid, **more):
        self.client.lpush(QUEUE, self.job(jid, **more))
        self.ledger.pushed.append(jid)

    def test_what_its_clients_push_runs(self):
        self.client.sadd("queues", "default")  # as its client does beside each push
        self.push("b4a577edbccf1d805744efa9")
        self.push("b4a577edbccf1d805744efaa", retry=5, backtrace=True, dead=False)
        self.push("b4a577edbccf1d805744efab", retry=False, tags=["a", "b"])
        # 8.0 on: milliseconds
        self.push("b4a577edbccf1d805744efac", created_at=1795000000123, enqueued_at=1795000000456)
        # its middlewares', unique-jobs', and ActiveJob's members
        self.push("b4a577edbccf1d805744efad", locale="de", cattr={"user": 7}, unique_for=None,
                  lock="until_executed", wrapped="HardJob", retry_for=3600, version=1)
        self.push("b4a577edbccf1d805744efae", at=time.time() + 1)
        self.push("b4a577edbccf1d805744efaf", reserve_for=600)
        self.all_run_once()

    def test_its_retry_says_how_often(self):
        self.client.lpush(QUEUE, '{"class":"fail","jid":"never","args":[],"retry":false}')
        wait_until(lambda: self.client.llen(DEAD) == 1, what="a dead letter")
        self.client.lpush(QUEUE, '{"class":"fail","jid":"again","args":[],"retry":true}')
        wait_until(lambda: self.client.zcard("{queue:default}:retry") == 1, what="a retry")
        head, document = unwrap(self.client.lindex(DEAD, 0))
        self.assertIn(b'"jid":"never"', document)
        self.assertEqual(head["reason"], "failed")

    def test_both_spellings_at_once_are_refused(self):
        self.client.lpush(QUEUE, '{"class":"echo","type":"noop","args":[]}')
        wait_until(lambda: self.client.llen(DEAD) == 1, what="the dead letter")
        message = unwrap(self.client.lindex(DEAD, 0))[0]["error"]["message"]
        self.assertIn("type", message)
        self.assertIn("class", message)


if __name__ == "__main__":
    import unittest
    unittest.main()

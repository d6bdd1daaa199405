"""The examples of docs/protocol.md, run as they stand there."""

import json
import os
import re
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import redis as redis_py

from bl import GUARD_SECONDS, ROOT, SLOW, Case, run_command

QUEUE = "queue:default"


class Protocol(Case):
    def setUp(self):
        super().setUp()
        with open(os.path.join(ROOT, "docs", "protocol.md"), encoding="utf-8") as f:
            self.text = f.read()
        self.server = self.redis()
        self.client = self.server.client

    def blocks(self, language):
        found = re.findall(r"^```%s\n(.*?)^```$" % language, self.text, re.M | re.S)
        self.assertTrue(found, "no %s in the page" % language)
        return found

    def test_shell(self):
        if shutil.which("redis-cli") is None:
            self.skipTest("no redis-cli")
        for block in self.blocks("sh"):
            script = "set -e\n" + block.replace("redis-cli ", 'redis-cli -s "$SOCKET" ')
            done = subprocess.run(["sh", "-c", script], stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=GUARD_SECONDS * SLOW,
                                  env=dict(os.environ, SOCKET=self.server.socket))
            self.assertEqual(done.returncode, 0, done.stdout)
            self.assertNotIn(b"ERR", done.stdout)
        documents = self.client.lrange(QUEUE, 0, -1)
        self.assertEqual(len(documents), 3)
        self.assertEqual(self.client.keys("*"), [QUEUE.encode()])
        run_command("enqueue", "--bulk", "-", redis=self.server, input=b"\n".join(documents))

    def test_python(self):
        push, unwrap = self.blocks("python")
        connect = redis_py.Redis.from_url
        redis_py.Redis.from_url = lambda url: self.server.new_client()
        try:
            exec(push, {})
        finally:
            redis_py.Redis.from_url = connect
        [document] = self.client.lrange(QUEUE, 0, -1)
        self.assertEqual(json.loads(document)["type"], "email.send")
        names = {"json": json}
        exec(unwrap, names)
        inner = b'{"type":"t", "args":[1.0]}'
        record = b'{"v":1,"job_bytes":%d,"job":%s}' % (len(inner), inner)
        self.assertEqual(names["document_of"](record), inner)
        self.assertEqual(names["document_of"](inner), inner)

    def test_documents(self):
        for block in self.blocks("json"):
            result = run_command("enqueue", "--bulk", "-", redis=self.server, input=block)
            self.assertEqual(int(result.out), len(block.splitlines()))

    def test_every_member_is_in_the_table(self):
        with open(os.path.join(ROOT, "common", "document.c")) as f:
            spellings = re.findall(r'^    \{"(\w+)", MEMBER_', f.read(), re.M)
        self.assertGreater(len(spellings), 20)
        for name in spellings:
            self.assertIn("`%s`" % name, self.text)

    def test_every_member_of_a_record_is_in_the_table(self):
        with open(os.path.join(ROOT, "common", "record.c")) as f:
            fields = re.findall(r"^    (?:TEXT|COUNTER|TIME|RAW)\((\w+)", f.read(), re.M)
        self.assertGreater(len(fields), 10)
        for name in fields:
            self.assertIn("`%s`" % name, self.text)


if __name__ == "__main__":
    unittest.main()

"""Whatever bytes somebody pushes: what is no job is kept, every byte of it, with a reason that a
person understands; the jobs around it run and the worker goes on."""

import base64
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from bl import BUILD, Case, run_command, wait_until
from ledger import Ledger

QUEUE = "queue:default"
DEAD, PARKED = "{queue:default}:dead", "{queue:default}:parked"
NESTING, BYTES = 64, 4096


def unwrap(record):
    """The bytes as pushed: by arithmetic from a document's wrapper, else from raw or raw64."""
    members = json.loads(record)
    if "job_bytes" in members:
        return record[-1 - members["job_bytes"]:-1]
    data = (base64.b64decode(members["raw64"]) if "raw64" in members
            else members["raw"].encode("utf-8", "surrogatepass"))
    assert len(data) == members["raw_bytes"], (len(data), members["raw_bytes"])
    return data


def nested(levels):
    """An echo job whose document is `levels` deep."""
    return b'{"type":"echo","args":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


class BadInput(Case):
    def setUp(self):
        super().setUp()
        self.server = self.redis()
        self.client = self.server.client
        self.ledger = Ledger(self.directory)
        self.worker_of_all = self.worker(self.server, {
            "runners": 2, "plugins": [os.path.join(BUILD, "jobs/*.so"), self.ledger.plugin],
            "limits": {"document_bytes": BYTES, "nesting": NESTING}})

    def wait_idle(self):
        wait_until(self.server.idle, what="an idle queue")

    def check_bad(self, expected):
        """Pushes the documents among good jobs.  Each becomes a dead letter that holds its bytes,
        and whose message holds all the words given for it."""
        pid = self.worker_of_all.pid
        self.ledger.push(self.server, 3)
        for document in expected:
            self.client.lpush(QUEUE, document)
        self.ledger.push(self.server, 3)
        wait_until(self.ledger.all_ended, what="the good jobs")
        wait_until(lambda: self.client.llen(DEAD) == len(expected),
                   what=lambda: "%d dead letters, not %d" % (len(expected), self.client.llen(DEAD)))
        self.wait_idle()
        letters = {unwrap(letter): letter for letter in self.client.lrange(DEAD, 0, -1)}
        for document, words in expected.items():
            with self.subTest(document=document[:60]):
                self.assertIn(document, letters)
                letter = json.loads(letters[document])
                self.assertEqual(letter["reason"], "malformed")
                self.assertEqual(letter["error"]["kind"], "malformed")
                for word in words.split():
                    self.assertIn(word.lower(), letter["error"]["message"].lower())
        self.assertFalse(self.client.exists(PARKED))
        self.assertEqual(set(self.ledger.began().values()), {1})
        self.assertTrue(self.worker_of_all.running)
        self.assertEqual(self.worker_of_all.pid, pid)
        return letters

    def test_what_is_no_json(self):
        self.check_bad({
            b"": "value", b" ": "value", b"hello": "JSON", b"not json {": "JSON",
            b'{"type":"echo"': "", b'{"type":"echo",}': "", b"{'type':'echo'}": "",
            b'{"type":"echo"} and more': "", b'{"type":"echo"}{"type":"echo"}': "",
            b'{"type":"echo","args":01}': "", b'{"type":"echo","args":NaN}': "",
            b'{"type":"echo","args":"\n"}': "", b'\xef\xbb\xbf{"type":"echo"}': ""})

    def test_json_that_is_no_object(self):
        self.check_bad({b"null": "object", b"17": "object", b'"echo"': "object",
                        b'[{"type":"echo"}]': "object"})

    def test_what_is_no_utf8(self):
        self.check_bad({b"\xff\xfe\x00\x01": "", b'{"type":"echo","args":"\xff"}': "UTF-8",
                        b'{"type":"echo","args":"\xc3"}': "UTF-8",
                        b'{"type":"echo","args":"\xed\xa0\x80"}': "UTF-8",
                        b'{"type":"\xe9cho"}': "UTF-8", bytes(range(256)): ""})

    def test_nul_bytes(self):
        self.check_bad({b"\0": "", b'{"type":"echo"}\0': "", b'\0{"type":"echo"}': "",
                        b'{"type":\0"echo"}': "", b'{"type":"echo","args":"a\0b"}': "",
                        b'{"type":"echo\0"}': ""})

    def test_an_escaped_nul_is_a_good_argument(self):
        self.client.lpush(QUEUE, b'{"type":"echo","args":"a\\u0000b","reply_to":"answer"}')
        answer = self.client.blpop("answer", timeout=30)
        self.assertEqual(json.loads(answer[1])["result"], "a\0b")

    def test_no_type(self):
        self.check_bad({b"{}": "type", b'{"args":1}': "type", b'{"Type":"echo"}': "type",
                        b'{"type":""}': "type", b'{"type":null}': "type", b'{"type":5}': "type",
                        b'{"type":["echo"]}': "type", b'{"type":"a b"}': "type",
                        b'{"type":"' + b"x" * 201 + b'"}': "type",
                        b'{"type":"\\u0000"}': "type"})

    def test_members_of_the_wrong_type_are_named(self):
        wrong = {"id": [5, {}, "x" * 129], "at": [[], "yesterday", True],
                 "delay": ["soon", -1, {}], "expires_at": ["never", []],
                 "retry": ["x", 1.5, {}], "backoff": [5, {"type": "odd"}, {"base": "x"}],
                 "timeout": ["x", {}, -1], "dead": ["no", 1], "keep": ["x", []],
                 "reply_to": [5, {}], "on_success": [5, "echo"], "on_failure": [[], 1],
                 "tags": ["x", [1], {}], "meta": ["x", [], {"a": 1}], "group": [5, []]}
        expected = {}
        for name, values in wrong.items():
            for value in values:
                document = json.dumps({"type": "echo", name: value}, separators=(",", ":"))
                expected[document.encode()] = name
        self.check_bad(expected)

    def test_a_member_given_twice(self):
        self.check_bad({b'{"type":"echo","type":"noop"}': "type",
                        b'{"type":"echo","class":"noop"}': "type class",
                        b'{"id":"a","type":"echo","jid":"b"}': "id",
                        b'{"type":"echo","args":1,"args":2}': "args"})

    def test_too_big(self):
        fits = b'{"type":"echo","reply_to":"answer","args":"'
        fits += b"x" * (BYTES - len(fits) - 2) + b'"}'
        self.assertEqual(len(fits), BYTES)
        self.client.lpush(QUEUE, fits)
        self.assertIsNotNone(self.client.blpop("answer", timeout=30))
        self.check_bad({fits[:-2] + b'x"}': "bytes " + str(BYTES),
                        b'{"type":"echo","args":"' + b"y" * 300000 + b'"}': "bytes",
                        b"z" * 300000: ""})

    def test_too_deep(self):
        self.client.lpush(QUEUE, nested(NESTING)[:-1] + b',"reply_to":"answer"}')
        self.assertIsNotNone(self.client.blpop("answer", timeout=30))
        self.check_bad({nested(NESTING + 1): "deep", nested(2000): "", b"[" * 4000: ""})

    def test_what_only_looks_like_our_wrapper_is_a_document(self):
        self.check_bad({b'{"v":1,"job_bytes":5,"job":{}}': "type",
                        b'{"v":1,"job_bytes":2}': "type", b'{"v":1}': "type",
                        b'{"v":1,"job":{"type":"echo"},"job_bytes":15}': "type",
                        b'{"v":1,"job_bytes":-2,"job":{}}': "type",
                        b'{"v":1,"job_bytes":99999999999999999999,"job":{}}': "type",
                        b'{"v":1,"raw_bytes":3,"raw":5}': "type",
                        b'{"v":0,"job_bytes":2,"job":{}}': "type"})

    def test_a_wrapper_around_what_is_no_job(self):
        """Ours in form, though no worker wrote it: what is inside is judged as if pushed."""
        self.client.lpush(QUEUE, b'{"v":1,"job_bytes":2,"uid":"u:1","job":{}}')
        wait_until(lambda: self.client.llen(DEAD) == 1, what="the dead letter")
        letter = self.client.lindex(DEAD, 0)
        self.assertEqual(unwrap(letter), b"{}")
        self.assertIn("type", json.loads(letter)["error"]["message"])

    def test_newer_records_are_parked_untouched(self):
        newer = [b'{"v":9,"job_bytes":13,"job":{"type":"x"}}',
                 b'{"v":2,"job_bytes":12,"what":{"e":[1.0]},"job":{"type":"x"}}']
        self.client.lpush(QUEUE, *newer)
        self.ledger.push(self.server, 3)
        wait_until(self.ledger.all_ended, what="the good jobs")
        wait_until(lambda: self.client.llen(PARKED) == 2, what="both, parked")
        self.wait_idle()
        self.assertEqual(sorted(self.client.lrange(PARKED, 0, -1)), sorted(newer))
        self.assertFalse(self.client.exists(DEAD))

    def test_jobctl_shows_the_reason_and_the_bytes(self):
        documents = [b"hello", b'{"type":"echo","args":"\xff"}', b'{"type":"echo","retry":"x"}']
        self.client.lpush(QUEUE, *documents)
        wait_until(lambda: self.client.llen(DEAD) == 3, what="the dead letters")
        shown = run_command("jobctl", "dead", "show", "--all", "--json", redis=self.server).json()
        found = [base64.b64decode(letter["document_base64"]) if "document_base64" in letter
                 else letter["document"].encode() for letter in shown]
        self.assertEqual(sorted(found), sorted(documents))
        self.assertTrue(all(letter["error"]["message"] for letter in shown))


if __name__ == "__main__":
    import unittest
    unittest.main()

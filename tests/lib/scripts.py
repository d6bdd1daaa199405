"""What the tests of the Lua scripts share: the keys of a queue, tokens, records, a Redis of their own."""

import redis as redis_py

from bl import Case, lua

LIST = b"queue:a"
RUN, RETRY, SCHEDULED, DEAD, PARKED, OUTBOX, PAUSED = (
    b"{queue:a}:" + part for part in
    (b"run", b"retry", b"scheduled", b"dead", b"parked", b"outbox", b"paused"))
HANDS = b"{queue:a}:hands"
RESULT = b"{queue:a}:result:x"
WORKERS, INFO = b"bucketline:workers", b"{bucketline:workers}:info"
MARK, TARGET = b"{queue:b}:relayed:job:1", b"queue:b"

ME, OTHER = b"0" * 31 + b"1", b"0" * 31 + b"2"
HAND = b"{queue:a}:hand:" + ME
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

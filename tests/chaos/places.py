"""Where jobs lie: in the keys of a running Redis, and in its append-only file."""

import collections
import json
import os
import re
from typing import NamedTuple

from world import COMPANIONS, LISTS, companion

KEY = re.compile(rb'"key": ?"([^"]+)"')


def document_of(record):
    """The producer's bytes out of a record, by arithmetic alone."""
    if not record.startswith(b'{"v":1,"job_bytes":'):
        return record
    count = int(record[19:record.index(b",", 19)])
    return record[-1 - count:-1]


def key_of(record):
    """The key of the job: its args are the document's last member, so the last that is named."""
    found = KEY.findall(record)
    return found[-1].decode() if found else None


class Lying(NamedTuple):
    place: str
    record: bytes

    @property
    def document(self):
        return document_of(self.record)

    @property
    def wrapper(self):
        """What the wrapper says, without the document."""
        head = json.loads(self.record)
        head.pop("job", None)
        return head


def read_places(client):
    """{key: [Lying]} of everything that lies in a queue."""
    found = collections.defaultdict(list)
    for l in LISTS:
        for what in ("waiting",) + COMPANIONS:
            if what == "hands":
                continue  # names
            for record in _records(client, l if what == "waiting" else companion(l, what)):
                found[key_of(record)].append(Lying(what, record))
        for hand in client.keys(companion(l, "hand:*")):
            for record in _records(client, hand):
                found[key_of(record)].append(Lying("hand", record))
    return found


def _records(client, key):
    kind = client.type(key)
    if kind == b"list":
        return client.lrange(key, 0, -1)
    if kind == b"hash":
        return client.hvals(key)
    if kind == b"zset":
        return client.zrange(key, 0, -1)
    return []


class Aof:
    """The append-only file of a Redis that does not run."""

    def __init__(self, directory):
        paths = [os.path.join(where, name) for where, _, names in os.walk(directory)
                 for name in names if name.endswith(".incr.aof")]
        if len(paths) != 1:
            raise AssertionError("expected one append-only file: %s" % paths)
        self.path = paths[0]
        with open(self.path, "rb") as file:
            self.data = file.read()

    def cut(self, count):
        """Takes the last bytes away, and of a transaction the command that would be torn; how many.

        Redis 7 forgets a transaction whose end is missing, but not one that breaks off within a command:
        it leaves it open in the file, and carries its first half out at the next start, together with
        whatever comes then.  No client can know of that, so it is not what is tested here.
        """
        before = len(self.data)
        self.data = self.data[:before - min(count, before)]
        whole, inside = 0, False
        for command, end in self._parse():
            whole, inside = end, (inside or command[0].upper() == b"MULTI") and \
                command[0].upper() != b"EXEC"
        if inside:
            self.data = self.data[:whole]
        os.truncate(self.path, len(self.data))
        return before - len(self.data)

    @property
    def count(self):
        return self.data.count(b"\r\n*") + 1

    def commands(self):
        """The commands as Redis will read them: an unfinished transaction does not count."""
        block, inside = [], False
        for command, _ in self._parse():
            name = command[0].upper()
            if name == b"MULTI":
                inside, block = True, []
            elif name == b"EXEC":
                inside = False
                yield from block
            elif inside:
                block.append(command)
            else:
                yield command

    def _parse(self):
        data, at = self.data, 0
        while at < len(data):
            try:
                end = data.index(b"\r\n", at)
                if data[at:at + 1] == b"#":
                    at = end + 2
                    continue
                args, p = [], end + 2
                for _ in range(int(data[at + 1:end])):
                    end = data.index(b"\r\n", p)
                    size = int(data[p + 1:end])
                    if end + 2 + size + 2 > len(data):
                        return
                    args.append(data[end + 2:end + 2 + size])
                    p = end + 2 + size + 2
            except ValueError:
                return  # cut off here
            yield args, p
            at = p

    def pushes(self):
        """How often each key was pushed as a document (not moved as a record)."""
        counts = collections.Counter()
        lists = [l.encode() for l in LISTS]
        for args in self.commands():
            if args[0].upper() == b"LPUSH" and args[1] in lists:
                counts.update(key_of(d) for d in args[2:] if not d.startswith(b'{"v":1,'))
        return counts

"""The file that the benchmark's handlers write (plugins/board.h): jobs done, how late they began."""

import mmap
import os
import struct

LINES, STAMPS = 16384, 1 << 20
HEAD_BYTES = 64
LATE_OFFSET = HEAD_BYTES + LINES * 64
SIZE = LATE_OFFSET + STAMPS * 8


class Board:
    def __init__(self, directory):
        self.path = os.path.join(directory, "board")
        with open(self.path, "wb") as file:
            file.truncate(SIZE)
        with open(self.path, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), SIZE)

    def runners_started(self):
        return struct.unpack_from("q", self._map, 0)[0]

    def done(self):
        """Jobs whose handler ran, in all runners there ever were."""
        count = min(self.runners_started(), LINES)
        numbers = struct.unpack_from("%dq" % (count * 8), self._map, HEAD_BYTES)
        return sum(numbers[::8])

    def stamps(self):
        """ns from push to the handler's begin, of the jobs since clear()."""
        count = min(struct.unpack_from("q", self._map, 8)[0], STAMPS)
        return struct.unpack_from("%dq" % count, self._map, LATE_OFFSET)

    def clear_stamps(self):
        struct.pack_into("q", self._map, 8, 0)

"""A bare client of beanstalkd in a loop: `push COUNT`, or `work`, which reserves and deletes.

There is no worker to go with beanstalkd.  Deleting one job and reserving the next go out in one write.
"""

import os
import socket
import sys


def connect():
    s = socket.socket(socket.AF_UNIX)
    s.connect(os.environ["PEER_BEANSTALK"])
    return s, s.makefile("rb")


def push(count):
    s, replies = connect()
    for first in range(0, count, 1000):
        n = min(1000, count - first)
        body = b'{"type":"noop","args":"' + b"x" * 75 + b'"}'
        s.sendall((b"put 1024 0 60 %d\r\n%s\r\n" % (len(body), body)) * n)
        for _ in range(n):
            if not replies.readline().startswith(b"INSERTED"):
                raise SystemExit("beanstalkd did not take a job")


def work():
    s, replies = connect()
    s.sendall(b"reserve\r\n")
    while True:
        head = replies.readline()
        while head == b"DELETED\r\n":
            head = replies.readline()
        _, number, size = head.split()
        replies.read(int(size) + 2)
        s.sendall(b"delete %s\r\nreserve\r\n" % number)


if __name__ == "__main__":
    push(int(sys.argv[2])) if sys.argv[1] == "push" else work()

"""A job of RQ that does nothing; run it with COUNT to push that many."""

import os
import sys

BATCH = 500


def noop(number):
    pass


def push(count):
    import redis
    import rq
    queue = rq.Queue(connection=redis.Redis(unix_socket_path=os.environ["PEER_SOCKET"]))
    for first in range(0, count, BATCH):
        queue.enqueue_many([
            rq.Queue.prepare_data("rq_noop.noop", (n,), result_ttl=0)
            for n in range(first, min(first + BATCH, count))])


if __name__ == "__main__":
    push(int(sys.argv[1]))

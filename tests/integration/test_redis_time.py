"""No script holds Redis for long: the short form of `make redis-time`."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../limits"))

import redis_time


class RedisTime(redis_time.RedisTime):
    waiting = 100000


if __name__ == "__main__":
    import unittest
    unittest.main()

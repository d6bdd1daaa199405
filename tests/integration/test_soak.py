"""The worker's memory stays flat: the short form of `make soak`."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../limits"))

import soak


class Soak(soak.Soak):
    guard_seconds = 300


if __name__ == "__main__":
    import unittest
    unittest.main()

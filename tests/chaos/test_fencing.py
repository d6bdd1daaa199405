"""The quick ones of the experiments in fencing.py; the others run with `make chaos`."""

import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fencing import Quick

__all__ = ["Quick"]

if __name__ == "__main__":
    unittest.main()

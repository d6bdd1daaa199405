#!/usr/bin/python3
"""report - a sample handler that is a program of its own: totals of the rows of a report.

The worker starts it once per job with the job's args on stdin, byte for byte as the producer wrote
them, and JOB_ID, JOB_TYPE, JOB_ATTEMPT, ... in the environment.  What it prints on stdout is the
job's result; what it prints on stderr goes to the worker's log.

    enqueue report '{"title":"May","rows":[{"n":2,"eur":9.5},{"n":3,"eur":1}]}'

Exit code 0 means done, 65 that these args can never be right (no retry), anything else that it is
worth another try.
"""

import hashlib
import json
import sys

EX_DATAERR = 65


def refuse(why):
    print(f"report: {why}", file=sys.stderr)
    sys.exit(EX_DATAERR)


def no_number(text):
    raise ValueError(f"{text} is no JSON")


def read_args(raw):
    try:
        args = json.loads(raw, parse_constant=no_number)
    except (ValueError, RecursionError) as e:
        refuse(f"args are not JSON: {e}")
    if not isinstance(args, dict):
        refuse("args must be an object")
    if not isinstance(args.get("rows", []), list):
        refuse("rows must be a list")
    return args


def totals(rows):
    """The sum of each numeric column over the rows that are objects."""
    sums = {}
    for row in rows:
        if isinstance(row, dict):
            for name, value in row.items():
                if isinstance(value, (int, float)) and not isinstance(value, bool):
                    sums[name] = sums.get(name, 0) + value
    return sums


def main():
    raw = sys.stdin.buffer.read()
    args = read_args(raw)
    rows = args.get("rows", [])
    report = {
        "bytes": len(raw),
        "sha256": hashlib.sha256(raw).hexdigest(),
        "members": len(args),
        "rows": len(rows),
        "totals": totals(rows),
    }
    try:
        text = json.dumps(report, sort_keys=True, allow_nan=False)
    except ValueError:
        refuse("the totals are too large")
    print(text)


if __name__ == "__main__":
    main()

"""Takes records apart as docs/protocol.md tells every reader to: by counting, never by encoding again."""

import base64
import json


def unwrap(record):
    """(members before the document, the producer's bytes) of a wrapped record."""
    for length, last in ((b'"job_bytes":', b',"job":'), (b'"raw_bytes":', None)):
        at = record.find(length)
        if at != len(b'{"v":1,'):
            continue
        if last is None:
            head = json.loads(record)
            data = head.pop("raw").encode() if "raw" in head else base64.b64decode(
                head.pop("raw64"), validate=True)
            if len(data) != head["raw_bytes"]:
                raise AssertionError("raw_bytes is wrong: %r" % record[:300])
            return head, data
        count = int(record[at + len(length):].split(b",")[0])
        document = record[-1 - count:-1]
        front = record[:-1 - count]
        if record[-1:] != b"}" or not front.endswith(last):
            raise AssertionError("job_bytes is wrong: %r" % record[:300])
        json.loads(record)  # the whole is valid JSON too
        return json.loads(front[:-len(last)] + b"}"), document
    raise AssertionError("no wrapped record: %r" % record[:300])


def wrap(document, **head):
    """A record as a worker writes it."""
    members = dict({"v": 1, "job_bytes": len(document)}, **head)
    return json.dumps(members, separators=(",", ":")).encode()[:-1] + b',"job":' + document + b"}"

"""A worker whose answer to the hello is no good, in the way that its first argument says.

In the modes `idle` and `fails` it ends before it listens. When the pool hangs up it ends as ours do, with exit code 0; with a second argument it ends at once.
"""

import json
import os
import socket
import struct
import sys

MODE = sys.argv[1]
ENDS_AT_ONCE = len(sys.argv) > 2

if MODE in ("idle", "fails"):  # without a socket
    sys.exit(MODE == "fails")


def frame(message):
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    return struct.pack(">I", len(body)) + body


def hello(id=1, **body):
    return frame({"id": id, "ok": True, "body": body})


ANSWERS = {
    "version": hello(version=9),
    "functions": hello(version=2, functions=[{"name": f"f{i}"} for i in range(4097)]),
    "deep": frame(
        b'{"id":1,"ok":true,"body":{"version":2,"functions":[{"name":"f","parameters":%b%b}]}}'
        % (b"[" * 100_000, b"]" * 100_000)
    ),
    "body": frame({"id": 1, "ok": True, "body": 5}),
    "id": hello(id=77, version=2),
    "foreign": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "text": frame(b"hello there"),
    "empty": frame(b""),
    "request": frame({"id": 1, "method": "hello", "body": None}),
    "refused": frame({"id": 0, "ok": False, "error": "I read no frames"}),
    "nothing": b"",
}

listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
listener.bind(os.environ["PYPROC_SOCKET_PATH"])
listener.listen(1)
conn = listener.accept()[0]
if ENDS_AT_ONCE:
    conn.sendall(ANSWERS[MODE])
    os._exit(3)
conn.recv(65536)
conn.sendall(ANSWERS[MODE])
conn.recv(1)

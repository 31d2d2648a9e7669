"""A worker that attacks its pool.

It speaks the real protocol, version 2 with telemetry, with the standard library alone, one request at a time. Each
function is one attack, and `echo` shows that the pool lives. What a worker is allowed to do wrong without meaning harm is in
`odd.py`.
"""

import json
import os
import socket
import struct

HEADER = struct.Struct(">BBBxQ")
REQUEST, RESPONSE, ERROR, TELEMETRY = 0x01, 0x02, 0x03, 0x10
NAME, TRACE, DEADLINE, HEADERS = 0x01, 0x02, 0x04, 0x08
LARGEST = 1024 * 1024  # of a frame of records


class Pool:
    """The pool at the other end."""

    def __init__(self, conn):
        self.conn = conn
        self.stream = conn.makefile("rb")

    def send(self, body):
        self.conn.sendall(struct.pack(">I", len(body)) + body)

    def answer(self, id, value):
        self.send(HEADER.pack(RESPONSE, 0, 0, id) + json.dumps(value).encode())

    def records(self, lines):
        self.send(HEADER.pack(TELEMETRY, 0, 0, 0) + lines)

    def frame(self):
        prefix = self.stream.read(4)
        return self.stream.read(*struct.unpack(">I", prefix)) if prefix else None


def echo(pool, id, body):
    pool.answer(id, body)


def say(pool, id, body):
    """Writes the text of the body to stderr, so often as `times` says."""
    text = body["text"].encode()
    for _ in range(body.get("times", 1)):
        rest = text
        while rest:
            rest = rest[os.write(2, rest) :]
    pool.answer(id, None)


def say_and_die(pool, id, body):
    os.write(2, body.encode())
    os._exit(1)


def report(pool, id, body):
    """Reports lines as they are in one frame, so often as `times` says, as few frames as possible."""
    lines = "".join(line + "\n" for line in body["lines"]).encode()
    times, each = body.get("times", 1), max(1, LARGEST // len(lines))
    while times > 0:
        pool.records(lines * min(each, times))
        times -= each
    pool.answer(id, None)


def fail(pool, id, body):
    """Raises an error of the type and with the message and traceback that the body has."""
    name, message, traceback = (text.encode() for text in body)
    parts = struct.pack(">H", len(name)) + name + struct.pack(">I", len(message)) + message
    pool.send(HEADER.pack(ERROR, 0, 0, id) + parts + traceback)


FUNCTIONS = [echo, say, say_and_die, report, fail]


def greet(pool):
    hello = json.loads(pool.frame())
    functions = [{"name": f.__name__} for f in FUNCTIONS]
    features = ["logs", "spans", "metrics"]
    body = {"version": 2, "features": features, "functions": functions, "python": "3"}
    pool.send(json.dumps({"id": hello["id"], "ok": True, "body": body}).encode())


def request(frame):
    """The function, the id and the body of a request without headers."""
    _, flags, _, id = HEADER.unpack_from(frame)
    assert not flags & (NAME | HEADERS), frame
    (index,) = struct.unpack_from(">H", frame, HEADER.size)
    payload = HEADER.size + 2 + (25 if flags & TRACE else 0) + (8 if flags & DEADLINE else 0)
    return FUNCTIONS[index], id, json.loads(frame[payload:])


def main():
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(os.environ["PYPROC_SOCKET_PATH"])
    listener.listen(1)
    pool = Pool(listener.accept()[0])
    greet(pool)
    while frame := pool.frame():
        if frame[0] == REQUEST:
            function, id, body = request(frame)
            function(pool, id, body)


main()

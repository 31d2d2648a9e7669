"""A worker that misbehaves on demand.

It speaks the real protocol with the standard library alone, one connection and one request
at a time like the first published worker, and knows no hello. Each function is
one way to go wrong; `echo` and `pid` are the good ones.
"""

import json
import os
import signal
import socket
import struct
import sys
import time

kept = []
MODE = sys.argv[1] if len(sys.argv) > 1 else "serve"


def frame(body):
    return struct.pack(">I", len(body)) + body


def answer(conn, id, body):
    conn.sendall(frame(json.dumps({"id": id, "ok": True, "body": body}).encode()))


def raw(conn, text):
    conn.sendall(frame(text if isinstance(text, bytes) else text.encode()))


def forever():
    while True:
        signal.pause()


def echo(conn, id, body):
    answer(conn, id, body)


def pid(conn, id, body):
    answer(conn, id, os.getpid())


def fail(conn, id, body):
    raw(conn, json.dumps({"id": id, "ok": False, "error": str(body)}))


def never(conn, id, body):
    forever()


def wait_for_file(conn, id, body):
    """Answers once the file named by the body exists."""
    while not os.path.exists(body):
        time.sleep(0.001)
    answer(conn, id, "seen")


def say(conn, id, body):
    """Writes the texts that the body names by file descriptor, so often as `times` says."""
    for fd in ("1", "2"):
        text = body.get(fd, "").encode() * body.get("times", 1)
        while text:
            text = text[os.write(int(fd), text) :]
    answer(conn, id, None)


def say_and_die(conn, id, body):
    """Writes the body to stderr and is gone."""
    os.write(2, body.encode())
    os.kill(os.getpid(), signal.SIGKILL)


def unknown_id(conn, id, body):
    answer(conn, id + 12345, "surprise")


def twice(conn, id, body):
    answer(conn, id, "first")
    answer(conn, id, "second")


def half_frame(conn, id, body):
    conn.sendall(struct.pack(">I", 100) + b'{"id":1,')
    conn.shutdown(socket.SHUT_RDWR)
    forever()


def close(conn, id, body):
    conn.shutdown(socket.SHUT_RDWR)
    forever()


def too_large(conn, id, body):
    result_of_length(conn, 10 * 1024 * 1024 + 1)


def huge_length(conn, id, body):
    result_of_length(conn, 0xFFFFFFFF)


def result_of_length(conn, length):
    """Sends the result until nobody reads it."""
    conn.sendall(struct.pack(">I", length))
    while True:
        conn.sendall(b" " * 1024)


def nested(conn, id, body):
    raw(conn, '{"id":%d,"ok":true,"body":%s%s}' % (id, "[" * 100_000, "]" * 100_000))


def bad_utf8(conn, id, body):
    raw(conn, b'{"id":%d,"ok":true,"body":"\xff\xfe"}' % id)


def no_json(conn, id, body):
    raw(conn, '{"id":%d,"ok":true,"body":not json}' % id)


def id_zero(conn, id, body):
    """Reads no more on this connection, which stays open, and accepts the next."""
    raw(conn, '{"id":0,"ok":false,"error":"Expecting value: line 1 column 1 (char 0)"}')
    kept.append(conn)
    raise ConnectionError


def id_zero_then_wait(conn, id, body):
    """The same, but it accepts the next only once the file named by the body exists."""
    try:
        id_zero(conn, id, body)
    finally:
        while not os.path.exists(body):
            time.sleep(0.001)


def id_zero_then_exit(conn, id, body):
    """The same, but it is gone."""
    try:
        id_zero(conn, id, body)
    finally:
        sys.exit(body)


def flood(conn, id, body):
    """Writes `body` bytes to stderr and stdout, then answers."""
    line = b"x" * 1023 + b"\n"
    for _ in range(body // 2048):
        os.write(2, line)
        os.write(1, line)
    answer(conn, id, "flooded")


def exit_with(conn, id, body):
    sys.stderr.write("these are my last words\n")
    sys.exit(body)


def kill_self(conn, id, body):
    os.kill(os.getpid(), signal.SIGKILL)


def leave_child(conn, id, body):
    """Leaves a child that holds on to the connection and the output, and exits."""
    if os.fork() == 0:
        forever()
    os._exit(3)


def leave_detached_child(conn, id, body):
    """Leaves a child outside of the process group that holds on to the output, and exits."""
    if os.fork() == 0:
        os.setsid()
        conn.close()
        with open(body, "w") as file:
            file.write(str(os.getpid()))
        forever()
    while not os.path.exists(body):
        time.sleep(0.001)
    os._exit(3)


def stubborn(conn, id, body):
    """From now on SIGTERM is ignored, also when the connection closes."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    answer(conn, id, os.getpid())


def end_at_hang_up(conn, id, body):
    """From now on SIGTERM is ignored; it ends when the connection closes."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    answer(conn, id, None)
    conn.recv(1)
    sys.exit(0)


FUNCTIONS = {name: f for name, f in globals().items() if callable(f) and not isinstance(f, type)}


def serve(conn):
    stream = conn.makefile("rb")
    while True:
        prefix = stream.read(4)
        if len(prefix) < 4:
            return
        request = json.loads(stream.read(struct.unpack(">I", prefix)[0]))
        function = FUNCTIONS.get(request["method"])
        if function is None:
            error = "Method '%s' not found" % request["method"]
            raw(conn, json.dumps({"id": request["id"], "ok": False, "error": error}))
        else:
            function(conn, request["id"], request["body"])


def main():
    if MODE == "exit":
        sys.stderr.write("I would rather not\n")
        sys.exit(7)
    if MODE == "raise":
        raise RuntimeError("no such model file")
    if MODE == "mute":
        forever()
    if MODE == "exit_second_time":
        # The first worker leaves a mark, at which the next ones give up.
        if os.path.exists(sys.argv[2]):
            sys.exit("the second time never works")
        open(sys.argv[2], "w").close()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(os.environ["PYPROC_SOCKET_PATH"])
    listener.listen(1)
    if MODE == "deaf":
        forever()
    if MODE == "hang_up":
        listener.accept()[0].close()
        forever()
    while True:
        try:
            serve(listener.accept()[0])
        except ConnectionError:
            continue
        if MODE != "serve":
            forever()


main()

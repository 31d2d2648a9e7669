"""A worker that attacks its pool by the frames that it sends: `hostile_protocol.py ATTACK MARK`.

It speaks the real protocol with the standard library alone. The first process attacks and leaves the file MARK; those
after it echo what they are sent. Attacks by output and records are in `hostile.py`.
"""

import itertools
import json
import os
import socket
import struct
import sys
import time

MAX = 10 * 1024 * 1024
REQUEST, RESPONSE, ERROR, CANCEL, PING, PONG, DRAIN, TELEMETRY = 1, 2, 3, 4, 8, 9, 10, 16
# The id of a call is its place, and how often that was used before.
GENERATION = 1 << 20
ATTACKS = {}


def attack(function):
    ATTACKS[function.__name__] = function
    return function


def framed(body):
    return struct.pack(">I", len(body)) + body


def binary(kind, id=0, rest=b"", flags=0, codec=0):
    return framed(struct.pack(">BBBBQ", kind, flags, codec, 0, id) + rest)


def text(message):
    return framed(json.dumps(message).encode())


def response(id, body, **fields):
    return binary(RESPONSE, id, json.dumps(body).encode(), **fields)


class Worker:
    def __init__(self, conn, behind=b"", deaf=False, **info):
        """Introduces itself, and sends `behind` in the same breath. Before that, one that is deaf closes for reading."""
        self.conn = conn
        self.stream = conn.makefile("rb")
        hello = json.loads(self.frame())
        features = hello["body"]["features"]
        functions = [{"name": "echo"}]
        body = {"version": 2, "features": features, "functions": functions, "pid": os.getpid(), **info}
        if deaf:
            conn.shutdown(socket.SHUT_RD)
        conn.sendall(text({"id": hello["id"], "ok": True, "body": body}) + behind)

    def frame(self):
        prefix = self.stream.read(4)
        if len(prefix) < 4:
            sys.exit(0)
        return self.stream.read(struct.unpack(">I", prefix)[0])

    def request(self, kinds=(REQUEST,)):
        """The id and the body of the next request; other messages are skipped."""
        while True:
            frame = self.frame()
            if frame[:1] == b"{":
                message = json.loads(frame)
                if "method" in message:
                    return message["id"], message["body"]
            elif frame[0] in kinds:
                id = struct.unpack(">Q", frame[4:12])[0]
                # The number of the method, and the deadline that the pool always adds.
                return id, json.loads(frame[12 + 2 + 8 :] if frame[0] == REQUEST else b"null")

    def send(self, *frames):
        self.conn.sendall(b"".join(frames))

    def flood(self, frame, seconds=0.3):
        """Sends it again and again for a while."""
        batch = frame * max(1, 65536 // len(frame))
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.conn.sendall(batch)

    def echo(self):
        while True:
            id, body = self.request()
            self.send(response(id, body))

    def wait(self):
        """Reads until the pool hangs up."""
        while self.conn.recv(65536):
            pass

    def never_read(self):
        while True:
            time.sleep(60)


def answer_one(worker):
    id, body = worker.request()
    worker.send(response(id, body))
    return id


# Answers that nobody asked for.


@attack
def an_id_that_was_never_sent(worker):
    id, _ = worker.request()
    worker.send(response(id + 77, "wrong"))


@attack
def the_largest_id(worker):
    worker.request()
    worker.send(response((1 << 64) - 1, "wrong"))


@attack
def the_next_generation(worker):
    id, _ = worker.request()
    worker.send(response(id + GENERATION, "wrong"))


@attack
def the_generation_before(worker):
    id = answer_one(worker)
    worker.request()
    worker.send(response(id, "wrong"))


@attack
def answered_twice(worker):
    id, body = worker.request()
    worker.send(response(id, body), response(id, "wrong"))


@attack
def answered_and_failed(worker):
    id, body = worker.request()
    worker.send(response(id, body), binary(ERROR, id, struct.pack(">HI", 0, 0)))


@attack
def all_ids_at_once(worker):
    worker.request()
    worker.send(*(response(GENERATION + place, "wrong") for place in range(1 << 10, 1 << 12)))


@attack
def the_calls_of_another(worker):
    own, _ = worker.request()
    first = range(GENERATION, GENERATION + 32)
    worker.send(*(response(id, "wrong") for id in first if id != own))


@attack
def the_hello_once_more(worker):
    worker.request()
    worker.send(text({"id": 1, "ok": True, "body": {"version": 1}}))


@attack
def an_error_without_an_id(worker):
    worker.request()
    worker.send(text({"id": 0, "ok": False, "error": "who, me?"}))


@attack
def a_long_farewell(worker):
    worker.request()
    worker.send(text({"id": 0, "ok": False, "error": "bye" * (3 << 20)}))


@attack
def a_result_without_an_id(worker):
    worker.request()
    worker.send(response(0, "wrong"))


@attack
def cancellations_are_answered(worker):
    """The answer to a cancellation is a second one to its call."""
    id, _ = worker.request()
    cancelled, _ = worker.request(kinds=(CANCEL,))
    worker.send(response(id, "late"), response(cancelled, "wrong"))


# Frames that make no sense, or not now.


@attack
def a_request(worker):
    worker.send(binary(REQUEST, 5, b"\0\0null"))


@attack
def a_cancellation(worker):
    worker.send(binary(CANCEL, 5, b"stop"))


@attack
def a_ping(worker):
    worker.send(binary(PING, 5))


@attack
def a_stream_item(worker):
    id, _ = worker.request()
    worker.send(binary(5, id, b"1"))


@attack
def a_stream_end(worker):
    id, _ = worker.request()
    worker.send(binary(6, id))


@attack
def a_credit(worker):
    id, _ = worker.request()
    worker.send(binary(7, id, b"\xff" * 8))


@attack
def an_unknown_kind(worker):
    worker.send(binary(0x0F, 5))


@attack
def an_unknown_flag(worker):
    id, body = worker.request()
    worker.send(response(id, body, flags=0x08))


@attack
def a_kind_of_another_version(worker):
    worker.send(framed(b"\x7fELF"))


@attack
def a_request_in_json(worker):
    worker.send(text({"id": 5, "method": "echo", "body": None}))


@attack
def a_cancellation_in_json(worker):
    worker.send(text({"type": "cancellation", "payload": {"id": 5}}))


@attack
def headers_without_end(worker):
    id, _ = worker.request()
    headers = {f"h{i}": "x" for i in range(1000)}
    worker.send(text({"id": id, "ok": True, "body": 1, "headers": headers}))


@attack
def json_that_is_none(worker):
    id, _ = worker.request()
    worker.send(framed(b'{"id":%d,"ok":true,"body":NaN}' % id))


@attack
def a_text_that_is_none(worker):
    id, _ = worker.request()
    worker.send(binary(ERROR, id, struct.pack(">H", 2) + b"\xff\xfe" + struct.pack(">I", 0)))


@attack
def a_frame_without_a_body(worker):
    worker.send(framed(b""))


@attack
def a_header_that_ends_early(worker):
    worker.send(framed(b"\x02\0\0\0\0\0"))


@attack
def bytes_behind_a_pong(worker):
    worker.send(binary(PONG, 1, b"more"))


@attack
def an_inner_length_that_lies(worker):
    id, _ = worker.request()
    worker.send(binary(ERROR, id, struct.pack(">HI", 0, 0xFFFFFFFF) + b"short"))


@attack
def times_that_end_early(worker):
    id, _ = worker.request()
    worker.send(binary(RESPONSE, id, b"\0\0\0", flags=0x01))


@attack
def a_length_that_is_too_long(worker):
    worker.request()
    worker.send(struct.pack(">IB", MAX + 1, RESPONSE))


@attack
def a_length_of_four_gigabytes(worker):
    worker.request()
    worker.send(struct.pack(">IB", 0xFFFFFFFF, ERROR))


# Connections that end where they should not.


@attack
def a_length_that_is_never_filled(worker):
    id, body = worker.request()
    worker.send(response(id, body)[:-1])
    worker.conn.shutdown(socket.SHUT_WR)


@attack
def closed_within_a_length(worker):
    worker.request()
    worker.send(b"\0\0")
    worker.conn.shutdown(socket.SHUT_RDWR)


@attack
def closed_for_writing(worker):
    worker.request()
    worker.conn.shutdown(socket.SHUT_WR)


@attack
def deaf(worker):
    worker.never_read()


@attack
def deaf_and_floods(worker):
    worker.flood(binary(PONG, 5), seconds=1000)


# What is allowed, and too much of it.


@attack
def pongs(worker):
    worker.flood(binary(PONG, 5))
    worker.echo()


@attack
def frames_to_skip(worker):
    worker.flood(binary(0x1F, 5, b"?" * 100, flags=0xFF, codec=9))
    worker.flood(text({"type": "gossip", "payload": {"a": [1, 2, 3]}}))
    worker.echo()


@attack
def records_that_are_none(worker):
    worker.flood(binary(TELEMETRY, rest=b"{" * 1000 + b"\n" * 1000))
    worker.echo()


@attack
def records_while_calls_wait(worker):
    record = {"type": "log", "time": 0, "level": 20, "message": "x" * 1000}
    worker.flood(binary(TELEMETRY, rest=json.dumps(record).encode() + b"\n"))
    worker.echo()


@attack
def a_record_as_large_as_a_frame(worker):
    record = {"type": "log", "time": 0, "level": 20, "message": "x" * (MAX - 1000)}
    for _ in range(20):
        worker.send(binary(TELEMETRY, rest=json.dumps(record).encode() + b"\n"))
    worker.echo()


@attack
def a_record_longer_than_a_frame(worker):
    """It is read past."""
    worker.send(struct.pack(">IB", 20 * MAX, TELEMETRY), b"\n" * (20 * MAX - 1))
    worker.echo()


@attack
def one_byte_at_a_time(worker):
    while True:
        id, body = worker.request()
        for byte in response(id, body):
            worker.send(bytes([byte]))


@attack
def answers_backwards(worker):
    while True:
        calls = [worker.request() for _ in range(2)]
        for id, body in reversed(calls):
            worker.send(response(id, body))


@attack
def times_out_of_this_world(worker):
    for i in itertools.count():
        id, body = worker.request()
        start, duration = [(0, 0), (2**64 - 1, 2**64 - 1), (2**64 - 1, 0), (0, 2**64 - 1)][i % 4]
        rest = struct.pack(">QQ", start, duration) + json.dumps(body).encode()
        worker.send(binary(RESPONSE, id, rest, flags=0x01))


@attack
def answers_in_json(worker):
    while True:
        id, body = worker.request()
        worker.send(text({"id": id, "ok": True, "body": body}))


# Calls that get no answer that they could use.


@attack
def unknown_codecs(worker):
    for codec in itertools.cycle([1, 2, 9, 255]):
        id, _ = worker.request()
        worker.send(binary(RESPONSE, id, b"\xc1", codec=codec))


@attack
def results_that_are_no_json(worker):
    for body in itertools.cycle([b"", b"NaN", b"[" * 100_000, b"\xff", b"1 2"]):
        id, _ = worker.request()
        worker.send(binary(RESPONSE, id, body))


@attack
def errors_as_large_as_a_frame(worker):
    while True:
        id, _ = worker.request()
        rest = struct.pack(">H", 65535) + b"T" * 65535 + struct.pack(">I", 1 << 20) + b"m" * (1 << 20)
        worker.send(binary(ERROR, id, rest + b"t" * (8 << 20)))


@attack
def never_answers(worker):
    worker.wait()


@attack
def never_reads(worker):
    worker.never_read()


@attack
def only_floods(worker):
    """Sends without end, and no answers."""
    worker.flood(binary(PONG, 5), seconds=1000)


@attack
def drains_and_keeps_its_calls(worker):
    worker.request()
    worker.send(binary(DRAIN) * 1000)
    worker.wait()


# Introductions.

HELLOS = {
    "a_table_of_doubles": {"functions": [{"name": "echo"}] * 4096},
    "a_table_as_large_as_a_frame": {
        "functions": [{"name": f"f{i}", "doc": "x" * 2000} for i in range(4095)] + [{"name": "echo"}]
    },
    "names_of_all_kinds": {
        "functions": [{"name": name} for name in ["echo", "", "\0", "x" * 1_000_000, "pyproc.hello", "\u202e", "é"]]
    },
    "the_pid_of_another": {"pid": 1},
    "the_pid_of_nobody": {"pid": 2**32 - 1},
    "features_of_the_future": {"features": ["logs", "time-travel", "cancel", "cancel"]},
    "agents_that_forge_lines": {"agent": "\x1b[2J\n" * 1000, "python": "\u202e" * 1000},
    "plain_and_concurrent": {"functions": [{"name": "echo", "concurrent": i % 2 == 0} for i in range(100)]},
}


BEHIND_THE_HELLO = {
    "before_it_was_sent": response(GENERATION, "wrong"),
    "drains_at_once": binary(DRAIN) * 1000,
}


def main():
    name, mark = sys.argv[1:]
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(os.environ["PYPROC_SOCKET_PATH"])
    listener.listen(1)
    conn = listener.accept()[0]
    try:
        open(mark, "x").close()
    except FileExistsError:
        Worker(conn).echo()
    if name in HELLOS:
        Worker(conn, **HELLOS[name]).echo()
    worker = Worker(conn, BEHIND_THE_HELLO.get(name, b""), deaf="deaf" in name)
    if name in ATTACKS:
        ATTACKS[name](worker)
    worker.wait()


if __name__ == "__main__":
    main()

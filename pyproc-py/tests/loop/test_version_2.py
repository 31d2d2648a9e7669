"""What clients of version 2 see of a worker; what both versions share is in test_loop.py."""

import base64
import datetime as dt
import json
import os
import signal
import struct
import time

import msgspec
import pytest
from pyproc_worker._errors import FROZEN
from wire import (
    CANCEL,
    DRAIN,
    ERROR,
    JSON,
    MESSAGEPACK,
    PING,
    PONG,
    RAW,
    REQUEST,
    RESPONSE,
    Client,
    frame2,
    hello,
    request,
    request2,
)

INVALID, NOT_FOUND = "pyproc_worker.InvalidRequest", "pyproc_worker.MethodNotFound"

BYTES = """
    @expose
    def kind(req):
        return type(req).__name__

    @expose
    def blob(kind: str):
        return {"bytes": bytes, "bytearray": bytearray, "memoryview": memoryview}[kind](b"ab")

    @expose
    def strided(req):
        return memoryview(b"abcdef")[::2]

    @expose
    def nested(req):
        return {"blob": b"ab"}
"""


@pytest.fixture
def client(start):
    return start(BYTES).connect(version=2)


def ask(client, method, payload=b"null", codec=JSON, times=False):
    """One call; the method is a name, which the table turns into its index."""
    client.send(request2(7, client.table.get(method, method), payload, codec, times))
    answer = client.receive2()
    assert answer.pop("id") == 7
    return answer


# Versions and methods


def test_the_hello_chooses_the_highest_common_version(start):
    worker = start()
    for versions, wanted in (([1], 1), ([1, 2], 2), ([2, 1], 2), ([1, 2, 3], 2), ([3, 1], 1)):
        client = Client(worker.path)
        assert client.say_hello(versions=versions)["body"]["version"] == wanted
        client.close()


def test_each_request_is_answered_in_its_own_version(client):
    index = client.table["echo"]
    client.send(
        bytes(request(1, "echo", 1)),
        request2(2, index, b"2"),
        bytes(request(3, "nope", 3)),
        request2(4, "nope"),
    )
    assert client.receive_body() == b'{"id":1,"ok":true,"body":1}'
    assert client.receive2() == {"kind": RESPONSE, "id": 2, "codec": JSON, "payload": b"2"}
    assert json.loads(client.receive_body())["error"] == "Method 'nope' not found"
    assert (client.receive2()["kind"]) == ERROR


@pytest.mark.parametrize("versions", [None, [1]], ids=["no hello", "version 1"])
def test_version_2_is_a_broken_frame_before_a_hello_that_chose_it(start, versions):
    client = start().connect()
    if versions:
        client.say_hello(versions=versions)
    client.send(request2(2, "echo"))
    response = client.receive()
    assert (response["id"], response["ok"]) == (0, False)
    assert "0x01" in response["error"]
    assert client.is_at_end()


def test_bytes_of_no_version_are_a_broken_frame(client):
    client.send(b"\0\0\0\1\x20")
    assert client.receive()["id"] == 0
    assert client.is_at_end()


def test_features_of_later_texts_are_not_granted(start):
    client = start().connect()
    body = client.say_hello(versions=[1, 2, 3], features=["cancel", "streams"])["body"]
    assert (body["version"], body["features"]) == (2, ["cancel"])


def test_only_the_loop_in_python_says_that_what_comes_after_version_2_takes_the_other_core(
    start, core
):
    worker = start()
    refusals = [worker.connect().say_hello(versions=[3])["error"]]
    for unknown in frame2(0x05, 1), frame2(PING, 1, flags=0x01):
        client = worker.connect(version=2)
        client.send(unknown)
        refusals.append(client.receive()["error"])
    assert [FROZEN in refusal for refusal in refusals] == [core == "python"] * 3


def test_a_second_hello_is_a_broken_frame(client):
    assert client.say_hello()["id"] == 0
    assert client.is_at_end()


def test_an_index_beyond_the_table_is_not_found(client):
    for index in (len(client.table), 65535):
        answer = ask(client, index)
        assert (answer["kind"], answer["type"]) == (ERROR, NOT_FOUND)
        assert str(index) in answer["message"]


def test_what_was_exposed_after_the_hello_is_reached_by_name(start):
    client = start(
        """
        @expose
        def grow(req):
            @expose
            def a_late_one(req):
                return "late"
        """
    ).connect(version=2)
    assert client.table["echo"] == 0
    assert ask(client, "a_late_one")["type"] == NOT_FOUND
    assert ask(client, "grow")["kind"] == RESPONSE
    assert ask(client, "a_late_one")["payload"] == b'"late"'
    assert ask(client, "echo", b"1")["payload"] == b"1"


def test_the_hello_is_no_method_of_version_2(client):
    assert ask(client, "pyproc.hello")["type"] == NOT_FOUND


def test_requests_with_every_part_are_run(client):
    trace, deadline, headers = bytes(25), bytes(8), struct.pack(">HH1sH1s", 1, 1, b"a", 1, b"b")
    index = struct.pack(">H", client.table["echo"])
    for flags, parts in (
        (0x02, trace),
        (0x04, deadline),
        (0x06, trace + deadline),
        (0x08, headers),
        (0x0E, trace + deadline + headers),
        (0xE0, b""),  # remarks that nobody knows
    ):
        client.send(frame2(REQUEST, 1, index + parts + b'"x"', flags))
        assert client.receive2() == {"kind": RESPONSE, "id": 1, "codec": JSON, "payload": b'"x"'}


@pytest.mark.parametrize(("flags", "size"), [(0x02, 24), (0x04, 7), (0x06, 32), (0, -1)])
def test_requests_that_end_within_their_parts_are_broken(client, flags, size):
    client.send(frame2(REQUEST, 1, b"\0" * (2 + size), flags))
    assert client.receive()["id"] == 0
    assert client.is_at_end()


@pytest.mark.parametrize("id", [0, 2**53, 2**64 - 1])
def test_an_id_that_no_answer_may_have_is_broken(client, id):
    client.send(request2(id, client.table["echo"]))
    assert client.receive()["id"] == 0
    assert client.is_at_end()


# Codecs


def test_a_body_of_json_that_cannot_be_read_is_that_requests_error(client):
    for payload in (
        b"",
        b"{",
        b"\xff",
        b"[1] 2",
        b"NaN",
        b'"\\ud800"',
        b"1" * 4301,
        b"[" * 100_000,
    ):
        answer = ask(client, "echo", payload)
        assert (answer["kind"], answer["type"]) == (ERROR, INVALID), payload
        assert "body" in answer["message"]
    assert ask(client, "echo", b"1")["payload"] == b"1"


def test_messagepack_is_answered_in_messagepack(client):
    value = {"a": [1, -2.5, None, True, "ü", 2**63], "b": b"\0\xff", "at": dt.datetime(2026, 1, 2)}
    answer = ask(client, "echo", msgspec.msgpack.encode(value), MESSAGEPACK)
    assert (answer["kind"], answer["codec"]) == (RESPONSE, MESSAGEPACK)
    assert msgspec.msgpack.decode(answer["payload"]) == {**value, "at": "2026-01-02T00:00:00"}


@pytest.mark.parametrize("payload", [b"", b"\x92\x01", b"\xc1", b"\xa1\xff", b"\xd4\x05\x00"])
def test_messagepack_that_cannot_be_read_is_that_requests_error(client, payload):
    answer = ask(client, "echo", payload, MESSAGEPACK)
    assert (answer["kind"], answer["type"]) == (ERROR, INVALID)
    assert ask(client, "echo", b"\x01", MESSAGEPACK)["payload"] == b"\x01"


def test_a_raw_argument_is_bytes_and_answered_raw(client):
    for size in (0, 5, 300_000):
        answer = ask(client, "echo", b"\0" * size, RAW)
        assert answer == {"kind": RESPONSE, "codec": RAW, "payload": b"\0" * size}
    assert ask(client, "kind", b"x", RAW) == {
        "kind": RESPONSE,
        "codec": JSON,
        "payload": b'"bytes"',
    }


@pytest.mark.parametrize("codec", [JSON, MESSAGEPACK])
@pytest.mark.parametrize("kind", ["bytes", "bytearray", "memoryview"])
def test_a_result_of_bytes_is_raw_whatever_the_request_was(client, kind, codec):
    payload = json.dumps(kind).encode() if codec == JSON else msgspec.msgpack.encode(kind)
    answer = ask(client, "blob", payload, codec)
    assert answer == {"kind": RESPONSE, "codec": RAW, "payload": b"ab"}


def test_a_view_with_gaps_is_sent_without_them(client):
    assert ask(client, "strided")["payload"] == b"ace"


def test_bytes_within_a_result_are_base64_in_json_and_bytes_in_messagepack(client):
    text = base64.b64encode(b"ab").decode()
    assert json.loads(ask(client, "nested")["payload"]) == {"blob": text}
    answer = ask(client, "nested", b"\xc0", MESSAGEPACK)
    assert msgspec.msgpack.decode(answer["payload"]) == {"blob": b"ab"}


def test_version_1_carries_bytes_as_base64(client):
    client.send(bytes(request(1, "blob", "bytes")))
    assert json.loads(client.receive_body())["body"] == base64.b64encode(b"ab").decode()


def test_an_unknown_codec_is_that_requests_error(client):
    for codec in (3, 16, 255):
        answer = ask(client, "echo", b"x", codec)
        assert (answer["kind"], answer["type"]) == (ERROR, INVALID)
        assert str(codec) in answer["message"]
    assert ask(client, "echo", b"1")["payload"] == b"1"


def test_5_mib_of_raw_bytes_are_echoed(client):
    blob = bytes(range(256)) * (5 * 4096)
    assert ask(client, "echo", blob, RAW)["payload"] == blob


# Errors


def test_an_error_has_type_message_and_traceback(client):
    answer = ask(client, "fail", b'"no such model"')
    assert (answer["kind"], answer["type"]) == (ERROR, "ValueError")
    assert answer["message"] == "no such model"
    assert answer["traceback"].startswith("Traceback (most recent call last):\n")
    assert "raise ValueError(req)" in answer["traceback"]
    assert "pyproc_worker" not in answer["traceback"]


def test_an_error_is_not_logged_since_the_client_sees_it(start):
    worker = start()
    ask(worker.connect(version=2), "fail", b'"seen by the client"')
    worker.process.terminate()
    assert worker.exit_code() == 0
    assert "seen by the client" not in worker.stderr()


def test_an_error_beyond_the_maximum_is_shortened_to_a_note(start):
    client = start(PYPROC_MAX_FRAME_SIZE="2048").connect(version=2)
    answer = ask(client, "fail", b'"%b"' % (b"x" * 1900))
    assert (answer["kind"], answer["message"]) == (ERROR, "an error too long for a frame")


@pytest.mark.parametrize("codec", [JSON, RAW])
def test_a_frame_of_the_maximum_size_is_read_and_written(start, codec):
    client = start(PYPROC_MAX_FRAME_SIZE="2048").connect(version=2)
    payload = b'"%b"' % (b"x" * (2048 - 14 - 2))
    assert ask(client, "echo", payload, codec)["payload"] == payload


@pytest.mark.parametrize("kind", ["raw", "json"])
def test_a_result_beyond_the_maximum_is_an_encode_error(start, kind):
    client = start(
        """
        @expose
        def raw(size):
            return bytes(size)

        @expose
        def json(size):
            return " " * (size - 2)
        """,
        PYPROC_MAX_FRAME_SIZE="2048",
    ).connect(version=2)
    assert ask(client, kind, b"2036")["kind"] == RESPONSE
    answer = ask(client, kind, b"2037")
    assert (answer["kind"], answer["type"]) == (ERROR, "pyproc_worker.EncodeError")


# Times


def test_times_are_sent_to_those_who_ask(client):
    before = time.time_ns()
    answer = ask(client, "echo", b"1", times=True)
    start, duration = answer.pop("times")
    assert answer == {"kind": RESPONSE, "codec": JSON, "payload": b"1"}
    assert before <= start <= start + duration <= time.time_ns()
    assert "times" not in ask(client, "echo", b"1")


def test_the_duration_is_that_of_the_function(start):
    worker = start()
    client, gate = worker.connect(version=2), worker.gate()
    client.send(request2(1, "gate", json.dumps(gate.body).encode(), times=True))
    running = gate.entered()
    began = time.perf_counter_ns()
    while time.perf_counter_ns() < began + 1_000_000:
        pass
    running.close()
    assert client.receive2()["times"][1] >= 1_000_000


def test_errors_tell_the_times_of_functions_that_ran(client):
    answer = ask(client, "fail", b'"oh"', times=True)
    assert answer["times"][0] > 0
    assert (answer["kind"], answer["message"]) == (ERROR, "oh")
    assert "times" not in ask(client, "echo", b"{", times=True)


# Control messages


def test_a_ping_is_answered_with_its_id(client):
    for id in (0, 1, 2**64 - 1):
        client.send(frame2(PING, id))
        assert client.receive2() == {"kind": PONG, "id": id, "codec": 0, "payload": b""}


def test_unknown_kinds_are_skipped_if_they_may_be(client):
    client.send(*(frame2(kind, 1, b"rest", flags=0xFF) for kind in range(0x10, 0x20)))
    assert ask(client, "echo", b"1")["payload"] == b"1"


@pytest.mark.parametrize("kind", [0x00, 0x05, 0x06, 0x07, 0x0B, 0x0F])
def test_unknown_kinds_that_must_be_understood_are_broken(client, kind):
    client.send(frame2(kind, 1))
    assert client.receive()["id"] == 0
    assert client.is_at_end()


def test_a_draining_worker_says_so(start):
    worker = start()
    client, other, gate = worker.connect(version=2), worker.connect(), worker.gate()
    client.send(request2(1, "gate", json.dumps(gate.body).encode()), request2(2, "echo", b"2"))
    running = gate.entered()
    worker.process.terminate()
    running.close()
    messages = [client.receive2() for _ in range(3)]
    assert {"kind": DRAIN, "id": 0, "codec": 0, "payload": b""} in messages
    assert [m["id"] for m in messages if m["kind"] == RESPONSE] == [1, 2]
    assert client.is_at_end()
    assert other.is_at_end()
    assert worker.exit_code() == 0


def test_a_client_that_comes_as_the_worker_begins_to_drain_is_notified_after_its_hello(start):
    worker = start()
    pid = worker.process.pid
    os.kill(pid, signal.SIGSTOP)
    os.waitpid(pid, os.WUNTRACED)
    client = worker.connect()
    client.send(bytes(hello(versions=[1, 2])))
    worker.process.terminate()
    os.kill(pid, signal.SIGCONT)
    assert client.receive()["body"]["version"] == 2
    assert client.receive2()["kind"] == DRAIN
    assert client.is_at_end()
    assert worker.exit_code() == 0


def test_a_client_that_drains_gets_its_answers_and_may_go_on(client):
    client.send(request2(1, "echo", b"1"), frame2(DRAIN, 0))
    assert client.receive2()["payload"] == b"1"
    client.send(request2(2, "echo", b"2"))
    assert client.receive2()["payload"] == b"2"


def test_the_reason_of_a_cancellation_must_be_a_text(client):
    client.send(frame2(CANCEL, 1, b"\xff"))
    assert client.receive()["id"] == 0
    assert client.is_at_end()

"""What clients see of a worker: a real process over real sockets."""

import json
import os
import select
import socket
import sys

import pytest
from conftest import CODECS, each_version
from wire import cancellation, frame, hello, request

all_codecs = pytest.mark.parametrize("codec", CODECS)


def answer(id, body):
    return {"id": id, "ok": True, "body": body}


@all_codecs
def test_calls_without_a_hello_are_answered_in_the_old_shape(start, codec):
    client = start(PYPROC_JSON=codec).connect()
    client.send(
        request(1, "echo", {"value": 42}),
        request(2, "echo", None),
        request(3, "nope"),
        request(4, "fail", "no such model"),
    )
    assert client.receive_body() == b'{"id":1,"ok":true,"body":{"value":42}}'
    assert client.receive_body() == b'{"id":2,"ok":true,"body":null}'
    assert client.receive_body() == b'{"id":3,"ok":false,"error":"Method \'nope\' not found"}'
    assert client.receive_body() == b'{"id":4,"ok":false,"error":"no such model"}'


def test_health_is_exposed(start):
    worker = start()
    health = worker.connect().call("health", {"any": "body"})["body"]
    assert health == {"status": "healthy", "pid": worker.process.pid}


@each_version
def test_many_pipelined_requests_are_all_answered_in_order(start):
    client = start().connect()
    client.send(*(request(i, "echo", i) for i in range(1, 5001)))
    assert [client.receive() for _ in range(5000)] == [answer(i, i) for i in range(1, 5001)]


@each_version
def test_a_request_may_come_byte_by_byte(start):
    client = start().connect()
    for byte in request(1, "echo", "ü"):
        client.send(bytes([byte]))
    assert client.receive() == answer(1, "ü")


@each_version
def test_several_connections_are_served_at_once(start):
    worker = start()
    clients = [worker.connect() for _ in range(20)]
    for i, client in enumerate(clients, 1):
        client.send(request(i, "echo", i))
    for i, client in reversed(list(enumerate(clients, 1))):
        assert client.receive() == answer(i, i)


@each_version
def test_a_connection_can_be_opened_after_another_closed(start):
    worker = start()
    for i in range(1, 4):
        client = worker.connect()
        assert client.call("echo", i) == answer(1, i)
        client.close()


@each_version
def test_a_client_that_finished_sending_gets_all_its_answers(start):
    client = start().connect()
    client.send(request(1, "echo", 1), request(2, "echo", 2))
    client.socket.shutdown(socket.SHUT_WR)
    assert [client.receive(), client.receive()] == [answer(1, 1), answer(2, 2)]
    assert client.is_at_end()


@each_version
@all_codecs
def test_5_mib_are_echoed(start, codec):
    client = start(PYPROC_JSON=codec).connect()
    text = "x" * (5 * 1024 * 1024)
    assert client.call("echo", text) == answer(1, text)


def test_a_slow_reader_is_bounded_and_blocks_nobody(start):
    worker = start()
    slow, other = worker.connect(), worker.connect()
    piece = request(1, "echo", "x" * 50_000)
    slow.socket.setblocking(False)
    sent, stalls = 0, 0
    while stalls < 20:
        try:
            sent += slow.socket.send(piece[sent % len(piece) :])
            stalls = 0
        except BlockingIOError:
            stalls += 1
            assert other.call("echo", "still here") == answer(1, "still here")
        assert sent < 20_000_000, "the worker reads on although its answers are not read"
    slow.socket.settimeout(20)
    for _ in range(sent // len(piece)):
        assert slow.receive() == answer(1, "x" * 50_000)
    slow.send(piece[sent % len(piece) :])
    assert slow.receive() == answer(1, "x" * 50_000)


@each_version
def test_an_answer_does_not_wait_for_a_slow_function_behind_it(start):
    worker = start()
    client, gate = worker.connect(), worker.gate()
    client.send(request(1, "echo", "a"), request(2, "gate", gate.body), request(3, "echo", "b"))
    assert client.receive() == answer(1, "a")
    gate.open()
    assert client.receive_all(2) == {2: answer(2, None), 3: answer(3, "b")}


@each_version
def test_answers_of_other_connections_do_not_wait_for_a_slow_function(start):
    worker = start()
    other, client, gate = worker.connect(), worker.connect(), worker.gate()
    other.send(request(1, "echo", "a"))
    client.send(request(2, "gate", gate.body))
    assert other.receive() == answer(1, "a")
    gate.open()
    assert client.receive() == answer(2, None)


# Errors


NOTES = """
    class Odd(Exception):
        __notes__ = property(lambda self: 1 / 0)

    @expose
    def fail_with_notes(notes):
        if notes == "odd":
            raise Odd("no such model")
        error = ValueError("no such model")
        error.__notes__ = notes  # as `add_note` does, from Python 3.11 on
        raise error
"""


@each_version
def test_the_notes_of_an_exception_are_in_its_text(start):
    client = start(NOTES).introduced()
    for notes, message in [
        (["in shop 3", "see\nthe manual"], "no such model\nin shop 3\nsee\nthe manual"),
        (["x", 3, None], "no such model\nx"),
        ("odd", "no such model"),
        (7, "no such model"),
    ]:
        answer = client.call("fail_with_notes", notes)
        assert answer["error"] == message
        trace = answer["headers"]["pyproc-error-traceback"]
        if sys.version_info >= (3, 11) and isinstance(notes, list):
            assert "no such model\n" + notes[0] in trace


@each_version
def test_an_error_carries_details_if_the_hello_asked_for_them(start):
    client = start(
        """
        class NoModel(Exception):
            pass

        @expose
        def load(req):
            try:
                {}["a"]
            except KeyError as error:
                raise NoModel("no such model") from error
        """
    ).introduced()
    response = client.call("load", id=2)
    assert list(response) == ["id", "ok", "error", "headers"]
    assert response["error"] == "no such model"
    headers = response["headers"]
    assert headers["pyproc-error-type"] == "__main__.NoModel"
    lines = headers["pyproc-error-traceback"].splitlines()
    assert lines[-1] == "NoModel: no such model"
    assert "KeyError: 'a'" in lines
    assert "pyproc_worker" not in headers["pyproc-error-traceback"]


def test_no_details_without_the_feature(start):
    client = start().connect()
    client.say_hello(features=["cancel"])
    assert client.call("fail", "oh", id=2) == {"id": 2, "ok": False, "error": "oh"}


@each_version
@pytest.mark.parametrize(
    ("method", "body", "kind"),
    [
        ("nope", None, "pyproc_worker.MethodNotFound"),
        ("typed", {"n": "x"}, "pyproc_worker.InvalidRequest"),
        ("unjson", None, "pyproc_worker.EncodeError"),
        ("fail", "oh", "ValueError"),
        ("deep", None, "RecursionError"),
        ("cancelled", None, "asyncio.exceptions.CancelledError"),
    ],
)
def test_errors_are_typed_and_the_worker_goes_on(start, method, body, kind):
    client = start(
        """
        import asyncio

        @expose
        def typed(n: int):
            return n

        @expose
        def unjson(req):
            return {"model": object()}

        @expose
        def deep(req):
            return deep(req)

        @expose
        def cancelled(req):
            raise asyncio.CancelledError()
        """
    ).introduced()
    response = client.call(method, body, id=2)
    assert response["ok"] is False
    assert response["headers"]["pyproc-error-type"] == kind
    assert client.call("echo", 1, id=3) == answer(3, 1)


ODD_ERRORS = """
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError("no text")

    class Number(Exception):
        def __str__(self):
            return 7

    ODD = {
        "mute": Mute(),
        "number": Number(),
        "surrogate": ValueError("a \\ud800 b"),
        "nul": ValueError("\\0"),
        "long": ValueError("x" * 5_000_000),
    }

    @expose
    def odd(req):
        raise ODD[req]
"""


@each_version
@all_codecs
@pytest.mark.parametrize(
    ("which", "wanted"),
    [
        ("mute", "a __main__.Mute whose message cannot be read: its __str__ failed"),
        ("number", "a __main__.Number whose message cannot be read: its __str__ failed"),
        ("surrogate", "a ? b"),
        ("nul", "\0"),
        ("long", "x" * 65_536),
    ],
)
def test_odd_exceptions_are_reported(start, codec, which, wanted):
    client = start(ODD_ERRORS, PYPROC_JSON=codec).introduced()
    response = client.call("odd", which, id=2)
    assert response["error"] == wanted
    assert len(response["headers"]["pyproc-error-traceback"].encode()) <= 16 * 1024


def test_failures_are_logged_if_nobody_else_sees_the_traceback(start):
    worker = start()
    blind, seeing = worker.connect(), worker.connect()
    seeing.say_hello()
    seeing.call("fail", "seen by the client", id=2)
    blind.call("fail", "seen in the log")
    worker.process.terminate()
    worker.exit_code()
    assert "ValueError: seen in the log" in worker.stderr()
    assert "seen by the client" not in worker.stderr()


# Broken frames and limits


@each_version
def test_the_answers_before_a_broken_frame_are_sent_first(start):
    client = start().connect()
    client.send(request(1, "echo", 1), frame(b"{no json"), request(2, "echo", 2))
    assert client.receive() == answer(1, 1)
    assert client.receive()["id"] == 0
    assert client.is_at_end()


@each_version
def test_a_broken_frame_ends_only_its_own_connection(start):
    worker = start()
    broken, other = worker.connect(), worker.connect()
    broken.send(frame(b"[]"))
    assert broken.receive()["id"] == 0
    assert other.call("echo", 1) == answer(1, 1)


@all_codecs
@pytest.mark.parametrize("body", [b'{"id":1,"method":"echo","body":"\xff"}', b"{\xff}", b"{"])
def test_what_is_no_json_is_answered_with_id_0(start, codec, body):
    client = start(PYPROC_JSON=codec).connect()
    client.send(frame(body))
    response = client.receive()
    assert (response["id"], response["ok"]) == (0, False)
    assert client.is_at_end()


@all_codecs
def test_a_body_that_is_too_deep_is_answered_and_the_connection_goes_on(start, codec):
    client = start(PYPROC_JSON=codec).connect()
    deep = b"[" * 100_000 + b"]" * 100_000
    client.send(frame(b'{"id":7,"method":"echo","body":' + deep + b"}"))
    response = client.receive()
    assert (response["id"], response["ok"]) == (7, False)
    assert "nested too deeply" in response["error"]
    assert client.call("echo", 1, id=8) == answer(8, 1)


@all_codecs
@pytest.mark.parametrize("body", [b'"\\ud800"', b"1" * 4301], ids=["surrogate", "digits"])
def test_a_value_that_cannot_be_read_is_answered_and_the_connection_goes_on(start, codec, body):
    client = start(PYPROC_JSON=codec).connect()
    client.say_hello()
    client.send(frame(b'{"id":7,"method":"echo","body":' + body + b"}"), request(8, "echo", 8))
    answers = client.receive_all(2)
    assert answers[7]["ok"] is False
    assert answers[7]["headers"]["pyproc-error-type"] == "pyproc_worker.InvalidRequest"
    assert answers[8] == answer(8, 8)


@each_version
def test_a_frame_beyond_the_maximum_is_refused_before_it_comes(start):
    client = start(PYPROC_MAX_FRAME_SIZE="2048").connect()
    client.send((2049).to_bytes(4, "big"))
    response = client.receive()
    assert response["id"] == 0
    assert "2049" in response["error"]
    assert "2048" in response["error"]
    assert client.is_at_end()


def test_a_frame_of_the_maximum_size_is_read_and_written(start):
    client = start(PYPROC_MAX_FRAME_SIZE="2048").connect()
    envelope = len(b'{"id":1,"method":"echo","body":""}')
    text = "x" * (2048 - envelope)
    assert client.call("echo", text) == answer(1, text)


@each_version
def test_a_result_beyond_the_maximum_is_an_encode_error(start):
    client = start(
        """
        @expose
        def big(req):
            return "x" * req
        """,
        PYPROC_MAX_FRAME_SIZE="2048",
    ).introduced()
    response = client.call("big", 3000, id=2)
    assert "maximum of 2048" in response["error"]
    assert response["headers"]["pyproc-error-type"] == "pyproc_worker.EncodeError"
    assert client.call("echo", 1, id=3) == answer(3, 1)


def test_an_error_beyond_the_maximum_is_shortened_to_a_note(start):
    client = start(PYPROC_MAX_FRAME_SIZE="2048").connect()
    response = client.call("fail", "x" * 1900 + "\n" * 50)
    assert response["ok"] is False
    client.say_hello()
    response = client.call("fail", "x" * 1900, id=2)
    assert response == {"id": 2, "ok": False, "error": "an error too long for a frame"}


# Cancellation


@each_version
def test_a_cancelled_request_does_not_start(start):
    worker = start()
    client, gate = worker.introduced(), worker.gate()
    client.send(
        request(1, "gate", gate.body),
        request(2, "gate", {"gate": "/nowhere"}),
        request(3, "echo", 3),
        cancellation(2),
    )
    gate.open()
    answers = client.receive_all(3)
    assert answers[2]["headers"]["pyproc-error-type"] == "pyproc_worker.Cancelled"
    assert (answers[1], answers[3]) == (answer(1, None), answer(3, 3))


@each_version
def test_a_cancellation_overtakes_requests_that_wait_for_a_slow_function(start):
    worker = start()
    client, gate = worker.connect(), worker.gate()
    client.send(request(1, "echo"), request(2, "gate", gate.body), request(3, "echo", 3))
    assert client.receive() == answer(1, None)
    client.send(cancellation(3))
    gate.open()
    answers = client.receive_all(2)
    assert answers[2] == answer(2, None)
    assert answers[3]["ok"] is False
    assert "cancelled" in answers[3]["error"]


@each_version
def test_a_late_cancellation_gets_no_answer_and_hurts_no_later_request(start):
    client = start().connect()
    assert client.call("echo", 1) == answer(1, 1)
    client.send(cancellation(1), cancellation(99), request(1, "echo", 2))
    assert client.receive() == answer(1, 2)


@each_version
def test_requests_of_a_closed_connection_are_not_run(start, folder):
    worker = start(
        """
        @expose
        def touch(path):
            open(path, "w").close()
        """
    )
    leaving, other, gate = worker.connect(), worker.connect(), worker.gate()
    path = folder / "touched"
    leaving.send(request(1, "echo"), request(2, "gate", gate.body), request(3, "touch", str(path)))
    assert leaving.receive() == answer(1, None)
    running = gate.entered()
    leaving.close()
    running.close()
    assert other.call("echo", 1) == answer(1, 1)
    assert other.call("echo", 2) == answer(1, 2)
    assert not path.exists()


def test_wrapped_messages_are_understood_or_skipped(start):
    client = start().connect()
    client.send(
        frame({"type": "weather", "payload": 1}),
        frame({"type": "request", "payload": {"id": 1, "method": "echo", "body": 1}}),
    )
    assert client.receive() == answer(1, 1)


# Hello


def test_the_hello_introduces_the_worker(start):
    worker = start(
        '''
        @expose
        def add(a: int, b: float = 1.0) -> float:
            """Adds.

            More about it.
            """
            return a + b
        '''
    )
    client = worker.connect()
    body = client.say_hello(features=["cancel", "telepathy"])["body"]
    functions = {function["name"]: function for function in body.pop("functions")}
    assert body.pop("python").count(".") == 2
    assert body == {
        "version": 1,
        "features": ["cancel"],
        "agent": "pyproc-worker/0.2.0",
        "pid": worker.process.pid,
    }
    assert list(functions) == ["add", "echo", "fail", "gate", "health"]
    by_name = {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "number"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    assert functions["add"] == {
        "name": "add",
        "doc": "Adds.",
        "parameters": {"anyOf": [by_name, {"type": "integer"}]},
        "returns": {"type": "number"},
    }


def test_schemas_that_make_the_hello_too_large_are_left_out(start):
    client = start(
        """
        from typing import Literal

        @expose
        def pick(which: Literal["a", "%s"]):
            return which
        """
        % ("b" * 2048),
        PYPROC_MAX_FRAME_SIZE="2048",
    ).connect()
    body = client.say_hello()["body"]
    assert body["features"] == ["error-details", "cancel"]
    functions = {function["name"]: function for function in body["functions"]}
    assert functions["pick"] == {"name": "pick", "doc": "", "parameters": {}, "returns": {}}


@pytest.mark.parametrize("body", [None, [], {}, {"versions": 1}, {"versions": [3]}])
def test_a_hello_that_makes_no_sense_is_an_error_and_changes_nothing(start, body):
    client = start().connect()
    response = client.call("pyproc.hello", body)
    assert response["ok"] is False
    assert "headers" not in client.call("fail", "oh")


def test_other_reserved_methods_are_not_found(start):
    client = start().connect()
    assert client.call("pyproc.later")["error"] == "Method 'pyproc.later' not found"
    assert client.call("")["error"] == "Method '' not found"


def test_a_worker_out_of_descriptors_serves_on_and_accepts_again(start):
    worker = start(
        """
        import resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))
        """
    )
    clients = [worker.connect() for _ in range(40)]
    worker.wait_for_log("cannot accept a connection")
    for client in clients:
        assert client.call("echo", 1) == answer(1, 1)
        client.close()


@each_version
@pytest.mark.parametrize("spin", ["0", "1000"])
def test_the_worker_sleeps_while_nothing_happens(start, spin):
    worker = start(PYPROC_SPIN_US=spin, PYPROC_PARENT_PID=str(os.getpid()))
    idle, paused = worker.connect(), worker.connect()
    paused.socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        paused.send(*(request(1, "echo", "x" * 50_000) for _ in range(100)))
    idle.call("echo", 1)
    before = cpu_ticks(worker.process.pid)
    select.select([idle.socket], [], [], 1.0)  # the time over which to measure
    assert cpu_ticks(worker.process.pid) - before < 0.3 * os.sysconf("SC_CLK_TCK")


def cpu_ticks(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@each_version
@all_codecs
def test_converted_results_arrive(start, codec):
    client = start(
        """
        import dataclasses, datetime, numpy

        @dataclasses.dataclass
        class Result:
            scores: object
            at: datetime.date

        @expose
        def predict(value: float):
            return Result(numpy.array([value, 2 * value]), datetime.date(2026, 1, 2))
        """,
        PYPROC_JSON=codec,
    ).connect()
    body = client.call("predict", {"value": 2})["body"]
    assert body == {"scores": [2.0, 4.0], "at": "2026-01-02"}


def test_requests_survive_a_hello_before_them(start):
    client = start().connect()
    client.send(hello(1), request(2, "echo", json.loads("[1]")))
    assert client.receive()["body"]["version"] == 1
    assert client.receive() == answer(2, [1])

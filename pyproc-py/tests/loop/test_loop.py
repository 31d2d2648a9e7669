"""What clients see of a worker: a real process over real sockets."""

import json
import os
import select
import socket

import pytest
from conftest import all_codecs, each_version
from wire import answer, cancellation, frame, hello, request


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

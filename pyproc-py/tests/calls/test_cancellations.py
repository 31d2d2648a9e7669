"""Which requests a cancellation names, and how these are answered: alike by both cores."""

import time

import pytest
from conftest import each_version
from wire import PATIENCE, cancellation, hello, request

FUNCTIONS = """
    import asyncio

    @expose
    def until_cancelled(path, cancel_event):
        open(path, "w").close()
        cancel_event.wait()
        return "stopped"

    @expose
    async def sleep(path):
        open(path, "a").write("x")
        await asyncio.Event().wait()

    @expose
    async def number(n: int):
        return n
"""

NOT_STARTED = "the client cancelled the request before it started"
STOPPED = "the client cancelled the request while it ran"


def errors(client, count):
    """The texts of so many answers by their ids, of which there may be several."""
    answers = [client.receive() for _ in range(count)]
    return sorted(((it["id"], it.get("error", it.get("body"))) for it in answers), key=str)


def until(path, size=0):
    deadline = time.monotonic() + PATIENCE
    while not path.exists() or path.stat().st_size < size:
        assert time.monotonic() < deadline


def test_a_hello_is_answered_whatever_is_cancelled(start):
    client = start(FUNCTIONS).connect()
    client.send(hello(1), cancellation(1))
    assert client.receive()["ok"]


def test_a_hello_that_waits_is_answered_whatever_is_cancelled(start):
    worker = start(FUNCTIONS)
    client, gate = worker.connect(), worker.gate()
    client.send(request(5, "gate", gate.body), hello(1), cancellation(1))
    gate.open()
    answers = client.receive_all(2)
    assert answers[1]["body"]["version"] == 1


@each_version
def test_all_requests_that_wait_under_one_id_are_cancelled(start, version):
    worker = start(FUNCTIONS)
    client, gate = worker.introduced(), worker.gate()
    client.send(
        request(1, "gate", gate.body), request(5, "echo"), request(5, "echo"), cancellation(5)
    )
    gate.open()
    assert errors(client, 3) == [(1, None), (5, NOT_STARTED), (5, NOT_STARTED)]


@each_version
def test_a_request_that_runs_is_cancelled_with_one_of_its_id_that_waits(start, version, folder):
    client = start(FUNCTIONS).introduced()
    client.send(request(5, "until_cancelled", str(folder / "runs")))
    until(folder / "runs")
    client.send(request(5, "echo", 1), cancellation(5))
    assert errors(client, 2) == [(5, "stopped"), (5, NOT_STARTED)]


@each_version
def test_all_async_calls_that_run_under_one_id_are_cancelled(start, version, folder):
    client, path = start(FUNCTIONS).introduced(), folder / "runs"
    client.send(*[request(5, "sleep", str(path))] * 3, request(6, "sleep", str(path)))
    until(path, size=4)
    client.send(cancellation(5))
    assert errors(client, 3) == [(5, STOPPED)] * 3
    client.send(cancellation(6))
    assert errors(client, 1) == [(6, STOPPED)]


@each_version
@pytest.mark.parametrize("body", [1, "not a number"])
def test_an_async_call_that_is_cancelled_as_it_is_read_does_not_start(start, version, body):
    client = start(FUNCTIONS).introduced()
    client.send(request(1, "number", body), cancellation(1), request(1, "number", 2))
    assert errors(client, 2) == [(1, NOT_STARTED), (1, 2)]


def test_a_second_hello_ends_the_connection_with_the_reason(start):
    client = start(FUNCTIONS).connect()
    client.send(hello(1), hello(2))
    assert client.receive()["ok"]
    assert "a second hello" in client.receive()["error"]
    assert client.is_at_end()

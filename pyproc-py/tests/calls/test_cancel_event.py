"""`cancel_event`: set when nobody waits for a function that runs."""

import signal
import threading

import pytest
from conftest import each_version
from pyproc_worker._calls import cancel
from pyproc_worker._functions import registry
from wire import PING, PONG, Client, cancellation, frame2, request, request2

CANCELLABLE = """
    import asyncio, pyproc_worker

    @expose
    def until_cancelled(name, cancel_event):
        "Says on stdout that it runs, and returns when it is cancelled."
        print(name)
        assert cancel_event.wait(20)
        return "stopped"

    @expose
    def gated(req, cancel_event):
        gate(req)
        return cancel_event.is_set()

    @expose
    def gives_up(name, cancel_event):
        until_cancelled(name, cancel_event)
        raise pyproc_worker.Cancelled()

    @expose
    def exits(name, cancel_event):
        until_cancelled(name, cancel_event)
        sys.exit(3)

    @expose
    async def tell(req):
        return req

    @expose
    async def until_cancelled_async(name, cancel_event):
        print(name)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return cancel_event.is_set()
"""


def answer(id, body=None):
    return {"id": id, "ok": True, "body": body}


def runs(worker, name):
    """Waits until the function says that it runs."""
    assert worker.process.stdout.readline() == f"{name}\n"


@each_version
def test_a_cancellation_sets_the_event_while_the_function_runs(start, version):
    worker = start(CANCELLABLE)
    client = worker.introduced()
    client.send(request(1, "until_cancelled", "a"))
    runs(worker, "a")
    client.send(cancellation(1))
    assert client.receive() == answer(1, "stopped")
    assert client.call("echo", 2, id=2) == answer(2, 2)


@each_version
def test_closing_the_connection_sets_the_event(start, version):
    worker = start(CANCELLABLE)
    client, other = worker.introduced(), worker.introduced()
    client.send(request(1, "until_cancelled", "a"), request(2, "until_cancelled", "never"))
    runs(worker, "a")
    client.close()
    assert other.call("echo", 1) == answer(1, 1)
    worker.process.terminate()
    assert worker.exit_code() == 0
    assert worker.process.stdout.read() == ""


@each_version
def test_the_event_of_a_request_that_is_not_cancelled_is_not_set(start, version):
    worker = start(CANCELLABLE)
    client, other, gate = worker.introduced(), worker.introduced(), worker.gate()
    client.send(request(1, "gated", gate.body))
    running = gate.entered()
    client.send(cancellation(2))
    other.send(cancellation(1))
    assert client.call("tell", 3, id=3) == answer(3, 3)
    running.close()
    assert client.receive() == answer(1, False)


@each_version
def test_what_the_function_does_then_is_its_answer(start, version):
    worker = start(CANCELLABLE)
    client = worker.introduced()
    client.send(request(1, "gives_up", "a"))
    runs(worker, "a")
    client.send(cancellation(1))
    response = client.receive()
    assert response["error"] == "the client cancelled the request"
    assert response["headers"]["pyproc-error-type"] == "pyproc_worker.Cancelled"


@each_version
def test_requests_are_taken_while_it_runs_and_started_after_it(start, version):
    worker = start(CANCELLABLE)
    client, gate = worker.introduced(), worker.gate()
    client.send(request(1, "gated", gate.body))
    running = gate.entered()
    client.send(request(2, "echo", 2), request(3, "echo", 3), cancellation(2))
    response = client.receive()
    assert (response["id"], response["ok"]) == (2, False)
    late = worker.introduced()
    late.send(request(4, "tell", 4), request(5, "echo", 5))
    assert late.receive() == answer(4, 4)
    running.close()
    assert client.receive_all(2) == {1: answer(1, False), 3: answer(3, 3)}
    assert late.receive() == answer(5, 5)


def test_pings_are_answered_while_it_runs(start):
    worker = start(CANCELLABLE)
    client, gate = worker.connect(version=2), worker.gate()
    client.send(request(1, "gated", gate.body))
    running = gate.entered()
    client.send(frame2(PING, 7))
    assert client.receive2() == {"kind": PONG, "id": 7, "codec": 0, "payload": b""}
    running.close()
    assert client.receive() == answer(1, False)


def test_a_client_says_hello_while_it_runs(start):
    worker = start(CANCELLABLE)
    client, gate = worker.connect(), worker.gate()
    client.send(request(1, "gated", gate.body))
    running = gate.entered()
    assert worker.connect(version=2).table
    running.close()
    assert client.receive() == answer(1, False)


def test_the_times_of_such_a_function_are_reported(start):
    worker = start(CANCELLABLE)
    client = worker.connect(version=2)
    client.send(request2(1, "until_cancelled", b'"a"', times=True))
    runs(worker, "a")
    client.send(cancellation(1))
    told = client.receive2()
    assert told["payload"] == b'"stopped"'
    assert told["times"][0] > 0


@each_version
def test_sigterm_lets_it_finish(start, version):
    worker = start(CANCELLABLE)
    client, gate = worker.introduced(), worker.gate()
    client.send(request(1, "gated", gate.body), request(2, "echo", 2))
    running = gate.entered()
    worker.process.terminate()
    running.close()
    assert client.receive_all(2) == {1: answer(1, False), 2: answer(2, 2)}
    assert client.is_at_end()
    assert worker.exit_code() == 0


@each_version
def test_sys_exit_in_it_ends_the_worker(start, version):
    worker = start(CANCELLABLE)
    client = worker.introduced()
    client.send(request(1, "echo", 1), request(2, "exits", "a"))
    assert client.receive() == answer(1, 1)
    runs(worker, "a")
    client.send(cancellation(2))
    assert client.is_at_end()
    assert worker.exit_code() == 3


def test_ctrl_c_in_it_ends_the_worker(start):
    worker = start(CANCELLABLE)
    worker.connect().send(request(1, "until_cancelled", "a"))
    runs(worker, "a")
    worker.process.send_signal(signal.SIGINT)
    assert worker.exit_code() == 130
    assert "Traceback" not in worker.stderr()


@each_version
def test_an_async_function_has_its_event_set_too(start, version):
    worker = start(CANCELLABLE)
    client = worker.introduced()
    client.send(request(1, "until_cancelled_async", "a"))
    runs(worker, "a")
    client.send(cancellation(1))
    assert client.receive() == answer(1, True)


def test_many_such_calls_run_one_after_another(start):
    client = start(
        """
        @expose
        def quick(n, cancel_event):
            return n
        """
    ).connect()
    client.send(*(request(i, "quick", i) for i in range(1, 201)))
    assert [client.receive() for _ in range(200)] == [answer(i, i) for i in range(1, 201)]


@each_version
def test_racing_cancellations_leave_one_answer_each(start, version):
    """The cancellation comes before, while, or after the function runs."""
    client = start(
        """
        @expose
        def quick(n, cancel_event):
            return n
        """
    ).introduced()
    for i in range(1, 200, 2):
        client.send(request(i, "quick", i), request(i + 1, "quick", i + 1))
        client.send(cancellation(i), cancellation(i + 1))
        answers = client.receive_all(2)
        for id, response in answers.items():
            assert response == answer(id, id) or "cancelled" in response["error"]
    assert client.call("echo", 1) == answer(1, 1)


def test_the_event_that_is_given_is_the_one_that_arrives():
    def function(req, cancel_event):
        return cancel_event

    exposed = registry.Exposed("f", function)
    event = threading.Event()
    assert exposed.cancellable
    assert cancel.call_with_event(exposed.call, 1, event) is event
    assert exposed.call(1) is not event


@pytest.mark.parametrize("version", [1, 2])
def test_a_client_that_leaves_at_once_hurts_nobody(start, version):
    worker = start(CANCELLABLE)
    for _ in range(20):
        leaving = Client(worker.path, version)
        leaving.send(request(1, "until_cancelled", "a"))
        leaving.close()
    assert worker.connect().call("echo", 1) == answer(1, 1)

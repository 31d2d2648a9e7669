"""`async def` functions, as clients see them."""

import json
import signal
import struct
import threading
import time

import pytest
from conftest import each_version
from wire import (
    CANCEL,
    DRAIN,
    JSON,
    PATIENCE,
    PING,
    PONG,
    RAW,
    REQUEST,
    cancellation,
    frame,
    frame2,
    request,
    request2,
)

ASYNC = """
    import asyncio, threading

    running, most, cancelled = 0, 0, []
    gates = {}

    def gate_called(name):
        return gates.setdefault(name, asyncio.Event())

    @expose
    async def wait_for(name):
        "Returns once `open_gate` is called with the same name."
        global running, most
        running += 1
        most = max(most, running)
        try:
            await gate_called(name).wait()
        except asyncio.CancelledError:
            cancelled.append(name)
            raise
        finally:
            running -= 1
        return name

    @expose
    async def open_gate(name):
        gate_called(name).set()

    @expose
    async def meet(count: int):
        "Returns once `count` calls of it run at the same time."
        global running
        running += 1
        if running == count:
            gate_called("meeting").set()
        await gate_called("meeting").wait()
        return running

    @expose
    async def seen(req):
        return {"running": running, "cancelled": cancelled}

    @expose
    async def tell(req):
        return req

    @expose
    async def fail_async(req):
        await asyncio.sleep(0)
        raise ValueError(req)

    @expose
    async def stubborn(name):
        "Does not let itself be cancelled."
        try:
            await gate_called(name).wait()
        except asyncio.CancelledError:
            return "swallowed"
"""


def answer(id, body=None):
    return {"id": id, "ok": True, "body": body}


def until_running(client, count):
    """Waits until `count` calls of `wait_for` run."""
    while client.call("seen", id=999)["body"]["running"] != count:
        pass


@each_version
def test_async_functions_run_at_the_same_time(start, version):
    client = start(ASYNC).introduced()
    client.send(*(request(i, "meet", {"count": 100}) for i in range(1, 101)))
    assert client.receive_all(100) == {i: answer(i, 100) for i in range(1, 101)}


@each_version
def test_async_functions_of_all_connections_run_at_the_same_time(start, version):
    worker = start(ASYNC)
    clients = [worker.introduced() for _ in range(10)]
    for client in clients:
        client.send(request(1, "meet", {"count": 10}))
    assert [client.receive() for client in clients] == [answer(1, 10)] * 10


@each_version
def test_async_functions_go_on_while_a_plain_one_runs(start, version):
    worker = start(ASYNC)
    client, other, gate = worker.introduced(), worker.introduced(), worker.gate()
    client.send(
        request(1, "gate", gate.body), request(2, "wait_for", "a"), request(3, "open_gate", "a")
    )
    running = gate.entered()
    assert client.receive_all(2) == {2: answer(2, "a"), 3: answer(3)}
    running.close()
    assert client.receive() == answer(1)
    assert other.call("tell", 1) == answer(1, 1)


@each_version
def test_plain_functions_go_on_while_an_async_one_waits(start, version):
    client = start(ASYNC).introduced()
    client.send(request(1, "wait_for", "a"), *(request(i, "echo", i) for i in range(2, 50)))
    assert client.receive_all(48) == {i: answer(i, i) for i in range(2, 50)}
    client.send(request(50, "open_gate", "a"))
    assert client.receive_all(2) == {1: answer(1, "a"), 50: answer(50)}


@each_version
def test_many_short_async_calls_are_all_answered(start, version):
    client = start(ASYNC).introduced()
    client.send(*(request(i, "tell", i) for i in range(1, 5001)))
    assert client.receive_all(5000) == {i: answer(i, i) for i in range(1, 5001)}


@each_version
@pytest.mark.parametrize(
    ("method", "body", "kind"),
    [
        ("fail_async", "oh", "ValueError"),
        ("meet", {"count": "x"}, "pyproc_worker.InvalidRequest"),
        ("odd", None, "pyproc_worker.EncodeError"),
        ("cancels_itself", None, "asyncio.exceptions.CancelledError"),
    ],
)
def test_errors_are_typed(start, version, method, body, kind):
    client = start(
        ASYNC
        + """
    @expose
    async def odd(req):
        return object()

    @expose
    async def cancels_itself(req):
        raise asyncio.CancelledError()
    """
    ).introduced()
    response = client.call(method, body, id=2)
    assert response["ok"] is False
    assert response["headers"]["pyproc-error-type"] == kind
    assert "/pyproc_worker/" not in response["headers"]["pyproc-error-traceback"]
    assert client.call("tell", 1, id=3) == answer(3, 1)


def test_a_body_that_cannot_be_read_is_that_requests_error(start):
    client = start(ASYNC).connect(version=2)
    client.send(request2(1, "tell", b"{"), request2(2, "tell", b"2"))
    answers = [client.receive2(), client.receive2()]
    assert {a["id"]: a.get("type") for a in answers} == {
        1: "pyproc_worker.InvalidRequest",
        2: None,
    }


def test_a_failure_is_logged_if_nobody_else_sees_the_traceback(start):
    worker = start(ASYNC)
    assert worker.connect().call("fail_async", "oh") == {"id": 1, "ok": False, "error": "oh"}
    worker.wait_for_log("ValueError: oh")


# Memory


CROWD = (
    ASYNC
    + """
    @expose
    async def crowd(req):
        "Returns once `enough` says so, or so many run as the body wants."
        global running, most
        running += 1
        most = max(most, running)
        if isinstance(req, dict) and running == req["count"]:
            gate_called("crowd").set()
        await gate_called("crowd").wait()
        running -= 1

    @expose
    async def enough(req):
        gate_called("crowd").set()

    @expose
    async def most_so_far(req):
        return most
    """
)

MIB = 1024 * 1024


@each_version
def test_a_thousand_calls_of_ten_kilobytes_run_at_the_same_time(start, version):
    client = start(CROWD).introduced()
    body = {"count": 1000, "data": "x" * 10_000}
    client.send(*(request(i, "crowd", body) for i in range(1, 1001)))
    assert client.receive_all(1000) == {i: answer(i) for i in range(1, 1001)}


@pytest.mark.parametrize("codec", [JSON, RAW])
def test_a_connection_is_not_read_while_its_running_calls_take_64_mib(start, codec):
    worker = start(CROWD)
    client, other = worker.connect(version=2), worker.connect()
    payload = b'"' + b"x" * (7 * MIB) + b'"'
    crowd = client.table["crowd"]
    frames = [request2(i, crowd, payload, codec) for i in range(1, 13)]
    sender = threading.Thread(target=client.send, args=frames)
    sender.start()
    deadline = time.monotonic() + PATIENCE
    while other.call("most_so_far")["body"] < 10:
        assert time.monotonic() < deadline
    for _ in range(100):  # if it read on, it would by now
        other.call("tell")
    assert other.call("most_so_far")["body"] == 10
    other.call("enough")
    assert client.receive_all(12).keys() == set(range(1, 13))
    sender.join()


# Cancellation


@each_version
def test_a_cancelled_call_cancels_its_task(start, version):
    client = start(ASYNC).introduced()
    client.send(request(1, "wait_for", "a"), request(2, "wait_for", "b"))
    until_running(client, 2)
    client.send(cancellation(1))
    response = client.receive()
    assert (response["id"], response["ok"]) == (1, False)
    assert response["headers"]["pyproc-error-type"] == "pyproc_worker.Cancelled"
    assert client.call("seen", id=3)["body"] == {"running": 1, "cancelled": ["a"]}
    client.send(request(4, "open_gate", "b"))
    assert client.receive_all(2) == {2: answer(2, "b"), 4: answer(4)}


@each_version
def test_a_call_that_is_cancelled_with_its_request_is_answered(start, version):
    client = start(ASYNC).introduced()
    client.send(request(1, "wait_for", "a"), cancellation(1))
    response = client.receive()
    assert (response["id"], response["ok"]) == (1, False)
    assert response["headers"]["pyproc-error-type"] == "pyproc_worker.Cancelled"


@each_version
def test_a_task_that_swallows_its_cancellation_has_its_result_answered(start, version):
    client = start(ASYNC).introduced()
    client.send(request(1, "stubborn", "a"))
    assert client.call("tell", 2, id=2) == answer(2, 2)
    client.send(cancellation(1))
    assert client.receive() == answer(1, "swallowed")


@each_version
def test_a_late_cancellation_hurts_no_later_request(start, version):
    client = start(ASYNC).introduced()
    assert client.call("tell", 1) == answer(1, 1)
    client.send(cancellation(1), cancellation(99), request(1, "tell", 2))
    assert client.receive() == answer(1, 2)


@each_version
def test_closing_a_connection_cancels_its_calls_only(start, version):
    worker = start(ASYNC)
    leaving, other = worker.introduced(), worker.introduced()
    leaving.send(request(1, "wait_for", "a"), request(2, "wait_for", "b"))
    other.send(request(1, "wait_for", "c"))
    until_running(other, 3)
    leaving.close()
    until_running(other, 1)
    assert sorted(other.call("seen", id=2)["body"]["cancelled"]) == ["a", "b"]
    other.send(request(3, "open_gate", "c"))
    assert other.receive_all(2) == {1: answer(1, "c"), 3: answer(3)}


def test_a_client_that_finished_sending_gets_the_answers_of_its_calls(start):
    import socket

    client = start(ASYNC).connect()
    client.send(request(1, "wait_for", "a"), request(2, "open_gate", "a"))
    client.socket.shutdown(socket.SHUT_WR)
    assert client.receive_all(2) == {1: answer(1, "a"), 2: answer(2)}
    assert client.is_at_end()


def test_the_answers_before_a_broken_frame_are_sent_first(start):
    client = start(ASYNC).connect()
    client.send(request(1, "wait_for", "a"), request(2, "open_gate", "a"), frame(b"{no json"))
    assert client.receive_all(2) == {1: answer(1, "a"), 2: answer(2)}
    assert client.receive()["id"] == 0
    assert client.is_at_end()


def test_pings_are_answered_while_async_functions_run(start):
    client = start(ASYNC).connect(version=2)
    client.send(request(1, "wait_for", "a"))
    until_running(client, 1)
    client.send(frame2(PING, 5))
    assert client.receive2()["kind"] == PONG
    client.send(frame2(CANCEL, 1))
    assert client.receive()["ok"] is False


# The end


POLLING = """
    @expose
    async def wait_for_file(path):
        while not os.path.exists(path):
            await asyncio.sleep(0.001)
        return "there"
"""


def test_a_draining_worker_waits_for_its_async_calls(start, folder):
    worker = start(ASYNC + POLLING)
    client, path = worker.connect(version=2), folder / "file"
    client.send(request(1, "wait_for_file", str(path)), request(2, "tell", 2))
    assert client.receive() == answer(2, 2)
    worker.process.terminate()
    assert client.receive2()["kind"] == DRAIN
    path.touch()
    assert client.receive() == answer(1, "there")
    assert client.is_at_end()
    assert worker.exit_code() == 0


def test_a_draining_worker_does_not_wait_for_clients_that_left(start):
    worker = start(ASYNC)
    client = worker.connect(version=2)
    client.send(request(1, "wait_for", "a"), request(2, "tell", 2))
    assert client.receive() == answer(2, 2)
    worker.process.terminate()
    assert client.receive2()["kind"] == DRAIN
    client.close()
    assert worker.exit_code() == 0


EXIT = """
    @expose
    async def leave(code):
        sys.exit(code)

    @expose
    async def leave_behind(code):
        async def later():
            sys.exit(code)
        asyncio.create_task(later())

    @expose
    async def interrupt(req):
        raise KeyboardInterrupt
"""


@each_version
@pytest.mark.parametrize(
    ("method", "code"), [("leave", 3), ("leave_behind", 3), ("interrupt", 130)]
)
def test_an_exit_in_an_async_function_ends_the_worker(start, version, method, code):
    worker = start(ASYNC + EXIT)
    client = worker.introduced()
    client.send(request(1, "wait_for", "a"), request(2, "tell", 2))
    assert client.receive() == answer(2, 2)
    client.send(request(3, method, 3))
    while client.socket.recv(4096):
        assert method == "leave_behind"  # which may be answered before the task it left ends all
    assert worker.exit_code() == code


def test_ctrl_c_ends_a_worker_whose_async_functions_run(start):
    worker = start(ASYNC)
    client = worker.introduced()
    client.send(request(1, "wait_for", "a"), request(2, "stubborn", "b"))
    until_running(client, 1)
    worker.process.send_signal(signal.SIGINT)
    assert worker.exit_code() == 130
    assert "Traceback" not in worker.stderr()


def test_the_owners_end_waits_for_the_calls_of_others(start):
    worker = start(ASYNC)
    owner, other = worker.introduced(owner=True), worker.introduced()
    owner.send(request(1, "wait_for", "a"))
    other.send(request(1, "wait_for", "b"), request(2, "wait_for", "c"))
    until_running(other, 3)
    owner.close()
    other.close()
    assert worker.exit_code() == 0


# Surroundings


def test_each_call_has_its_own_context(start):
    client = start(
        ASYNC
        + """
    import contextvars
    mine = contextvars.ContextVar("mine", default="of the script")

    @expose
    async def swap(value):
        before = mine.get()
        mine.set(value)
        await asyncio.sleep(0)
        return [before, mine.get()]
    """
    ).connect()
    client.send(*(request(i, "swap", i) for i in range(1, 20)))
    wanted = {i: answer(i, ["of the script", i]) for i in range(1, 20)}
    assert client.receive_all(19) == wanted


def test_the_event_loop_is_the_scripts_policys(start):
    client = start(
        """
        import asyncio, warnings
        warnings.simplefilter("ignore")

        class Mine(asyncio.SelectorEventLoop):
            pass

        class Policy(asyncio.DefaultEventLoopPolicy):
            def new_event_loop(self):
                return Mine()

        asyncio.set_event_loop_policy(Policy())

        @expose
        async def kind(req):
            return [type(asyncio.get_running_loop()).__name__, threading.current_thread().name]

        import threading
        """
    ).connect()
    assert client.call("kind")["body"] == ["Mine", "pyproc-asyncio"]


def test_asyncio_is_not_loaded_before_it_is_needed(start):
    client = start(
        """
        @expose
        def loaded(req):
            return "asyncio" in sys.modules

        @expose
        async def nothing(req):
            pass
        """
    ).connect()
    assert client.call("loaded")["body"] is False
    assert client.call("nothing") == answer(1)
    assert client.call("loaded")["body"] is True


def test_the_hello_says_which_functions_are_concurrent(start):
    client = start(ASYNC).connect()
    functions = {f["name"]: f for f in client.say_hello()["body"]["functions"]}
    assert functions["tell"]["concurrent"] is True
    assert "concurrent" not in functions["echo"]


def test_times_of_async_functions_are_reported(start):
    client = start(ASYNC).connect(version=2)
    index = struct.pack(">H", client.table["fail_async"])
    client.send(
        request2(1, "tell", b'"x"', times=True),
        frame2(REQUEST, 2, index + json.dumps("oh").encode(), flags=0x10),
        request2(3, "tell", b'"x"'),
    )
    answers = {a["id"]: a for a in (client.receive2() for _ in range(3))}
    assert answers[1]["times"][0] > 0
    assert answers[1]["payload"] == b'"x"'
    assert answers[2]["times"][0] > 0
    assert answers[2]["message"] == "oh"
    assert "times" not in answers[3]


def test_a_slow_reader_of_async_answers_is_bounded_and_blocks_nobody(start):
    worker = start(ASYNC)
    slow, other = worker.connect(), worker.connect()
    piece = request(1, "tell", "x" * 50_000)
    slow.socket.setblocking(False)
    sent, stalls = 0, 0
    while stalls < 20:
        try:
            sent += slow.socket.send(piece[sent % len(piece) :])
            stalls = 0
        except BlockingIOError:
            stalls += 1
            assert other.call("tell", "still here") == answer(1, "still here")
        assert sent < 20_000_000, "the worker reads on although its answers are not read"
    slow.socket.settimeout(20)
    for _ in range(sent // len(piece)):
        assert slow.receive() == answer(1, "x" * 50_000)
    slow.send(piece[sent % len(piece) :])
    assert slow.receive() == answer(1, "x" * 50_000)

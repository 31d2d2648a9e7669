"""Exceptions that come between calls: both cores."""

import signal
import subprocess
import time

import pytest
from conftest import each_version, with_core
from wire import PATIENCE, request

STRAY = """
    import ctypes, signal, threading

    class Stray(BaseException):
        def __str__(self):
            return "late"

    def inject(thread):
        count = ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident), ctypes.py_object(Stray)
        )
        sys.stderr.write(f"injected into {count}\\n")  # at once, beside lines of other threads

    def on_signal(number, frame):
        raise Stray

    signal.signal(signal.SIGUSR1, on_signal)
    signal.signal(signal.SIGUSR2, lambda number, frame: sys.exit(4))

    @expose
    def inject_later(req):
        main = threading.current_thread()

        def wait():
            with open(req["gate"]) as gate:
                gate.read()
            inject(main)

        threading.Thread(target=wait).start()

    @expose
    def inject_into_the_event_loop(req):
        inject(next(it for it in threading.enumerate() if it.name == "pyproc-asyncio"))

    @expose
    def arm(req):
        signal.signal(signal.SIGALRM, on_signal)
        signal.setitimer(signal.ITIMER_REAL, 0.000001)
        while True:
            time.sleep(0.01)  # a signal just before a single long sleep would not end it

    @expose
    async def aecho(req):
        return req
"""


CLOSED = (EOFError, ConnectionResetError, BrokenPipeError)


def wait_for_sleep(worker):
    """Until it waits for clients."""
    command = ["ps", "-o", "state=", "-p", str(worker.process.pid)]
    deadline = time.monotonic() + PATIENCE
    while not subprocess.run(command, capture_output=True, text=True).stdout.startswith("S"):
        assert time.monotonic() < deadline


def test_a_signals_handler_that_raises_between_calls_ends_no_worker(start):
    worker = start(STRAY)
    client = worker.connect()
    assert client.call("echo", 1)["body"] == 1
    wait_for_sleep(worker)
    worker.process.send_signal(signal.SIGUSR1)
    worker.wait_for_log("Stray: late")
    assert "raised this between calls" in worker.stderr()
    assert client.call("echo", 2)["body"] == 2
    assert client.call("aecho", 3)["body"] == 3
    assert worker.connect().call("echo", 4)["body"] == 4


def test_a_signals_handler_that_exits_between_calls_ends_the_worker(start):
    worker = start(STRAY)
    assert worker.connect().call("echo", 1)["body"] == 1
    worker.process.send_signal(signal.SIGUSR2)
    assert worker.exit_code() == 4


def test_a_timer_that_fires_in_a_call_is_that_calls_error(start):
    client = start(STRAY).connect()
    answer = client.call("arm")
    assert answer["error"].endswith("late")
    assert client.call("echo", 1)["body"] == 1


def answers_amid_signals(worker):
    """Sends requests, each with a signal. Yields each id and its answer, or None after a close."""
    worker.connect().call("echo")  # it serves by now
    for id in range(1, 200):
        assert worker.process.poll() is None, worker.stderr()[-6000:]
        client = worker.connect()
        worker.process.send_signal(signal.SIGUSR1)
        yield id, answer_or_close(client, id)
    worker.process.send_signal(signal.SIGTERM)
    assert worker.exit_code() == 0


def answer_or_close(client, id):
    try:
        client.send(request(id, "echo", id))
        return client.receive()
    except CLOSED:
        return None


def is_answer_or_exception(answer, body):
    return answer.get("body") == body or answer["error"].endswith("late")


@with_core("native")
def test_with_the_native_core_each_request_amid_signals_has_one_answer(start):
    for id, answer in answers_amid_signals(start(STRAY)):
        assert answer["id"] == id
        assert is_answer_or_exception(answer, id)


@with_core("python")
def test_with_the_core_in_python_a_signal_may_close_a_connection_at_most(start):
    for id, answer in answers_amid_signals(start(STRAY)):
        if answer is not None:  # else the core was reading or sending on the connection
            assert answer["id"] == id
            assert is_answer_or_exception(answer, id)


def injected_between_calls(start):
    worker = start(STRAY)
    client, gate = worker.connect(), worker.gate()
    client.call("inject_later", gate.body)
    gate.open()
    worker.wait_for_log("injected into 1\n")
    return worker, client


@with_core("native")
def test_with_the_native_core_an_exception_injected_between_calls_closes_no_connection(start):
    _, client = injected_between_calls(start)
    assert is_answer_or_exception(client.call("echo", 1), 1)  # it hits the code that runs next
    assert client.call("echo", 2)["body"] == 2
    assert client.call("aecho", 3)["body"] == 3


@with_core("python")
def test_with_the_core_in_python_an_exception_injected_between_calls_ends_no_worker(start):
    worker, client = injected_between_calls(start)
    answer_or_close(client, 1)
    client = worker.connect()
    assert client.call("echo", 2)["body"] == 2
    assert client.call("aecho", 3)["body"] == 3


def injected_into_the_event_loop(start):
    worker = start(STRAY)
    client = worker.connect()
    assert client.call("aecho", 1)["body"] == 1
    client.call("inject_into_the_event_loop")
    worker.wait_for_log("injected into 1\n")
    return worker, client


@with_core("native")
def test_with_the_native_core_an_exception_in_the_event_loop_closes_no_connection(start):
    worker, client = injected_into_the_event_loop(start)
    assert is_answer_or_exception(client.call("aecho", 2), 2)
    assert worker.connect().call("aecho", 3)["body"] == 3


@with_core("python")
def test_with_the_core_in_python_an_exception_in_the_event_loop_does_not_end_it(start):
    worker, client = injected_into_the_event_loop(start)
    answer_or_close(client, 2)
    assert worker.connect().call("aecho", 3)["body"] == 3


EACH_LINE = (
    STRAY
    + """
    import linecache
    import pyproc_worker

    OURS = {
        os.path.join(os.path.dirname(pyproc_worker.__file__), *f"{name}.py".split("/"))
        for name in "_calls/event_loop _loop/concurrent _loop/connection _loop/in_flight _loop/loop "
        "_loop/outgoing _loop/receiver _loop/turns _loop/watcher".split()
    }
    left = -1  # how many lines of ours are to be run before the exception comes

    def is_with(file, number):
        "Between the block of one and the lock's release, Python lets no exception in."
        return linecache.getline(file, number).lstrip().startswith("with ")

    def at_line(frame, event, argument):
        global left
        if event == "line" and not is_with(frame.f_code.co_filename, frame.f_lineno):
            left -= 1
            if left < 0:
                raise Stray  # which ends the tracing
        return at_line

    def at_call(frame, event, argument):
        return at_line if frame.f_code.co_filename in OURS else None

    def begin(lines):
        global left
        left = lines
        sys.settrace(at_call)
        frame = sys._getframe()
        while frame is not None:
            frame.f_trace = at_call(frame, None, None)
            frame = frame.f_back

    @expose
    def arm_plain(lines):
        begin(lines)

    @expose
    def arm_watched(lines, cancel_event):
        begin(lines)

    @expose
    async def arm_async(lines):
        begin(lines)

    @expose
    def disarm(req):
        sys.settrace(None)
        return left

    @expose
    async def disarm_async(req):
        sys.settrace(None)
        return left
"""
)


@pytest.mark.parametrize(
    ("arm", "disarm"),
    [("arm_plain", "disarm"), ("arm_watched", "disarm"), ("arm_async", "disarm_async")],
)
@pytest.mark.parametrize("version", [2], indirect=True)
def test_an_exception_at_any_line_of_the_loop_leaves_no_call_without_an_end(start, arm, disarm):
    worker = start(EACH_LINE)

    def call(client, method, body):
        """The body of the answer, or None if it hit the call, or the connection was closed."""
        try:
            return client.call(method, body).get("body")
        except CLOSED:
            return None

    lines, left = 0, None
    while left is None or left < 0:  # it came
        clients = [connected(worker), connected(worker)]
        call(clients[0], arm, lines)
        for method in ("aecho", "echo", "aecho"):
            for client in clients:
                call(client, method, 1)
        left = call(connected(worker), disarm, None)
        client = connected(worker)
        assert client.call("echo", lines)["body"] == lines
        assert client.call("aecho", lines)["body"] == lines
        lines += 1
        for client in worker.clients:
            client.close()
        worker.clients.clear()
    worker.process.send_signal(signal.SIGTERM)
    assert worker.exit_code() == 0, worker.stderr()[-3000:]


def connected(worker):
    """A client, at the second try if the exception hit the first."""
    try:
        return worker.connect()
    except CLOSED:
        return worker.connect()


@each_version
def test_async_calls_that_cannot_begin_are_answered_with_the_reason(start):
    client = start(
        STRAY
        + """
    from pyproc_worker._system import unpatched

    Thread = unpatched.Thread

    class NoThread(Thread):
        def start(self):
            raise RuntimeError("no room")

    @expose
    def allow_threads(req):
        unpatched.Thread = Thread if req else NoThread
    """
    ).connect()
    client.call("allow_threads", False)
    client.send(request(1, "aecho", 1), request(2, "aecho", 2), request(3, "echo", 3))
    answers = client.receive_all(3)
    assert [answers[id].get("error", "")[-7:] for id in (1, 2, 3)] == ["no room", "no room", ""]
    client.call("allow_threads", True)
    assert client.call("aecho", 4)["body"] == 4

"""Telemetry from a worker to its client, and what is known of a call: both cores."""

import contextlib
import json
import signal
import socket
import textwrap
import threading

import pytest
from conftest import THREADS_INHERIT_CONTEXT
from pyproc_worker._call import Call
from pyproc_worker._outgoing import Outgoing
from wire import (
    CANCEL,
    DRAIN,
    RESPONSE,
    TELEMETRY,
    Client,
    frame,
    frame2,
    hello,
    request,
    request2,
)

ALL = ("error-details", "cancel", "logs", "spans", "metrics")
QUIET = ("error-details", "cancel", "spans")  # of which a worker has nothing to say by itself
TRACE = bytes(range(24)) + b"\x01"
TRACE_ID, SPAN_ID = TRACE[:16].hex(), TRACE[16:24].hex()

REPORT = """
    import asyncio, contextvars, gc, json, threading
    from pyproc_worker import _call, _channel
    from pyproc_worker._call import current_call

    def about():
        call = current_call()
        if call is None:
            return None
        return {
            "function": call.function,
            "headers": dict(call.headers),
            "baggage": call.baggage,
            "trace": [call.trace_id, call.span_id, call.traceparent],
            "has_channel": call.channel is not None,
        }

    def line(text):
        return json.dumps({"type": "log", "message": text}).encode() + b"\\n"

    @expose
    def tell_call(req):
        return about()

    @expose
    async def tell_call_async(req):
        await asyncio.sleep(0)
        inner = asyncio.ensure_future(asyncio.sleep(0, about()))
        return [about(), await inner, await asyncio.to_thread(about)]

    @expose
    def tell_call_of_threads(req):
        seen = []
        look = lambda: seen.append(about())
        for target in (look, lambda: contextvars.copy_context().run(look)):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(look,))
        thread.start()
        thread.join()
        return seen

    @expose
    def report(texts):
        return [current_call().channel.send(line(text)) for text in texts]

    @expose
    async def report_async(texts):
        return [current_call().channel.send(line(text)) for text in texts]

    @expose
    def report_everywhere(text):
        return [channel.send(line(text)) for channel in _channel.channels]

    @expose
    def features(req):
        return [sorted(channel.features) for channel in _channel.channels]
"""


def script(*more):
    """The functions that report, and some more."""
    return "".join(textwrap.dedent(part) for part in (REPORT, *more))


def wanting(worker, features=QUIET):
    """A connection that asked for telemetry."""
    return worker.connect(version=2, features=features)


def ask(client, method, body=None, id=1, **more):
    client.send(request2(id, client.table[method], json.dumps(body).encode(), **more))
    return client.receive2()


def result(message):
    assert message["kind"] == RESPONSE, message
    return json.loads(message["payload"])


# The hello


@pytest.mark.parametrize(
    ("asked", "in_force"),
    [
        ([], []),
        (["cancel"], ["cancel"]),
        (["logs", "unknown"], ["logs"]),
        (["metrics", "spans", "error-details"], ["error-details", "spans", "metrics"]),
    ],
)
def test_the_telemetry_that_was_asked_for_is_in_force(start, asked, in_force):
    client = start(REPORT).connect()
    known = client.say_hello(versions=[1, 2], features=asked)["body"]
    assert known["features"] == in_force
    client.version, client.table = 2, {f["name"]: i for i, f in enumerate(known["functions"])}
    telemetry = sorted(set(in_force) & {"logs", "spans", "metrics"})
    assert client.call("features")["body"] == ([telemetry] if telemetry else [])


def test_version_1_has_no_telemetry_whoever_asks(start):
    client = start(REPORT).connect()
    known = client.say_hello(versions=[1], features=list(ALL))["body"]
    assert known["features"] == ["error-details", "cancel"]
    assert client.call("features")["body"] == []


def test_what_is_sent_when_a_channel_opens_follows_the_answer_to_the_hello(start):
    opened = """
        _channel.on_open.append(lambda channel: channel.send(line("opened")))
    """
    client = wanting(start(script(opened)))
    assert client.records() == [{"type": "log", "message": "opened"}]


def test_telemetry_may_be_asked_for_while_a_function_runs(start):
    opened = """
        _channel.on_open.append(lambda channel: channel.send(line("opened")))
    """
    worker = start(script(WAITING, opened))
    busy = wanting(worker)
    busy.send(request2(1, "wait_for_event"))
    assert [busy.records()[0]["message"] for _ in range(2)] == ["opened", "it runs"]
    client = wanting(worker)
    assert client.records() == [{"type": "log", "message": "opened"}]
    busy.send(frame2(CANCEL, 1))
    assert result(busy.receive2()) == "told"
    assert result_after_records(client, "report", ["x"]) == [True]


def test_a_hook_that_fails_does_no_harm(start):
    broken = """
        def fail_to_open(channel):
            raise LookupError("broken hook")
        _channel.on_open.append(fail_to_open)
        _channel.on_open.append(lambda channel: channel.send(line("opened")))
    """
    worker = start(script(broken))
    client = wanting(worker)
    assert client.records() == [{"type": "log", "message": "opened"}]
    worker.wait_for_log("LookupError: broken hook")
    assert client.call("echo", 1)["body"] == 1


# Frames


@pytest.mark.parametrize("method", ["report", "report_async"])
def test_records_arrive_before_the_answer_of_their_call(start, method):
    client = wanting(start(REPORT))
    client.send(request(1, "echo", 0), request(2, method, ["a", "b"]))
    messages = [client.receive2() for _ in range(4)]
    told = [m["payload"] for m in messages if m["kind"] == TELEMETRY]
    assert told == [b'{"type": "log", "message": "a"}\n', b'{"type": "log", "message": "b"}\n']
    (answer,) = (m for m in messages if m["id"] == 2)
    assert messages.index(answer) == 3 or messages[3]["id"] == 1
    assert result(answer) == [True, True]


def test_a_frame_of_telemetry_has_an_empty_header(start):
    client = wanting(start(REPORT))
    client.send(request(1, "report", ["é"]))
    line = json.dumps({"type": "log", "message": "é"}).encode() + b"\n"
    assert frame(client.receive_body()) == frame2(TELEMETRY, 0, line)
    client.receive()


def test_nothing_is_sent_unasked(start):
    worker = start(REPORT)
    deaf, listening = worker.connect(version=2), wanting(worker)
    assert deaf.call("report_everywhere", "x")["body"] == [True]
    assert listening.records() == [{"type": "log", "message": "x"}]
    assert deaf.call("echo", 1)["body"] == 1


def test_telemetry_from_a_client_is_skipped(start):
    client = wanting(start(REPORT))
    client.send(frame2(TELEMETRY, 0, b"{}\n"), request(1, "echo", 1))
    assert client.receive()["body"] == 1


def test_lines_too_long_for_a_frame_are_refused(start):
    long = """
        @expose
        def report_long(size: int):
            lines = b"x" * (size - 1) + b"\\n"
            return current_call().channel.send(lines)
    """
    client = wanting(start(script(long), PYPROC_MAX_FRAME_SIZE="4096"))
    assert client.call("report_long", 4096 - 11)["body"] is False
    client.send(request(1, "report_long", 4096 - 12))
    assert len(client.receive_body()) == 4096
    assert client.receive()["body"] is True


FLOOD = """
    KIB = line("x" * 991)[:1023] + b"\\n"

    @expose
    def flood(req):
        "Sends until nothing more is taken; the number of lines that were."
        send, count = current_call().channel.send, 0
        while send(KIB):
            count += 1
        return count
"""


def test_a_client_that_does_not_read_is_sent_no_more_and_the_worker_goes_on(start):
    worker = start(script(FLOOD))
    deaf, other = wanting(worker), worker.connect(version=2)
    deaf.send(request(1, "flood"))
    assert other.call("echo", 1)["body"] == 1  # after the flood: plain functions run in turn
    kinds, bytes_ = [], 0
    while not kinds or kinds[-1] == TELEMETRY:
        message = deaf.receive2()
        kinds.append(message["kind"])
        bytes_ += len(message["payload"])
    assert kinds[-1] == RESPONSE
    assert json.loads(message["payload"]) == len(kinds) - 1
    assert 1 << 20 < bytes_ < 8 << 20, "a mebibyte waits, beyond what the system took"
    assert result_after_records(deaf, "report", ["again"]) == [True]


def result_after_records(client, method, body):
    client.send(request(9, method, body))
    while (message := client.receive2())["kind"] == TELEMETRY:
        pass
    return result(message)


def test_frames_stay_whole_and_in_order_when_threads_send(start):
    threads = """
        @expose
        def report_from_threads(count: int):
            channel = current_call().channel
            def work(name):
                for number in range(count):
                    assert channel.send(line([name, number]))
            threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    """
    client = wanting(start(script(threads)))
    client.send(request(1, "report_from_threads", 100))
    told = [client.records()[0]["message"] for _ in range(400)]
    for name in range(4):
        assert [number for who, number in told if who == name] == list(range(100))
    assert client.receive()["ok"]


def test_destructors_and_handlers_of_signals_may_send(start):
    interruptions = """
        import signal

        class Leaver:
            def __init__(self):
                self.circle = self
                self.channel = current_call().channel
            def __del__(self):
                self.channel.send(line("gone"))

        @expose
        def interrupted(count: int):
            call = current_call()
            signal.signal(signal.SIGALRM, lambda *_: call.channel.send(line("alarm")))
            signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
            gc.set_threshold(5)
            for number in range(count):
                Leaver()
                call.channel.send(line("plain"))
            signal.setitimer(signal.ITIMER_REAL, 0)
            gc.collect()
            return count
    """
    client = wanting(start(script(interruptions)))
    client.send(request(1, "interrupted", 300))
    told = []
    while (message := client.receive2())["kind"] == TELEMETRY:
        told.append(json.loads(message["payload"])["message"])
    assert result(message) == 300
    assert told.count("plain") == told.count("gone") == 300


# Who does not get it


def test_a_closed_channel_takes_nothing(start):
    worker = start(
        script("""
        opened, closed = [], []
        _channel.on_open.append(opened.append)
        _channel.on_close.append(closed.append)

        @expose
        def after_close(req):
            return {
                "open": len(_channel.channels),
                "closed": closed == opened,
                "sent": [channel.send(line("x")) for channel in opened],
            }
    """)
    )
    wanting(worker).close()
    client = worker.connect(version=2)
    while (told := client.call("after_close")["body"])["open"]:
        pass
    assert told == {"open": 0, "closed": True, "sent": [False]}


def test_a_channel_is_closed_whose_client_came_while_the_last_function_ran(start, core):
    last = """
        _channel.on_open.append(lambda channel: print("opened", file=sys.stderr))
        _channel.on_close.append(lambda channel: print("closed", file=sys.stderr))

        @expose
        def gate_and_exit(req):
            with open(req["gate"]) as gate:
                gate.read()
            sys.exit(3)
    """
    worker = start(script(last))
    first, gate = worker.connect(version=2), worker.gate()
    first.send(request(1, "gate_and_exit", gate.body))
    with gate.entered():
        late = Client(worker.path)
        late.send(bytes(hello(versions=[1, 2], features=["spans"])))
        if core == "native":  # the other one sees its sockets when the function is over
            worker.wait_for_log("opened")
            late.receive()
    assert worker.exit_code() == 3
    late.close()
    assert worker.stderr().count("opened") == worker.stderr().count("closed")


def test_a_process_that_a_function_forks_sends_nothing(start):
    forking = """
        @expose
        def fork(req):
            channel = current_call().channel
            channel.send(line("parent"))
            child = os.fork()
            if child == 0:
                os._exit(channel.send(line("child")))
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    """
    client = wanting(start(script(forking)))
    client.send(request(1, "fork"))
    assert client.records() == [{"type": "log", "message": "parent"}]
    assert client.receive()["body"] == 0
    assert client.call("echo", 1)["body"] == 1


def test_a_function_is_told_that_its_client_is_gone_though_it_noticed_first_itself(start):
    noticing = """
        @expose
        def report_until_told(req, cancel_event):
            send = current_call().channel.send
            while send(line("x")):
                pass
            cancel_event.wait()
            print("told", file=sys.stderr)
    """
    worker = start(script(noticing))
    client = wanting(worker)
    client.send(request2(1, "report_until_told"))
    client.records()
    client.close()
    worker.wait_for_log("told")


# The end


KEPT = """
    kept = []

    def let_leave():
        while kept:
            text = kept.pop()
            for channel in _channel.channels:
                channel.send(line(text))

    _channel.on_drain.append(let_leave)

    @expose
    def keep(text):
        kept.append(text)

    @expose
    def take_kept(req):
        taken, kept[:] = list(kept), []
        return taken
"""


def test_what_is_kept_leaves_before_the_worker_says_that_it_drains(start):
    worker = start(script(KEPT))
    client = wanting(worker)
    client.call("keep", "kept")
    worker.process.send_signal(signal.SIGTERM)
    assert client.records() == [{"type": "log", "message": "kept"}]
    assert client.receive2()["kind"] == DRAIN
    assert client.is_at_end()
    assert worker.exit_code() == 0


def test_what_is_kept_by_the_last_calls_leaves_before_the_end(start):
    worker = start(script(KEPT))
    client, gate = wanting(worker), worker.gate()
    client.send(request(1, "gate", gate.body), request(2, "keep", "late"))
    with gate.entered():
        worker.process.send_signal(signal.SIGTERM)
    kinds = {}
    while len(kinds) < 4:
        message = client.receive2()
        kinds[message["kind"], message["id"]] = message["payload"]
    assert json.loads(kinds[TELEMETRY, 0]) == {"type": "log", "message": "late"}
    assert {(RESPONSE, 1), (RESPONSE, 2), (DRAIN, 0)} < kinds.keys()
    assert worker.exit_code() == 0


def test_what_is_kept_by_the_last_async_calls_leaves_before_the_end(start):
    late = """
        @expose
        async def keep_when_cancelled(text):
            kept.append("first")
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                kept.append(text)
    """
    worker = start(script(KEPT, late))
    client = wanting(worker)
    client.send(request(1, "keep_when_cancelled", "late"))
    while client.call("take_kept", id=2)["body"] != ["first"]:
        pass
    worker.process.send_signal(signal.SIGTERM)
    assert client.receive2()["kind"] == DRAIN
    client.send(frame2(CANCEL, 1))
    assert result(client.receive2()) is None
    assert client.records() == [{"type": "log", "message": "late"}]
    assert client.is_at_end()
    assert worker.exit_code() == 0


def test_what_is_kept_leaves_when_a_function_ends_the_worker(start):
    leaving = """
        @expose
        def leave(req):
            kept.append("last words")
            sys.exit(3)
    """
    worker = start(script(KEPT, leaving))
    client = wanting(worker)
    client.send(request(1, "leave"))
    assert client.records() == [{"type": "log", "message": "last words"}]
    assert worker.exit_code() == 3


WAITING = """
    @expose
    async def wait(req):
        current_call().channel.send(line("it runs"))
        await asyncio.Event().wait()

    @expose
    def wait_for_event(req, cancel_event):
        current_call().channel.send(line("it runs"))
        cancel_event.wait()
        return "told"
"""


def test_a_worker_that_drains_still_takes_cancellations_but_no_requests(start):
    worker = start(script(WAITING))
    client = wanting(worker)
    client.send(request2(1, "wait"))
    assert client.records()[0]["message"] == "it runs"
    worker.process.send_signal(signal.SIGTERM)
    assert client.receive2()["kind"] == DRAIN
    client.send(request(2, "echo", 1), frame2(CANCEL, 1))
    answer = client.receive2()
    assert (answer["id"], answer["type"]) == (1, "pyproc_worker.Cancelled")
    assert client.is_at_end()
    assert worker.exit_code() == 0


def test_a_plain_function_is_told_of_its_cancellation_though_the_worker_is_to_end(start):
    worker = start(script(WAITING))
    client = wanting(worker)
    client.send(request2(1, "wait_for_event"))
    assert client.records()[0]["message"] == "it runs"
    worker.process.send_signal(signal.SIGTERM)
    client.send(frame2(CANCEL, 1))
    messages = {}
    while len(messages) < 2:  # in either order, since a core need not see the signal meanwhile
        message = client.receive2()
        messages[message["kind"]] = message
    assert result(messages[RESPONSE]) == "told"
    assert DRAIN in messages
    assert worker.exit_code() == 0


# What is known of a call


def test_nothing_is_known_of_a_call_that_says_nothing(start):
    worker = start(REPORT)
    for client in (worker.connect(), worker.connect(version=2)):
        assert client.call("tell_call")["body"] is None
        assert client.call("tell_call_async")["body"] == [None, None, None]


@pytest.mark.parametrize("times", [False, True])
def test_headers_and_trace_of_a_request_are_known_in_its_call(start, times):
    client = start(REPORT).connect(version=2)
    headers = {"tenant": "雪", "baggage": "request_id=r-1"}
    told = result(ask(client, "tell_call", trace=TRACE, headers=headers, times=times))
    assert told == {
        "function": "tell_call",
        "headers": headers,
        "baggage": {"request_id": "r-1"},
        "trace": [TRACE_ID, SPAN_ID, f"00-{TRACE_ID}-{SPAN_ID}-01"],
        "has_channel": False,
    }
    only_trace = result(ask(client, "tell_call", trace=TRACE, times=times))
    assert only_trace == {**told, "headers": {}, "baggage": {}}
    assert client.call("tell_call")["body"] is None


def test_headers_of_version_1_are_known_and_their_traceparent(start):
    client = start(REPORT).connect()
    parent = f"00-{TRACE_ID}-{SPAN_ID}-00"
    client.send(request(1, "tell_call", headers={"traceparent": parent, "x": "y"}))
    told = client.receive()["body"]
    assert told["headers"] == {"traceparent": parent, "x": "y"}
    assert told["trace"] == [TRACE_ID, SPAN_ID, parent]
    assert client.call("tell_call")["body"] is None


def test_a_client_that_takes_telemetry_has_its_calls_known(start):
    client = wanting(start(REPORT))
    assert result(ask(client, "tell_call", trace=TRACE))["trace"][0] == TRACE_ID
    expected = {
        "function": "tell_call",
        "headers": {},
        "baggage": {},
        "trace": ["", "", ""],
        "has_channel": True,
    }
    assert client.call("tell_call")["body"] == expected
    client.send(bytes(request(1, "tell_call")))  # in version 1
    assert client.receive()["body"] == expected


def test_tasks_and_threads_with_a_copy_of_the_context_know_the_call_of_a_coroutine(start):
    client = wanting(start(REPORT))
    told = result(ask(client, "tell_call_async", trace=TRACE, headers={"a": "b"}))
    assert [one["trace"][0] for one in told] == [TRACE_ID] * 3
    assert {one["function"] for one in told} == {"tell_call_async"}


def test_coroutines_that_run_at_once_know_their_own_calls(start):
    meeting = """
        arrived, met = [], []

        @expose
        async def meet(count: int):
            met[:] = met or [asyncio.Event()]
            arrived.append(count)
            if len(arrived) == count:
                met[0].set()
            await met[0].wait()
            return about()["headers"]["name"]
    """
    client = wanting(start(script(meeting)))
    for id in range(1, 6):
        client.send(request2(id, client.table["meet"], b"5", headers={"name": f"call {id}"}))
    assert {id: told["body"] for id, told in client.receive_all(5).items()} == {
        id: f"call {id}" for id in range(1, 6)
    }


def test_a_thread_knows_the_call_only_by_a_copy_of_its_context(start):
    client = start(REPORT).connect(version=2)
    told = result(ask(client, "tell_call_of_threads", trace=TRACE))
    by_itself = told[2] if THREADS_INHERIT_CONTEXT else None
    assert told[:2] == [by_itself, by_itself]
    assert told[2]["function"] == "tell_call_of_threads"


def test_a_thread_that_outlives_its_call_still_knows_that_one(start):
    outliving = """
        over, threads, seen = threading.Event(), [], []

        @expose
        def start_thread(req):
            def work():
                over.wait()
                seen.append(about()["headers"]["name"])

            context = contextvars.copy_context()
            threads.append(threading.Thread(target=context.run, args=(work,)))
            threads[0].start()

        @expose
        def join_thread(req):
            over.set()
            threads[0].join()
            return [seen[0], about()["headers"]["name"]]
    """
    client = wanting(start(script(outliving)))
    ask(client, "start_thread", headers={"name": "first"})
    told = ask(client, "join_thread", headers={"name": "second"})
    assert result(told) == ["first", "second"]


def test_a_call_of_which_nothing_is_known_is_not_taken_for_the_one_before(start):
    client = start(REPORT).connect(version=2)
    for method, nothing in (
        ("tell_call", None),
        ("tell_call_of_threads", [None] * 3),
        ("tell_call_async", [None] * 3),
    ):
        told = result(ask(client, "tell_call", trace=TRACE, headers={"tenant": "other"}))
        assert told["headers"] == {"tenant": "other"}
        assert result(ask(client, method)) == nothing


def test_a_function_that_takes_a_cancel_event_knows_its_call(start):
    cancellable = """
        @expose
        def tell_call_cancellable(req, cancel_event):
            return about()["function"]

        @expose
        async def tell_call_cancellable_async(req, cancel_event):
            return about()["function"]
    """
    client = wanting(start(script(cancellable)))
    for method in ("tell_call_cancellable", "tell_call_cancellable_async"):
        assert client.call(method)["body"] == method


def test_a_function_that_fails_leaves_no_call_behind_and_a_traceback_without_ours(start):
    failing = """
        @expose
        async def fail_async(req):
            raise ValueError(req)

        @expose
        def look_and_fail(req):
            assert current_call() is current_call()
            raise ValueError(req)

        @expose
        def needs_number(number: int):
            return number

        @expose
        async def needs_number_async(number: int):
            return number
    """
    worker = start(script(failing))
    client, plain = wanting(worker), worker.connect(version=2)
    for method in ("fail", "fail_async", "look_and_fail"):
        error = ask(client, method, "no")
        assert (error["type"], error["message"]) == ("ValueError", "no")
        first, second = error["traceback"].splitlines()[:2]
        assert (first, second.split(", in ")[1]) == ("Traceback (most recent call last):", method)
        assert plain.call("tell_call")["body"] is None
    for method in ("needs_number", "needs_number_async"):
        assert ask(client, method, {"number": "x"})["type"] == "pyproc_worker.InvalidRequest"


def test_a_call_may_be_kept_beyond_its_end(start):
    keeping = """
        kept = []

        @expose
        def keep_call(req):
            kept.append(current_call())

        @expose
        def tell_kept(req):
            return [[call.function, call.trace_id, call.baggage] for call in kept]
    """
    client = start(script(keeping)).connect(version=2)
    for name in ("a", "b"):
        headers = {"baggage": f"name={name}"}
        ask(client, "keep_call", trace=TRACE, headers=headers)
    expected = [["keep_call", TRACE_ID, {"name": name}] for name in ("a", "b")]
    assert client.call("tell_kept")["body"] == expected


def test_hooks_go_around_each_call_that_is_known(start):
    hooks = """
        seen = []
        _call.leave = lambda token: seen.append(["leave", token])

        def enter(call):
            seen.append(["enter", call.function])
            return call.function

        _call.enter = enter

        @expose
        def take_seen(req):
            taken, seen[:] = list(seen), []
            return taken
    """
    worker = start(script(hooks))
    plain = worker.connect(version=2)
    for method in ("echo", "fail", "tell_call_async"):
        ask(plain, method, trace=TRACE)
        told = plain.call("take_seen")["body"]
        assert told == [["enter", method], ["leave", method]]
        ask(plain, method)
        assert plain.call("take_seen")["body"] == []


def test_the_event_loop_says_when_it_begins_to_be_busy(start):
    busy = """
        from pyproc_worker import _asyncio
        began = []
        _asyncio.on_busy = lambda loop: began.append(loop.running)

        @expose
        async def count_beginnings(req):
            return len(began)
    """
    client = wanting(start(script(busy)))
    assert [client.call("count_beginnings")["body"] for _ in range(2)] == [1, 2]


# The parts by themselves


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "00",
        f"00-{TRACE_ID}-{SPAN_ID}",
        f"00-{TRACE_ID}-{SPAN_ID}-1",
        f"00-{TRACE_ID}-{SPAN_ID}-01-more",
        f"ff-{TRACE_ID}-{SPAN_ID}-01",
        f"0x-{TRACE_ID}-{SPAN_ID}-01",
        f"00-{TRACE_ID.upper()}-{SPAN_ID}-01",
        f"00-{'0' * 32}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"00-{TRACE_ID[:30]}  -{SPAN_ID}-01",
        f"00-{TRACE_ID[:31]}g-{SPAN_ID}-01",
    ],
)
def test_a_traceparent_that_is_none_means_no_trace(traceparent):
    call = Call("f", {"traceparent": traceparent}, None, None)
    assert call.trace is None
    assert (call.trace_id, call.span_id, call.traceparent) == ("", "", "")


@pytest.mark.parametrize(
    ("traceparent", "flags"),
    [(f"00-{TRACE_ID}-{SPAN_ID}-01", 1), (f" 01-{TRACE_ID}-{SPAN_ID}-ff-later ", 255)],
)
def test_a_traceparent_is_read(traceparent, flags):
    call = Call("f", {"traceparent": traceparent}, None, None)
    assert call.trace == (TRACE[:16], TRACE[16:24], flags)


def test_the_trace_of_the_frame_counts_before_that_of_the_headers():
    other = {"traceparent": f"00-{'1' * 32}-{'2' * 16}-00"}
    assert Call("f", other, TRACE, None).trace_id == TRACE_ID
    assert Call("f", None, bytes(25), None).trace is None


@pytest.mark.parametrize(
    ("header", "baggage"),
    [
        ("", {}),
        ("a=1", {"a": "1"}),
        (" a = 1 ; meta=x , b=2,c=", {"a": "1", "b": "2", "c": ""}),
        ("a=%E9%9B%AA%20x%2C", {"a": "雪 x,"}),
        ("a=1=2,a=3", {"a": "3"}),
        ("none,=x,;,b=2", {"b": "2"}),
    ],
)
def test_baggage_is_read(header, baggage):
    assert Call("f", {"baggage": header}, None, None).baggage == baggage


def test_baggage_is_bounded():
    many = ",".join(f"k{number}=v" for number in range(1000))
    assert len(Call("f", {"baggage": many}, None, None).baggage) == 180
    long = "a=1,b=" + "x" * 10_000
    assert Call("f", {"baggage": long}, None, None).baggage == {"a": "1"}


@pytest.fixture
def outgoing():
    """What sends on one end of a pair of sockets, and the other end."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    yield Outgoing(ours), theirs
    for one in (ours, theirs):
        one.close()


def test_what_is_offered_while_somebody_sends_leaves_with_that(outgoing):
    outgoing, theirs = outgoing
    with outgoing._lock:
        assert [outgoing.offer(b"%x" % n, limit=10) for n in range(11)] == [True] * 10 + [False]
    outgoing.send(b"answer")
    assert theirs.recv(100) == b"0123456789answer"


def test_what_is_offered_between_two_looks_is_not_forgotten(outgoing):
    outgoing, theirs = outgoing

    class Interrupted:
        """A lock during whose holding something is offered."""

        def __init__(self):
            self.inner, self.is_first = threading.Lock(), True

        def acquire(self, blocking=True):
            return self.inner.acquire(blocking)

        def release(self):
            if self.is_first:
                self.is_first = False
                assert outgoing.offer(b"offered", 100)
            self.inner.release()

        def __enter__(self):
            self.inner.acquire()

        def __exit__(self, *_):
            self.release()

    outgoing._lock = Interrupted()
    outgoing.send(b"answer")
    assert theirs.recv(100) == b"answeroffered"


def test_nothing_is_offered_to_who_has_finished(outgoing):
    outgoing, theirs = outgoing
    outgoing.keep(b"last")
    outgoing.finish_before(0)
    assert not outgoing.offer(b"late", 100)
    outgoing.send(b"later")
    theirs.setblocking(False)
    assert theirs.recv(100) == b"last"
    with contextlib.suppress(BlockingIOError):
        assert theirs.recv(100) == b""

"""What is known of a call: both cores."""

import pytest
from conftest import THREADS_INHERIT_CONTEXT
from pyproc_worker._calls.current import Call
from reporting import REPORT, SPAN_ID, TRACE, TRACE_ID, ask, result, script, wanting
from wire import request, request2


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


@pytest.mark.parametrize("flags", range(4))
def test_a_call_has_the_flags_of_its_trace(start, flags):
    client = start(REPORT).connect(version=2)
    trace = TRACE[:24] + bytes([flags])
    plain = result(ask(client, "tell_call", trace=trace))
    in_coroutine = result(ask(client, "tell_call_async", trace=trace))
    for told in (plain, *in_coroutine):
        assert told["trace"] == [TRACE_ID, SPAN_ID, f"00-{TRACE_ID}-{SPAN_ID}-0{flags}"]


@pytest.mark.parametrize("flags", range(4))
def test_headers_of_version_1_are_known_and_their_traceparent(start, flags):
    client = start(REPORT).connect()
    parent = f"00-{TRACE_ID}-{SPAN_ID}-0{flags}"
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


def test_a_thread_of_a_call_of_which_nothing_is_known_knows_no_later_one(start):
    outliving = """
        over, threads, seen = threading.Event(), [], []

        @expose
        def start_thread(req):
            def work():
                over.wait()
                seen.append(about())

            context = contextvars.copy_context()
            threads.append(threading.Thread(target=context.run, args=(work,)))
            threads[0].start()

        @expose
        def join_thread(req):
            over.set()
            threads[0].join()
            return [seen[0], about()["headers"]["name"]]
    """
    client = start(script(outliving)).connect(version=2)
    ask(client, "tell_call", headers={"name": "first"})
    ask(client, "start_thread")
    told = ask(client, "join_thread", headers={"name": "third"})
    assert result(told) == [None, "third"]


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

        def enter(call):
            seen.append(["enter", call.function])
            return call.function

        current.hook(enter, lambda token: seen.append(["leave", token]))

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


@pytest.mark.parametrize("where", ["by_function", "by_thread"])
def test_hooks_that_come_late_go_around_the_calls_that_follow(start, where):
    late = """
        from threading import Thread

        seen = []

        def enter(call):
            seen.append(call.trace_id)

        def hook():
            current.hook(enter, lambda token: None)

        @expose
        def by_function(req):
            hook()

        @expose
        def by_thread(req):
            thread = Thread(target=hook)
            thread.start()
            thread.join()

        @expose
        def take_seen(req):
            taken, seen[:] = list(seen), []
            return taken
    """
    client = start(script(late)).connect(version=2)
    for method in ("echo", "echo", where):
        ask(client, method, trace=TRACE)
    assert client.call("take_seen")["body"] == []
    for _ in range(2):
        ask(client, "echo", trace=TRACE)
    assert client.call("take_seen")["body"] == [TRACE_ID, TRACE_ID]


def test_the_native_core_does_beforehand_what_is_to_be_done_there(start, core):
    hooks = """
        seen = []

        def stand(call):
            seen.append("stand")

        @expose
        def hook(req):
            current.hook(lambda call: seen.append("enter"), lambda token: None)

        @expose
        def hook_placeholders(req):
            current.hook_placeholders(stand)

        @expose
        def take_seen(req):
            taken, seen[:] = list(seen), []
            return taken
    """
    client = start(script(hooks)).connect(version=2)
    client.call("hook")
    for method in ("echo", "hook_placeholders"):
        ask(client, method, trace=TRACE)
    assert client.call("take_seen")["body"] == ["enter", "enter"]
    for _ in range(2):
        ask(client, "echo", trace=TRACE)
    done = "stand" if core == "native" else "enter"
    assert set(client.call("take_seen")["body"]) == {done}


def test_the_event_loop_says_when_it_begins_to_be_busy(start):
    busy = """
        from pyproc_worker._calls import event_loop
        began = []
        event_loop.on_busy = lambda loop: began.append(loop.running)

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

"""Records of `logging`, lines that are printed, and the worker's own log, on their way to the client."""

import json
import signal
import sys
import time
import types

import pytest
from pyproc_worker import _log
from reports import SAMPLED, SPAN_ID, TRACE_ID, Taker

LOGGING = """
    import asyncio, contextvars, logging, threading

    log = logging.getLogger("shop.cart")

    @expose
    def say(req):
        getattr(log, req.get("level", "info"))(req["text"], *req.get("args", ()), extra=req.get("extra"))

    @expose
    async def say_async(req):
        await asyncio.sleep(0)
        log.info(req["text"])

    @expose
    def say_in_thread(req):
        thread = threading.Thread(
            target=contextvars.copy_context().run, args=(log.info, req["text"]), name="helper"
        )
        thread.start()
        thread.join()

    @expose
    def say_exception(req):
        try:
            raise ValueError("oh")
        except ValueError:
            log.exception("it failed", stack_info=True)

    @expose
    def handlers(req):
        return [type(handler).__name__ for handler in logging.getLogger().handlers]

    @expose
    def printed(req):
        print(req["text"], end=req.get("end", "\\n"), file=getattr(sys, req.get("to", "stdout")))
"""


@pytest.fixture
def taker(start):
    return Taker(start(LOGGING), "logs")


def logs(taker):
    return [record for record in taker.of_type("log") if record["logger"] == "shop.cart"]


def the_log(taker):
    (record,) = logs(taker)
    return record


# Records


def test_a_record_arrives_in_its_parts_before_the_answer(taker):
    before = time.time_ns()
    taker.result("say", {"text": "%d items", "args": [3], "extra": {"shop": "x", "total": 2.5}})
    record = the_log(taker)
    assert before - 1_000_000 < record.pop("time") < time.time_ns() + 1_000_000
    assert record.pop("file").endswith("worker.py")
    assert record.pop("line") > 0
    assert record == {
        "type": "log",
        "level": 20,
        "logger": "shop.cart",
        "message": "3 items",
        "thread": "MainThread",
        "function": "say",
        "fields": {"shop": "x", "total": 2.5},
    }


@pytest.mark.parametrize("method", ["say", "say_async", "say_in_thread"])
def test_a_record_has_the_ids_and_the_baggage_of_its_call(taker, method):
    headers = {"baggage": "request_id=r-1,user=J%C3%BCrgen"}
    taker.result(method, {"text": "hello"}, trace=SAMPLED, headers=headers)
    record = the_log(taker)
    assert (record["trace_id"], record["span_id"]) == (TRACE_ID, SPAN_ID)
    assert record["trace_flags"] == "01"
    assert record["baggage"] == {"request_id": "r-1", "user": "Jürgen"}
    assert record["function"] == method


def test_a_record_outside_of_a_call_has_neither_function_nor_ids(start):
    worker = start(
        LOGGING
        + """
    @expose
    def say_later(req):
        def say():
            with open(req["gate"]) as gate:
                gate.read()
            log.info("later")
        # Free-threaded interpreters hand on the context of the call otherwise.
        threading.Thread(target=contextvars.Context().run, args=(say,)).start()
    """
    )
    taker, gate = Taker(worker, "logs"), worker.gate()
    taker.result("say_later", gate.body, trace=SAMPLED)
    gate.open()
    record = taker.wait_for(lambda record: record["logger"] == "shop.cart")
    assert {"function", "trace_id", "span_id", "trace_flags", "baggage"}.isdisjoint(record)


def test_an_exception_arrives_with_its_traceback(taker):
    taker.result("say_exception")
    record = the_log(taker)
    assert record["message"] == "it failed"
    assert record["level"] == 40
    assert record["exception"].startswith("Traceback (most recent call last):\n")
    assert record["exception"].endswith('raise ValueError("oh")\nValueError: oh')
    assert record["stack"].startswith("Stack (most recent call last):\n")


@pytest.mark.parametrize(("level", "passes"), [("debug", False), ("info", True), ("error", True)])
def test_the_level_is_that_of_the_environment_if_the_script_sets_none(start, level, passes):
    taker = Taker(start(LOGGING), "logs")
    taker.result("say", {"text": "x", "level": level})
    assert len(logs(taker)) == passes


@pytest.mark.parametrize(
    ("setting", "level"),
    [
        ("DEBUG", 10),
        ("TRACE", 5),
        ("OFF", 100),
        ("INFO,PYPROC_POOL=DEBUG", 20),
        ("PYPROC_POOL=DEBUG", 20),
        ("ERROR, PYPROC::PYTHON=DEBUG", 10),
        ("PYPROC::PYTHON=WARNING,DEBUG", 30),
    ],
)
def test_the_level_may_be_written_as_for_the_rust_side(setting, level):
    assert _log._least_level(setting, None) == level


def test_logging_that_a_function_loads_is_forwarded_at_once(start):
    taker = Taker(
        start(
            """
            @expose
            def load(req):
                import logging
                logging.getLogger("late").warning("loaded")
            """
        ),
        "logs",
    )
    taker.result("load")
    assert [record["message"] for record in taker.records] == ["loaded"]


def test_without_logging_the_workers_own_lines_are_records_too(start):
    taker = Taker(
        start(
            """
            @expose
            def loaded(req):
                return "logging" in sys.modules
            """
        ),
        "logs",
    )
    assert taker.result("loaded") is False
    version_1 = taker.client.socket  # the same worker, by an old client
    old = type(taker.client)(version_1.getpeername())
    old.call("fail", "oh")
    record = taker.wait_for(lambda record: record["logger"] == "pyproc_worker")
    old.close()
    assert (record["level"], record["message"]) == (40, "error in 'fail'")
    assert record["exception"].endswith("ValueError: oh")
    assert taker.result("loaded") is False


# What does not fit


BROKEN = """
    class Broken:
        def __str__(self): raise RuntimeError("no")
        __repr__ = __str__

    class Odd(Exception):
        def __str__(self): raise RuntimeError("no")

    @expose
    def say_odd(kind):
        around = []
        around.append({"around": around})
        deep = value = []
        for _ in range(50):
            value.append([])
            value = value[0]
        wide = {"n%d" % n: "x" * 100 for n in range(10000)}
        if kind == "message":
            log.info(Broken())
        elif kind == "arguments":
            log.info("%d", "x")
        elif kind == "exception":
            log.error("x", exc_info=Odd())
        elif kind == "extra":
            log.info("x", extra={
                "object": Broken(), "around": around, "deep": deep, "nan": float("nan"), 7: 1 << 70,
                "surrogate": "\\ud800", "yes": True, "none": None, "tuple": (1, "\\x00"), "set": {1},
            })
        elif kind == "wide":
            log.info("x", extra=wide)
        elif kind == "long":
            log.info("\\x01" * 1000000, extra={"also": "\\x02" * 1000000})
"""


@pytest.fixture
def odd(start):
    return Taker(start(LOGGING + BROKEN), "logs")


def test_a_message_that_cannot_be_written_is_told_as_such(odd):
    odd.result("say_odd", "message")
    assert the_log(odd)["message"].startswith("<Broken, whose __str__ raised RuntimeError>")


def test_arguments_that_do_not_fit_are_told_with_the_message(odd):
    odd.result("say_odd", "arguments")
    assert the_log(odd)["message"] == "%d (cannot be formatted: TypeError)"
    assert the_log(odd)["fields"] == {"args": ["x"]}


def test_an_exception_that_cannot_tell_itself_is_still_told(odd):
    odd.result("say_odd", "exception")
    assert "Odd" in the_log(odd)["exception"] or "RuntimeError" in the_log(odd)["exception"]


def test_extra_values_that_json_does_not_have_become_texts(odd):
    odd.result("say_odd", "extra")
    fields = the_log(odd)["fields"]
    assert fields["object"] == "<Broken, whose __str__ raised RuntimeError>"
    assert (fields["nan"], fields["7"]) == ("nan", str(1 << 70))
    assert (fields["yes"], fields["none"], fields["tuple"]) == (True, None, [1, "\0"])
    assert (fields["surrogate"], fields["set"]) == ("?", "{1}")
    assert "…" in json.dumps(fields["around"], ensure_ascii=False)
    assert "…" in json.dumps(fields["deep"], ensure_ascii=False)


@pytest.mark.parametrize("kind", ["wide", "long"])
def test_a_record_is_cut_to_64_kib_and_says_so(odd, kind):
    odd.result("say_odd", kind)
    record = the_log(odd)
    assert len(json.dumps(record)) <= 64 * 1024
    assert "…" in json.dumps(record, ensure_ascii=False)
    if kind == "long":
        assert record["message"].endswith("(cut, of 1000000 characters)")


def test_the_workers_own_log_waits_for_logging_to_be_loaded(monkeypatch, capsys):
    """By another thread; until then it is there in part."""
    monkeypatch.setitem(sys.modules, "logging", types.ModuleType("logging"))
    _log.error("no connection")
    assert capsys.readouterr().err == "ERROR:pyproc_worker:no connection\n"


# Nothing twice, nothing lost


def test_what_was_sent_is_not_on_stderr_too(start):
    worker = start(LOGGING)
    taker = Taker(worker, "logs")
    taker.result("say", {"text": "only once"})
    taker.client.close()
    worker.process.send_signal(signal.SIGTERM)
    worker.exit_code()
    assert "only once" not in worker.stderr()


def test_a_handler_that_is_added_later_is_silenced_too(start):
    worker = start(
        LOGGING
        + """
    @expose
    def add(req):
        logging.getLogger().addHandler(logging.StreamHandler())
    """
    )
    taker = Taker(worker, "logs")
    taker.result("add")
    taker.result("say", {"text": "only once"})
    worker.process.send_signal(signal.SIGTERM)
    worker.exit_code()
    assert "only once" not in worker.stderr()


def test_records_that_reach_a_silenced_handler_in_another_way_are_written(start):
    """As with a `dictConfig` that gives loggers and the root the same console."""
    worker = start(
        LOGGING
        + """
    logging.basicConfig(level="INFO")
    access = logging.getLogger("access")
    access.propagate = False
    access.addHandler(logging.getLogger().handlers[0])

    @expose
    def say_both(count):
        for number in range(count):
            log.info("sent %d.", number)
            access.info("written %d.", number)
    """
    )
    taker = Taker(worker, "logs")
    taker.result("say_both", 50)
    worker.wait_for_log("written 49.")
    assert [number for number in range(50) if f"written {number}." not in worker.stderr()] == []
    assert "sent" not in worker.stderr()
    assert len(logs(taker)) == 50


def test_a_handler_on_a_stream_of_an_earlier_client_is_silenced_too(start):
    worker = start(
        """
    @expose
    def say(req):
        import logging
        logging.basicConfig(level="INFO")
        logging.getLogger("shop.cart").info("only once")

    @expose
    def is_forwarding(req):
        return sys.stderr is not sys.__stderr__
    """
    )
    plain, first = Taker(worker), Taker(worker, "logs")
    first.result("say")
    first.client.close()
    _wait_until(lambda: not plain.result("is_forwarding"))
    second = Taker(worker, "logs")
    second.result("say")
    assert [record["logger"] for record in second.of_type("log")] == ["shop.cart"]


def test_handlers_that_write_elsewhere_still_do(start, folder):
    worker = start(
        LOGGING
        + """
    @expose
    def add(path):
        logging.getLogger().addHandler(logging.FileHandler(path))
    """
    )
    taker = Taker(worker, "logs")
    taker.result("add", str(folder / "log"))
    taker.result("say", {"text": "twice"})
    assert the_log(taker)["message"] == "twice"
    assert (folder / "log").read_text().endswith("twice\n")


def test_without_a_client_that_takes_logs_they_go_to_stderr(start):
    worker = start(LOGGING)
    plain = Taker(worker)
    plain.result("say", {"text": "for stderr"})
    worker.wait_for_log("INFO:shop.cart:for stderr")
    taker = Taker(worker, "logs")
    assert plain.result("handlers") == ["ForwardingHandler", "StreamHandler"]
    taker.client.close()
    _wait_until(lambda: plain.result("handlers") == ["StreamHandler"])
    plain.result("say", {"text": "again"})
    plain.result("printed", {"text": "as before", "to": "stderr"})
    worker.wait_for_log("INFO:shop.cart:again\nas before\n")
    assert plain.records == []


def _wait_until(holds):
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline


def test_each_client_gets_the_records_of_its_own_calls(start):
    worker = start(LOGGING)
    first, second = Taker(worker, "logs"), Taker(worker, "logs")
    first.result("say", {"text": "one"})
    second.result("say", {"text": "two"})
    first.result("printed", {"text": "three"})
    assert [record["message"] for record in first.records] == ["one", "three"]
    first.client.close()
    second.result("say", {"text": "four"})
    assert [record["message"] for record in second.records] == ["two", "four"]


def test_forwarding_can_be_turned_off(start):
    worker = start(LOGGING, PYPROC_FORWARD_LOGS="0")
    taker = Taker(worker, "logs")
    taker.result("say", {"text": "here"})
    taker.result("printed", {"text": "there", "to": "stderr"})
    assert taker.records == []
    worker.wait_for_log("INFO:shop.cart:here\nthere\n")


def test_what_was_logged_just_before_a_crash_has_arrived(start):
    taker = Taker(
        start(
            LOGGING
            + """
    @expose
    def crash(req):
        log.info("last words")
        print("very last words")
        os.kill(os.getpid(), 9)
    """
        ),
        "logs",
    )
    with pytest.raises((EOFError, ConnectionResetError)):
        taker.call("crash")
    assert [record["message"] for record in taker.of_type("log")] == [
        "last words",
        "very last words",
    ]


FLOOD = (
    LOGGING
    + """
    @expose
    def flood(count):
        del logging.getLogger().handlers[1:]  # stderr, where all that is refused would go
        for _ in range(count):
            log.info("x" * 10000)
    """
)


def test_what_a_client_does_not_read_is_counted(start):
    """The client reads nothing until 300 records of 10 kB have been logged."""
    worker = start(FLOOD)
    taker = Taker(worker, "logs")
    other = Taker(worker)
    taker.ask("flood", 300)
    assert other.result("handlers") == ["ForwardingHandler"]  # after the flood
    taker.answer()
    taker.result("say", {"text": "there is room again"})
    (lost,) = taker.of_type("lost")
    assert lost["spans"] == 0
    assert 0 < lost["logs"] < 300
    assert len(logs(taker)) + lost["logs"] == 301


def test_a_forked_process_logs_to_stderr(start):
    worker = start(
        LOGGING
        + """
    @expose
    def fork(req):
        child = os.fork()
        if child == 0:
            log.info("of the child")
            print("and printed", file=sys.stderr)
            return
        os.waitpid(child, 0)
        log.info("of the parent")
    """
    )
    taker = Taker(worker, "logs")
    taker.result("fork")
    assert [record["message"] for record in logs(taker)] == ["of the parent"]
    worker.wait_for_log("INFO:shop.cart:of the child\nand printed\n")


def test_what_was_left_unfinished_leaves_with_the_drain(start):
    worker = start(LOGGING)
    taker = Taker(worker, "logs")
    taker.result("printed", {"text": "no newline", "end": ""})
    assert taker.records == []
    worker.process.send_signal(signal.SIGTERM)
    (record,) = taker.read_to_end().of_type("log")
    assert record["message"] == "no newline"


def test_what_an_ended_thread_left_unfinished_leaves_with_the_drain(start):
    worker = start(
        LOGGING
        + """
    @expose
    def print_in_thread(req):
        thread = threading.Thread(target=print, args=("unfinished",), kwargs={"end": ""}, name="helper")
        thread.start()
        thread.join()
    """
    )
    taker = Taker(worker, "logs")
    taker.result("print_in_thread")
    worker.process.send_signal(signal.SIGTERM)
    (record,) = taker.read_to_end().of_type("log")
    assert (record["message"], record["thread"]) == ("unfinished", "helper")


# Printed lines


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_printed_lines_are_records_with_their_stream(taker, stream):
    body = {"text": "one\ntwo", "to": stream}
    taker.result("printed", body, trace=SAMPLED, headers={"baggage": "request_id=r-1"})
    one, two = taker.records
    assert (one["message"], two["message"]) == ("one", "two")
    for record in (one, two):
        assert record["stream"] == record["logger"] == stream
        assert (record["level"], record["function"]) == (20, "printed")
        assert (record["trace_id"], record["span_id"]) == (TRACE_ID, SPAN_ID)
        assert record["baggage"] == {"request_id": "r-1"}


def test_a_line_that_a_call_leaves_unfinished_is_its_own(taker):
    taker.result("printed", {"text": "first", "end": ""}, trace=SAMPLED)
    taker.result("printed", {"text": "second"})
    first, second = taker.records
    assert (first["message"], first["span_id"]) == ("first", SPAN_ID)
    assert (second["message"], second.get("span_id")) == ("second", None)


def test_a_line_too_long_for_a_record_goes_to_the_process_output(start):
    worker = start(LOGGING)
    taker = Taker(worker, "logs")
    for text in ("x" * 100000, "\x01" * 16000, "short"):  # six bytes for each \x01 in JSON
        taker.result("printed", {"text": text, "to": "stderr"})
    worker.wait_for_log("x" * 100000)
    worker.wait_for_log("\x01" * 16000)
    assert [record["message"] for record in taker.records] == ["short"]


def test_lines_of_a_flood_go_to_the_process_output(start):
    """The limit is small here, and the clock stands still until the function moves it."""
    worker = start(
        LOGGING
        + """
    import types
    from pyproc_worker import _stdio
    now = 100.0
    _stdio.MOST_LINES, _stdio.time = 3, types.SimpleNamespace(monotonic=lambda: now)

    @expose
    def flood(req):
        global now
        for number in range(10):
            now += number in (6, 7)
            print(number, file=sys.stderr)
    """
    )
    taker = Taker(worker, "logs")
    taker.result("flood")
    assert [record["message"] for record in taker.of_type("log")] == list("0126789")
    worker.wait_for_log("\n3\n4\n5\n")


def test_the_streams_are_like_the_original_ones(start):
    taker = Taker(
        start(
            """
            import io

            @expose
            def look(req):
                sys.stdout.buffer.write(b"")
                sys.stdout.writelines(["a\\n", "b\\n"])
                assert isinstance(sys.stdout, io.TextIOBase) and sys.stdout.writable()
                try:
                    sys.stdout.write(b"bytes")
                except TypeError:
                    pass
                return [
                    sys.stdout.fileno(), sys.stdout.isatty(), sys.stdout.encoding, sys.stdout.errors,
                    sys.stdout.line_buffering, sys.stdout is sys.__stdout__,
                ]
            """
        ),
        "logs",
    )
    number, is_terminal, encoding, _, line_buffering, original = taker.result("look")
    assert (number, is_terminal, encoding.lower()) == (1, False, "utf-8")
    assert (line_buffering, original) == (True, False)
    assert [record["message"] for record in taker.records] == ["a", "b"]


def test_a_function_may_take_the_stream_apart_and_put_another_in_its_place(start):
    worker = start(
        """
        import io

        @expose
        def replace(req):
            print("before", end="", file=sys.stderr)
            sys.stderr = io.TextIOWrapper(sys.stderr.detach(), "latin-1", line_buffering=True)
            print("after", file=sys.stderr)
        """
    )
    taker = Taker(worker, "logs")
    taker.result("replace")
    assert [record["message"] for record in taker.records] == ["before"]
    worker.wait_for_log("after")
    taker.client.close()
    worker.process.send_signal(signal.SIGTERM)
    assert worker.exit_code() == 0


# structlog


STRUCTLOG = """
    import logging, structlog

    structlog.configure(
        processors=[structlog.stdlib.add_log_level, {last}],
        logger_factory=structlog.stdlib.LoggerFactory(),
    )

    @expose
    def say(req):
        structlog.get_logger("shop").info("bought", items=3, shop={{"name": "x"}})
"""


@pytest.mark.parametrize(
    "last",
    [
        "structlog.stdlib.ProcessorFormatter.wrap_for_formatter",
        "structlog.stdlib.render_to_log_kwargs",
    ],
)
def test_structlog_arrives_in_its_parts(start, last):
    taker = Taker(start(STRUCTLOG.format(last=last)), "logs")
    taker.result("say")
    (record,) = taker.of_type("log")
    assert (record["message"], record["logger"], record["level"]) == ("bought", "shop", 20)
    assert record["fields"]["items"] == 3
    assert record["fields"]["shop"] == {"name": "x"}


def test_structlogs_json_is_taken_apart(start):
    taker = Taker(start(STRUCTLOG.format(last="structlog.processors.JSONRenderer()")), "logs")
    taker.result("say")
    (record,) = taker.of_type("log")
    assert record["message"] == "bought"
    assert record["fields"] == {"items": 3, "shop": {"name": "x"}, "level": "info"}

"""Records of `logging` and of the worker's own log, on their way to the client."""

import json
import sys
import time
import types

import pytest
from logging_script import LOGGING, the_log
from pyproc_worker import _log
from reports import SAMPLED, SPAN_ID, TRACE_ID, Taker


@pytest.fixture
def taker(start):
    return Taker(start(LOGGING), "logs")


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


def test_a_message_that_cannot_be_written_is_reported_as_such(odd):
    odd.result("say_odd", "message")
    assert the_log(odd)["message"].startswith("<Broken, whose __str__ raised RuntimeError>")


def test_arguments_that_do_not_fit_are_reported_with_the_message(odd):
    odd.result("say_odd", "arguments")
    assert the_log(odd)["message"] == "%d (cannot be formatted: TypeError)"
    assert the_log(odd)["fields"] == {"args": ["x"]}


def test_an_exception_without_a_readable_message_is_still_reported(odd):
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


# structlog


STRUCTLOG = """
    import logging, structlog

    logging.getLogger("shop").setLevel("INFO")
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

"""Records of `logging` arrive once: neither twice nor not at all."""

import signal
import time

import pytest
from logging_script import LOGGING, logs, the_log
from reports import SAMPLED, SPAN_ID, TRACE_ID, Taker


def stderr_at_its_end(worker):
    worker.process.send_signal(signal.SIGTERM)
    worker.exit_code()
    return worker.stderr()


def test_what_was_sent_is_not_on_stderr_too(start):
    worker = start(LOGGING)
    taker = Taker(worker, "logs")
    taker.result("say", {"text": "only once"})
    taker.client.close()
    assert "only once" not in stderr_at_its_end(worker)


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
    assert "only once" not in stderr_at_its_end(worker)


def test_loggers_that_hand_on_nothing_to_the_root_are_forwarded_too(start):
    """As with a `dictConfig` that gives loggers and the root the same console, or one of their own."""
    worker = start(
        LOGGING
        + """
    import logging.config
    logging.config.dictConfig({
        "version": 1,
        "formatters": {"short": {"format": "%(message)s"}},
        "filters": {"user": {"()": "__main__.User"}},
        "handlers": {
            "console": {"class": "logging.StreamHandler", "formatter": "short"},
            "stdout": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "level": "ERROR", "filters": ["user"]},
        },
        "loggers": {
            "access": {"handlers": ["console"], "propagate": False, "level": "DEBUG"},
            "errors": {"handlers": ["stdout", "console"], "propagate": False, "level": "DEBUG"},
            "both": {"handlers": ["console"], "level": "INFO"},
        },
        "root": {"handlers": ["console"], "level": "INFO"},
        "disable_existing_loggers": False,
    })

    @expose
    def say_all(req):
        logging.getLogger("access").debug("of a request", extra={"path": "/"})
        logging.getLogger("errors").error("no", extra={"shop": "x"})
        logging.getLogger("errors").info("to the console")
        logging.getLogger("both").info("once")
        log.info("sent")
    """.replace(
            "    import logging.config",
            """
    import logging.config
    class User(logging.Filter):
        def filter(self, record):
            record.user = "u-1"
            return True
    """,
            1,
        )
    )
    taker = Taker(worker, "logs")
    taker.result("say_all", trace=SAMPLED)
    said = [(each["logger"], each["message"], each["level"]) for each in taker.of_type("log")]
    assert said == [
        ("access", "of a request", 10),
        ("errors", "no", 40),
        ("errors", "to the console", 20),
        ("both", "once", 20),
        ("shop.cart", "sent", 20),
    ]
    for record in taker.records:
        assert (record["trace_id"], record["span_id"]) == (TRACE_ID, SPAN_ID)
        assert "stream" not in record
    assert [each.get("fields") for each in taker.records[:2]] == [
        {"path": "/"},
        {"shop": "x", "user": "u-1"},
    ]
    assert "no\n" not in stderr_at_its_end(worker)


def test_what_of_such_loggers_does_not_leave_is_written(start):
    worker = start(
        LOGGING
        + """
    from pyproc_worker._telemetry import records
    access = logging.getLogger("access")
    access.propagate = False
    access.addHandler(logging.StreamHandler())

    @expose
    def say_without_room(req):
        records.lost.send = lambda channel, record=b"": False
        access.warning("no room")
    """
    )
    taker = Taker(worker, "logs")
    taker.result("say_without_room")
    worker.wait_for_log("no room")
    assert taker.records == []


def test_a_handler_on_a_stream_of_an_earlier_client_is_silenced_too(start):
    worker = start(
        """
    @expose
    def say(req):
        import logging
        logging.getLogger("shop.cart").warning("only once")

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

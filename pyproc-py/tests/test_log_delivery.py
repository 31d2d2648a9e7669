"""Records of `logging` arrive once: neither twice nor not at all."""

import signal
import time

import pytest
from logging_script import LOGGING, logs, the_log
from reports import Taker


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

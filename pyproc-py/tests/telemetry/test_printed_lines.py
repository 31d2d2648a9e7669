"""Lines that are printed, on their way to the client."""

import signal

import pytest
from logging_script import LOGGING
from reports import SAMPLED, SPAN_ID, TRACE_ID, Taker


@pytest.fixture
def taker(start):
    return Taker(start(LOGGING), "logs")


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


WRITES = """
    @expose
    def write(texts):
        for text in texts:
            sys.stderr.write(text)
            sys.stderr.flush()
"""


def test_lines_that_are_written_at_once_are_one_record(start):
    taker = Taker(start(WRITES), "logs")
    taker.result("write", ["one\ntwo\n", "three\nfo", "ur\n\nfive\nsix"])
    messages = [record["message"] for record in taker.of_type("log")]
    assert messages == ["one\ntwo", "three", "fo", "ur\n\nfive", "six"]


def test_refreshes_of_a_progress_bar_are_one_record(start):
    taker = Taker(start(WRITES), "logs")
    bar = [f"\r{percent:3}%" for percent in range(101)]
    taker.result("write", ["before\n", *bar, "\n", "1\r", "2\r", "3\r\n", "a\r\nb\rc\n"])
    messages = [record["message"] for record in taker.of_type("log")]
    assert messages == ["before", "100%", "3", "a\nc"]


def test_a_progress_bar_without_an_end_is_told_with_its_last_state(start):
    worker = start(WRITES)
    taker = Taker(worker, "logs")
    taker.result("write", [f"\r{percent}%" for percent in range(100_000)])
    assert taker.records == []
    worker.process.send_signal(signal.SIGTERM)
    (record,) = taker.read_to_end().of_type("log")
    assert (record["message"], record["function"]) == ("99999%", "write")


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
    from pyproc_worker._telemetry import stdio
    now = 100.0
    stdio.MOST_LINES, stdio.time = 3, types.SimpleNamespace(monotonic=lambda: now)

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


def test_a_long_line_counts_as_several_of_a_flood(start):
    worker = start(
        """
    import types
    from pyproc_worker._telemetry import stdio
    stdio.MOST_LINES, stdio.time = 3, types.SimpleNamespace(monotonic=lambda: 100.0)

    @expose
    def flood(req):
        print("a" * 1023, "b" * 1024, "c", sep="\\n", file=sys.stderr)
    """
    )
    taker = Taker(worker, "logs")
    taker.result("flood")
    assert [record["message"][0] for record in taker.of_type("log")] == ["a", "b"]
    worker.wait_for_log("\nc\n")


def test_lines_that_are_written_at_once_count_each_of_a_flood(start):
    worker = start(
        WRITES
        + """
    import types
    from pyproc_worker._telemetry import stdio
    stdio.MOST_LINES, stdio.time = 3, types.SimpleNamespace(monotonic=lambda: 100.0)
    """
    )
    taker = Taker(worker, "logs")
    taker.result("write", ["a\nb\nc\n", "d\ne\n"])
    assert [record["message"] for record in taker.of_type("log")] == ["a\nb\nc"]
    worker.wait_for_log("\nd\ne\n")


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

"""OpenTelemetry in functions: the call's place in the trace, and spans on their way to the client."""

import json
import signal
import time

import pytest
from reports import SAMPLED, SPAN_ID, TRACE_ID, UNSAMPLED, Taker
from wire import ERROR

FEATURES = ("logs", "spans")

SPANS = """
    import asyncio
    import contextvars
    import threading
    from opentelemetry import baggage, trace
    from opentelemetry.context import attach

    tracer = trace.get_tracer("shop", "1.2", schema_url="https://example.org/s")

    def about(span):
        context = span.get_span_context()
        return {
            "trace_id": format(context.trace_id, "032x"), "span_id": format(context.span_id, "016x"),
            "flags": int(context.trace_flags), "state": context.trace_state.to_header(),
            "remote": context.is_remote, "recording": span.is_recording(),
        }

    @expose
    def current(req):
        return about(trace.get_current_span())

    spans_kept = []

    @expose
    def keep(req):
        spans_kept.append(trace.get_current_span())

    @expose
    def kept(req):
        return [about(span)["span_id"] for span in spans_kept]

    go, threads, seen = threading.Event(), [], []

    def look_later():
        go.wait()
        seen.append(about(trace.get_current_span())["span_id"])

    @expose
    def begin_thread(req):
        run = contextvars.copy_context().run
        threads.append(threading.Thread(target=run, args=(look_later,)))
        threads[0].start()

    @expose
    def end_thread(req):
        go.set()
        threads[0].join()
        return seen[0]

    @expose
    def leaves_attached(req):
        found = about(trace.get_current_span())["span_id"]
        attach(trace.set_span_in_context(trace.NonRecordingSpan(trace.SpanContext(7, 8, True))))
        return found

    @expose
    async def current_async(req):
        await asyncio.sleep(0)
        return about(trace.get_current_span())

    @expose
    def baggage_of_call(req):
        return dict(baggage.get_all())

    @expose
    def nested(req):
        with tracer.start_as_current_span("outer") as outer:
            with tracer.start_as_current_span("inner") as inner:
                return [about(outer), about(inner)]

    @expose
    async def nested_async(req):
        with tracer.start_as_current_span("outer") as outer:
            await asyncio.sleep(0)
            with tracer.start_as_current_span("inner") as inner:
                return [about(outer), about(inner)]

    @expose
    def rich(req):
        context = trace.SpanContext(7, 8, True, trace.TraceFlags(1))
        with tracer.start_as_current_span(
            "first name", kind=trace.SpanKind.CLIENT, attributes={"a": 1, "b": [1.5, 2.5], "c": ("x",)},
            links=[trace.Link(context, {"why": "because"})],
        ) as span:
            span.set_attribute("text", "Jürgen \\ud800")
            span.set_attributes({"yes": True, "big": 1 << 70, "nan": float("nan")})
            span.add_event("looked", {"shelves": 3})
            span.update_name("rich")
            span.set_status(trace.StatusCode.OK)
            span.set_status(trace.StatusCode.ERROR, "too late")

    @expose
    def failing(req):
        with tracer.start_as_current_span("failing"):
            raise ValueError("oh")

    @expose
    def failing_by_hand(record):
        with tracer.start_span("failing", record_exception=record, set_status_on_exception=record):
            raise ValueError("oh")

    class Odd(Exception):
        def __str__(self): raise RuntimeError("no")

    @expose
    def fails_oddly(req):
        try:
            with tracer.start_span("odd"):
                raise Odd
        except Odd:
            return "Odd"

    @expose
    def is_of_no_kind(req):
        with tracer.start_as_current_span("odd", kind="server"):
            return "done"

    @expose
    def adds_what_is_logged(req):
        import logging
        class Handler(logging.Handler):
            def emit(self, record):
                trace.get_current_span().add_event(record.getMessage())
        logging.getLogger().addHandler(Handler())
        with tracer.start_as_current_span("logs") as span:
            span.add_event("event", {"": "a key that is dropped, which is logged"})

    @expose
    def by_hand(req):
        span = tracer.start_span("by hand", start_time=req["start"])
        span.end(req["end"])
        span.end()
        span.set_attribute("late", 1)

    @expose
    def log_in_span(req):
        import logging
        logging.getLogger("shop").warning("outside")
        with tracer.start_as_current_span("around") as span:
            logging.getLogger("shop").warning("inside")
            print("printed")
            return about(span)["span_id"]

    @tracer.start_as_current_span("decorated")
    def helper():
        return about(trace.get_current_span())["span_id"]

    @expose
    def decorated(req):
        return helper()

    @expose
    def provider(req):
        return type(trace.get_tracer_provider()).__module__
"""

SDK = """
    from opentelemetry import trace
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    trace.set_tracer_provider(TracerProvider(resource=Resource({"service.name": "mine"})))
"""

each_provider = pytest.mark.parametrize("setup", ["", SDK], ids=["ours", "sdk"])


@pytest.fixture
def taker(start):
    return Taker(start(SPANS), *FEATURES)


def spans(taker):
    return {span["name"]: span for span in taker.of_type("span")}


# The call's place


@pytest.mark.parametrize("method", ["current", "current_async"])
@pytest.mark.parametrize(
    ("place", "flags"), [(SAMPLED[:24] + bytes([flags]), flags) for flags in range(4)]
)
def test_the_current_span_is_that_of_the_call(taker, method, place, flags):
    headers = {"tracestate": "vendor=x,other=y"}
    assert taker.result(method, trace=place, headers=headers) == {
        "trace_id": TRACE_ID,
        "span_id": SPAN_ID,
        "flags": flags,
        "state": "vendor=x,other=y",
        "remote": True,
        "recording": False,
    }
    assert taker.result(method)["trace_id"] == "0" * 32  # nothing is left of it
    assert taker.of_type("span") == []


def place(number, flags=1):
    return number.to_bytes(16, "big") + number.to_bytes(8, "big") + bytes([flags])


def test_calls_after_and_beside_each_other_have_their_own_current_spans(taker):
    some = {"headers": {"baggage": "a=b"}}
    calls = [
        (1, {"trace": place(1)}),
        (2, {"trace": place(2)}),
        (3, {"trace": place(3, flags=0)}),
        (0, {}),
        (4, {"trace": place(4)}),
        (5, {"trace": place(5), **some}),
        (0, some),
        (6, {"trace": place(6)}),
        (7, {"trace": place(7)}),
        (0, {}),
    ]
    ids = [format(number, "016x") for number, _ in calls]
    assert [taker.result("current", **more)["span_id"] for _, more in calls] == ids
    for _, more in calls:
        taker.ask("current", **more)
    payloads = [taker.answer()["payload"] for _ in calls]
    assert [json.loads(payload)["span_id"] for payload in payloads] == ids


def test_a_span_that_is_kept_stays_that_of_its_call(taker):
    for number in (1, 2, 3, 4):
        taker.result("keep", trace=place(number))
    kept = [format(number, "016x") for number in (1, 2, 3, 4)]
    assert taker.result("kept", trace=place(5)) == kept
    assert taker.result("kept") == kept


def test_a_thread_that_outlives_its_call_keeps_its_current_span(taker):
    taker.result("current", trace=place(1))  # the first is another case
    taker.result("begin_thread", trace=place(2))
    taker.result("current", trace=place(3))
    assert taker.result("end_thread", trace=place(4)) == format(2, "016x")


def test_what_a_function_leaves_attached_is_gone_with_its_call(taker):
    for number in (1, 2, 3):
        assert taker.result("leaves_attached", trace=place(number)) == format(number, "016x")
    assert taker.result("current")["span_id"] == "0" * 16
    assert taker.result("current", trace=place(4))["span_id"] == format(4, "016x")


def test_an_old_client_gives_the_place_by_its_header(start):
    client = start(SPANS).connect(version=1)
    from wire import request

    client.send(request(1, "current", headers={"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-01"}))
    assert client.receive()["body"]["span_id"] == SPAN_ID
    assert client.call("current")["body"]["span_id"] == "0" * 16


def test_baggage_is_readable(taker):
    headers = {"baggage": "request_id=r-1,user=J%C3%BCrgen"}
    assert taker.result("baggage_of_call", headers=headers) == {
        "request_id": "r-1",
        "user": "Jürgen",
    }
    assert taker.result("baggage_of_call", trace=SAMPLED, headers=headers)["request_id"] == "r-1"
    assert taker.result("baggage_of_call", trace=SAMPLED) == {}


def test_opentelemetry_that_a_function_loads_works_from_the_next_call_on(start):
    worker = start(
        """
        @expose
        def span_id(req):
            from opentelemetry import trace
            return format(trace.get_current_span().get_span_context().span_id, "016x")
        """
    )
    taker = Taker(worker, *FEATURES)
    assert taker.result("span_id", trace=SAMPLED) == "0" * 16
    assert taker.result("span_id", trace=SAMPLED) == SPAN_ID


def test_without_opentelemetry_nothing_is_loaded(start):
    worker = start(
        """
        @expose
        def loaded(req):
            return [name for name in sys.modules if "opentelemetry" in name or "otel" in name
                    or name in ("logging", "pyproc_worker.telemetry", "pyproc_worker._telemetry.log_handler")]
        """
    )
    taker = Taker(worker, "logs", "spans", "metrics")
    headers = {"baggage": "a=b"}
    for _ in range(2):
        assert taker.result("loaded", trace=SAMPLED, headers=headers) == []


# Spans


@each_provider
@pytest.mark.parametrize("method", ["nested", "nested_async"])
def test_spans_of_functions_arrive_as_children_of_the_call(start, setup, method):
    taker = Taker(start(setup + SPANS), *FEATURES)
    before = time.time_ns()
    outer, inner = taker.result(method, trace=SAMPLED, headers={"tracestate": "v=x"})
    found = spans(taker)
    assert [found["outer"]["span_id"], found["inner"]["span_id"]] == [
        outer["span_id"],
        inner["span_id"],
    ]
    assert found["outer"]["parent_span_id"] == SPAN_ID
    assert found["inner"]["parent_span_id"] == outer["span_id"]
    for span in found.values():
        assert (span["trace_id"], span["trace_flags"], span["trace_state"]) == (TRACE_ID, 1, "v=x")
        assert before <= span["start"] <= span["end"] <= time.time_ns()
        assert span["scope"] == {
            "name": "shop",
            "version": "1.2",
            "schema_url": "https://example.org/s",
        }
        assert span["kind"] == 0
    assert found["outer"]["start"] <= found["inner"]["start"]
    assert found["inner"]["end"] <= found["outer"]["end"]


@pytest.mark.parametrize("method", ["nested", "nested_async"])
def test_spans_of_functions_say_that_the_id_of_their_trace_is_random(taker, method):
    made = taker.result(method, trace=SAMPLED[:24] + b"\x03")
    assert [span["flags"] for span in made] == [3, 3]
    assert [span["trace_flags"] for span in spans(taker).values()] == [3, 3]


@each_provider
def test_all_that_a_span_says_arrives(start, setup):
    taker = Taker(start(setup + SPANS), *FEATURES)
    taker.result("rich", trace=SAMPLED)
    (span,) = taker.of_type("span")
    assert (span["name"], span["kind"], span["status"]) == ("rich", 2, {"code": 1})
    attributes = span["attributes"]
    assert {name: attributes[name] for name in ("a", "b", "c", "yes")} == {
        "a": 1, "b": [1.5, 2.5], "c": ["x"], "yes": True,
    }  # fmt: skip
    assert attributes["text"] == "Jürgen ?"
    assert (attributes["big"], attributes["nan"]) == (str(1 << 70), "nan")
    (event,) = span["events"]
    assert span["start"] <= event.pop("time") <= span["end"]
    assert event == {"name": "looked", "attributes": {"shelves": 3}}
    (link,) = span["links"]
    assert link["trace_id"].endswith("07")
    assert link["span_id"].endswith("08")
    assert link["attributes"] == {"why": "because"}
    assert "dropped" not in span
    if setup:
        assert span["resource"]["service.name"] == "mine"
    else:
        assert "resource" not in span


@each_provider
def test_an_exception_is_an_event_and_the_status(start, setup):
    taker = Taker(start(setup + SPANS), *FEATURES)
    assert taker.call("failing", trace=SAMPLED)["kind"] == ERROR
    (span,) = taker.of_type("span")
    assert span["status"] == {"code": 2, "description": "ValueError: oh"}
    (event,) = span["events"]
    assert event["name"] == "exception"
    assert event["attributes"]["exception.type"] == "ValueError"
    assert event["attributes"]["exception.message"] == "oh"
    assert event["attributes"]["exception.stacktrace"].endswith("ValueError: oh\n")


@each_provider
@pytest.mark.parametrize("record", [True, False])
def test_a_span_that_is_a_with_statement_itself_may_record_exceptions(start, setup, record):
    taker = Taker(start(setup + SPANS), *FEATURES)
    assert taker.call("failing_by_hand", record, trace=SAMPLED)["kind"] == ERROR
    (span,) = taker.of_type("span")
    assert len(span.get("events", ())) == record
    assert span.get("status", {}).get("code", 0) == 2 * record


def test_an_exception_that_cannot_tell_itself_leaves_the_span_as_it_is(taker):
    assert taker.result("fails_oddly", trace=SAMPLED) == "Odd"
    span = spans(taker)["odd"]
    told = "<Odd, whose __str__ raised RuntimeError>"
    assert span["status"] == {"code": 2, "description": f"Odd: {told}"}
    assert span["events"][0]["attributes"]["exception.message"] == told


def test_a_span_that_cannot_be_written_is_said_and_harms_nothing(taker):
    assert taker.result("is_of_no_kind", trace=SAMPLED) == "done"
    (record,) = taker.of_type("log")
    assert record["message"] == "the span odd cannot be sent"
    assert taker.of_type("span") == []


def test_a_log_handler_may_add_events_to_the_span_that_is_being_changed(taker):
    taker.result("adds_what_is_logged", trace=SAMPLED)
    added, event = spans(taker)["logs"]["events"]
    assert "must be non-empty string" in added["name"]
    assert event["name"] == "event"


@each_provider
def test_what_is_not_sampled_is_not_sent(start, setup):
    taker = Taker(start(setup + SPANS), *FEATURES)
    outer, inner = taker.result("nested", trace=UNSAMPLED)
    assert outer["trace_id"] == inner["trace_id"] == TRACE_ID
    taker.result("nested")  # a root: the pool decides which traces there are
    assert taker.of_type("span") == []


def test_times_can_be_given_and_a_span_ends_once(taker):
    taker.result("by_hand", {"start": 10, "end": 20}, trace=SAMPLED)
    (span,) = taker.of_type("span")
    assert (span["start"], span["end"]) == (10, 20)
    assert "attributes" not in span


def test_a_decorated_function_has_its_span(taker):
    assert taker.result("decorated", trace=SAMPLED) == spans(taker)["decorated"]["span_id"]


def test_logs_have_the_ids_of_the_innermost_span(taker):
    inner = taker.result("log_in_span", trace=SAMPLED)
    ids = {log["message"]: log["span_id"] for log in taker.of_type("log")}
    assert ids == {"outside": SPAN_ID, "inside": inner, "printed": inner}
    assert {log["trace_id"] for log in taker.of_type("log")} == {TRACE_ID}


def test_attributes_events_and_links_are_bounded(start):
    taker = Taker(
        start(
            SPANS
            + """
    @expose
    def plenty(req):
        with tracer.start_as_current_span("plenty") as span:
            for number in range(130):
                span.set_attribute(f"n{number}", number)
                span.add_event(f"e{number}")
                span.add_link(trace.get_current_span().get_span_context())
            span.set_attribute("n129", "x" * 100000)
    """
        ),
        *FEATURES,
    )
    taker.result("plenty", trace=SAMPLED)
    (span,) = taker.of_type("span")
    assert span["dropped"] == {"attributes": 2, "events": 2, "links": 2}
    assert [len(span[name]) for name in ("attributes", "events", "links")] == [128] * 3
    assert span["events"][-1]["name"] == "e129"
    assert len(span["attributes"]["n129"]) == 16 * 1024


# Providers of the script's own


def test_an_sdk_with_its_own_exporter_is_left_alone(start):
    own = (
        SDK
        + """
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    exporter = InMemorySpanExporter()
    trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(exporter))

    @expose
    def exported(req):
        return [[span.name, span.parent.span_id] for span in exporter.get_finished_spans()]
    """
    )
    taker = Taker(start(own + SPANS), *FEATURES)
    taker.result("nested", trace=SAMPLED)
    inner, outer = taker.result("exported")
    assert (inner[0], outer) == ("inner", ["outer", int(SPAN_ID, 16)])
    assert taker.of_type("span") == []


def test_another_provider_is_left_alone(start):
    own = """
    from opentelemetry import trace
    trace.set_tracer_provider(trace.NoOpTracerProvider())
    """
    taker = Taker(start(own + SPANS), *FEATURES)
    taker.result("nested", trace=SAMPLED)
    assert taker.result("provider") == "opentelemetry.trace"
    assert taker.of_type("span") == []


def test_no_provider_is_set_before_a_sampled_call_of_a_client_that_takes_spans(start):
    worker = start(SPANS)
    logs, taker = Taker(worker, "logs"), Taker(worker, "spans")
    logs.result("current", trace=SAMPLED)
    taker.result("current", trace=UNSAMPLED)
    taker.result("current")
    assert taker.result("provider") == "opentelemetry.trace"
    taker.result("current", trace=SAMPLED)
    assert taker.result("provider") == "pyproc_worker._otel.provider"


# Loss


def test_spans_that_a_client_does_not_read_are_counted(start):
    worker = start(
        SPANS
        + """
    @expose
    def flood(count):
        for _ in range(count):
            with tracer.start_as_current_span("flood") as span:
                span.set_attribute("text", "x" * 10000)
    """
    )
    taker, other = Taker(worker, *FEATURES), Taker(worker)
    taker.ask("flood", 300, trace=SAMPLED)
    other.result("provider")  # after the flood
    taker.answer()
    taker.result("nested", trace=SAMPLED)
    (lost,) = taker.of_type("lost")
    assert lost["logs"] == 0
    assert len(taker.of_type("span")) + lost["spans"] == 302


def test_what_was_lost_is_reported_at_the_end(start):
    worker = start(
        SPANS
        + """
    @expose
    def flood(count):
        for _ in range(count):
            with tracer.start_as_current_span("flood") as span:
                span.set_attribute("text", "x" * 10000)
    """
    )
    taker, other = Taker(worker, *FEATURES), Taker(worker)
    taker.ask("flood", 300, trace=SAMPLED)
    other.result("provider")
    taker.answer()
    worker.process.send_signal(signal.SIGTERM)
    taker.read_to_end()
    (lost,) = taker.of_type("lost")
    assert len(taker.of_type("span")) + lost["spans"] == 300

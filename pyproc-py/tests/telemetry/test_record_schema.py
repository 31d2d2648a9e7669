"""The JSON Schema of telemetry records: against golden records, and against what both cores send."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from reports import SAMPLED, Taker

PROTOCOL = Path(__file__).parents[3] / "pyproc-protocol"
SCHEMA = json.loads((PROTOCOL / "records.schema.json").read_text(encoding="utf-8"))
MANIFEST = json.loads((PROTOCOL / "testdata" / "v2" / "manifest.json").read_text(encoding="utf-8"))

Draft202012Validator.check_schema(SCHEMA)
VALIDATOR = Draft202012Validator(SCHEMA)


def lines(name):
    payload = (PROTOCOL / "testdata" / "v2" / name).read_bytes()[16:]
    return [json.loads(line) for line in payload.splitlines() if line.strip()]


def golden():
    names = [
        "telemetry-log.bin",
        "telemetry-span.bin",
        "telemetry-metrics.bin",
        "telemetry-lost.bin",
    ]
    assert {entry["file"] for entry in MANIFEST["frames"]} >= set(names)
    return [record for name in names for record in lines(name)]


@pytest.mark.parametrize("record", golden(), ids=lambda record: record["type"])
def test_golden_records_are_valid(record):
    VALIDATOR.validate(record)


def test_what_only_a_lenient_receiver_takes_is_not_valid():
    odd = lines("telemetry-lenient.bin")
    assert len(odd) == 3
    assert not any(map(VALIDATOR.is_valid, odd))


@pytest.mark.parametrize("record", golden(), ids=lambda record: record["type"])
def test_each_member_is_checked(record):
    """No member may be what no member is; those that must be there may not be left out."""
    for key in record:
        if key not in ("type", "fields"):
            assert not VALIDATOR.is_valid({**record, key: [[None]]}), key
            assert not VALIDATOR.is_valid({**record, key: -1}), key
    must = {"log": 3, "span": 5, "metrics": 2, "lost": 0}[record["type"]]
    left_out = [{k: v for k, v in record.items() if k != key} for key in record if key != "type"]
    assert sum(not VALIDATOR.is_valid(rest) for rest in left_out) == must


def test_records_of_unknown_types_are_valid():
    assert VALIDATOR.is_valid({"type": "weather", "time": "noon"})
    assert not VALIDATOR.is_valid({"time": 1})


REPORTING = """
    import asyncio, gc, logging
    from opentelemetry import trace
    from opentelemetry.trace import Link, SpanKind, Status, StatusCode
    from pyproc_worker import telemetry

    logger = logging.getLogger("shop")
    tracer = trace.get_tracer("shop", "1.2", schema_url="https://example.org/1")
    hits = telemetry.counter("hits", "Cache hits.", ["table"])
    rows = telemetry.gauge("rows", "Rows.", across="max")
    wait = telemetry.histogram("wait_seconds", "Waits.", buckets=(0.1, 1))

    @expose
    def everything(req):
        logger.warning("a %s", "warning", extra={"items": [1, None], "user": {"id": 7}})
        try:
            raise KeyError("odd")
        except KeyError:
            logger.exception("it failed", stack_info=True)
        print("printed")
        print("to stderr", file=sys.stderr)
        hits.labels(table="a").inc()
        rows.set(3)
        wait.observe(0.5)
        with tracer.start_as_current_span("outer", kind=SpanKind.CLIENT) as outer:
            outer.set_attributes({"a": 1, "b": [1.5, 2.5], "c": ["x"], "d": True, "e": []})
            outer.add_event("retry", {"n": 1})
            outer.set_status(Status(StatusCode.ERROR, "no"))
            link = Link(outer.get_span_context(), {"why": "test"})
            tracer.start_span("inner", links=[link]).end()
        gc.collect()

    @expose
    async def everything_async(req):
        await asyncio.sleep(0)
        logger.info("on the event loop")
"""


def test_what_a_worker_sends_is_valid(start):
    worker = start(REPORTING)
    taker = Taker(worker, "logs", "spans", "metrics")
    taker.result("everything", 1, trace=SAMPLED)
    taker.result("everything_async", 1, trace=SAMPLED)
    for name in ("hits", "rows", "wait_seconds"):
        taker.wait_for_metric(name)
    assert {record["type"] for record in taker.records} >= {"log", "span", "metrics"}
    assert {record.get("stream") for record in taker.of_type("log")} == {None, "stdout", "stderr"}
    assert len(taker.of_type("span")) == 2
    for record in taker.records:
        VALIDATOR.validate(record)

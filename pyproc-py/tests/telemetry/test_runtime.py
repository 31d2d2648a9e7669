"""What workers report of the interpreter: garbage collection and the event loop."""

import pytest
from reports import Taker

ASYNC = """
    import asyncio, gc

    @expose
    def collect(req):
        gc.collect()

    @expose
    def watched(req):
        asyncio_thread = sys.modules.get("pyproc_worker._calls.event_loop")
        return len(gc.callbacks) + (getattr(asyncio_thread, "on_busy", None) is not None)

    @expose
    async def quick(req):
        pass

    @expose
    async def block(seconds):
        time.sleep(seconds)

    @expose
    def is_looking(req):
        return sys.modules["pyproc_worker._telemetry.runtime_metrics"]._Watched.loop._measuring

    @expose
    async def busy(req):
        "Holds up the event loop, and is there until the gate is open."
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0)
        end = time.monotonic() + req["hold"]
        while time.monotonic() < end:
            pass
        await loop.run_in_executor(None, lambda: open(req["gate"]).read())
"""

PAUSES = "pyproc_worker_gc_pause_seconds"
LAG = "pyproc_worker_event_loop_lag_seconds"
ACTIVE = "pyproc_worker_active_tasks"


def test_pauses_of_garbage_collection_are_counted_by_generation(start):
    taker = Taker(start(ASYNC), "metrics")
    taker.result("collect")
    taker.wait_for_metric(
        PAUSES, lambda series: series["labels"]["generation"] == "2" and sum(series["counts"])
    )
    definition, series = taker.metrics()[PAUSES]
    assert definition["kind"] == "histogram"
    assert set(series) <= {(("generation", str(n)),) for n in range(3)}
    assert series[(("generation", "2"),)]["sum"] > 0


def test_nobody_is_watched_without_a_client_that_wants_to_know(start):
    worker = start(ASYNC)
    plain = Taker(worker, "logs")
    before = plain.result("watched")
    for round in range(2):
        taker = Taker(worker, "metrics")
        assert plain.result("watched") == before + (1 if round == 0 else 2)
        plain.result("quick")  # from now on there is an event loop
        assert plain.result("watched") == before + 2
        taker.client.close()
        while plain.result("watched") != before:
            pass


def test_lag_and_tasks_of_the_event_loop_are_reported_while_there_are_any(start):
    worker = start(ASYNC)
    taker, gate = Taker(worker, "metrics"), worker.gate()
    taker.ask("busy", {**gate.body, "hold": 0.3})
    taker.wait_for_metric(LAG, lambda series: sum(series["counts"]) > 3)
    assert taker.metrics()[ACTIVE][1] == {(): {"value": 1.0}}
    assert taker.metrics()[ACTIVE][0]["across"] == "sum"
    gate.open()
    taker.wait_for_metric(ACTIVE, lambda series: series["value"] == 0)
    while taker.result("is_looking"):
        pass


def test_lag_is_a_histogram_from_a_millisecond_to_ten_seconds(start):
    taker = Taker(start(ASYNC), "metrics")
    taker.ask("quick")
    taker.wait_for_metric(LAG)
    definition = taker.metrics()[LAG][0]
    assert definition["kind"] == "histogram"
    assert (definition["bounds"][0], definition["bounds"][-1]) == (0.001, 10)


def test_lag_is_seen_also_when_the_call_that_blocked_has_ended(start):
    taker = Taker(start(ASYNC), "metrics")
    taker.result("block", 0.06)  # less than the time between two looks
    at_least = taker_bounds(taker).index(0.05) + 1
    taker.wait_for_metric(LAG, lambda series: sum(series["counts"][at_least:]) > 0)


def test_a_loop_that_is_blocked_counts_for_as_long_as_it_is(start):
    taker = Taker(start(ASYNC), "metrics")
    taker.result("block", 0.65)  # a measurement is due each 0.1 s
    at_least = taker_bounds(taker).index(0.1) + 1
    taker.wait_for_metric(LAG, lambda series: sum(series["counts"][at_least:]) >= 5)


def taker_bounds(taker):
    taker.wait_for_metric(LAG)
    return taker.metrics()[LAG][0]["bounds"]


@pytest.mark.parametrize("features", [("logs",), ()])
def test_the_event_loop_is_not_watched_without_metrics(start, features):
    worker = start(ASYNC)
    taker, gate = Taker(worker, *features), worker.gate()
    taker.ask("busy", {**gate.body, "hold": 0})
    gate.open()
    taker.answer()
    assert taker.records == []

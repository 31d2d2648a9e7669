"""Counters, gauges and histograms: how they count, and how they reach the client."""

import json
import signal
import threading

import pytest
from pyproc_worker import telemetry
from pyproc_worker._telemetry import metrics, prometheus
from pyproc_worker._telemetry.records import RECORD_LIMIT
from pyproc_worker.telemetry import MetricError
from reports import Taker

METRICS = """
    from pyproc_worker import telemetry

    items = telemetry.counter("cart_items_total", "Items.", labels=("shop",))
    calls = telemetry.counter("calls", "Calls.", unit="calls")
    level = telemetry.gauge("level", "A level.", across="max")
    size = telemetry.histogram("size", "Sizes.", buckets=(1, 10, float("inf")))

    @expose
    def count(shop):
        items.labels(shop).inc(2)
        calls.inc()
        level.set(2.5)
        level.dec()
        for value in (0.5, 1, 7, 99):
            size.observe(value)

    @expose
    def nothing(req):
        pass
"""


@pytest.fixture(autouse=True)
def no_metrics(monkeypatch):
    monkeypatch.setattr(metrics, "metrics", {})


# Counting


def test_a_counter_only_grows():
    counter = telemetry.counter("c", "")
    counter.inc()
    counter.inc(2.5)
    assert counter.only.value == 3.5
    for amount in (-1, float("nan"), float("inf")):
        with pytest.raises(MetricError, match="a counter grows by finite amounts from 0 on"):
            counter.inc(amount)


def test_a_gauge_goes_up_and_down():
    gauge = telemetry.gauge("g", "")
    gauge.set(7)
    gauge.inc(2)
    gauge.dec(0.5)
    assert gauge.only.value == 8.5
    with pytest.raises(MetricError, match="a gauge has a finite value, not nan"):
        gauge.set(float("nan"))


def test_a_histogram_counts_a_bound_to_the_bucket_below():
    histogram = telemetry.histogram("h", "", buckets=(1, 2))
    for value in (-1, 1, 1.5, 2, 3):
        histogram.observe(value)
    assert (histogram.only.counts, histogram.only.sum) == ([2, 2, 1], 6.5)
    with pytest.raises(MetricError, match="finite"):
        histogram.observe(float("inf"))


def test_a_histogram_times_blocks_and_functions():
    histogram = telemetry.histogram("h", "", labels=("what",))
    with histogram.labels("block").time():
        pass
    histogram.labels("function").time()(lambda: None)()
    assert [sum(series.counts) for series in histogram.series()] == [1, 1]


def test_labels_are_given_in_order_or_by_name():
    counter = telemetry.counter("c", "", labels=("a", "b"))
    series = counter.labels(1, "x")
    assert series is counter.labels(a=1, b="x") is counter.labels("1", b="x")
    assert series.labels == {"a": "1", "b": "x"}
    for values, named in [
        ((), {}),
        ((1,), {}),
        ((1, 2, 3), {}),
        ((1,), {"c": 2}),
        ((1, 2), {"a": 1}),
    ]:
        with pytest.raises(MetricError, match="c takes values for its labels"):
            counter.labels(*values, **named)
    with pytest.raises(MetricError, match="has labels"):
        counter.inc()


def test_more_label_values_than_a_metric_may_have_count_as_one():
    counter = telemetry.counter("c", "", labels=("who", "where"))
    for number in range(3000):
        counter.labels(f"user {number}", "x" * 1000).inc()
    assert len(counter.series()) == telemetry.MOST_SERIES + 1
    other = counter.labels("somebody", "new")
    assert other.labels == {"who": "other", "where": "other"}
    assert other.value == 2000
    assert counter.labels("user 7", "x" * 256).value == 1


def test_counting_loses_nothing_between_threads():
    counter = telemetry.counter("c", "", labels=("n",))
    histogram = telemetry.histogram("h", "")

    def count():
        for _ in range(10000):
            counter.labels(1).inc()
            histogram.observe(1)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.labels(1).value == sum(histogram.only.counts) == 40000


def test_a_metric_defined_twice_alike_is_one():
    assert telemetry.counter("c", "one", ("a",)) is telemetry.counter("c", "two", ("a",))
    assert telemetry.histogram("h", "", buckets=[1, 2]) is telemetry.histogram(
        "h", "", buckets=(1.0, 2)
    )


@pytest.mark.parametrize(
    "define",
    [
        lambda: telemetry.counter("m", "", ("b",)),
        lambda: telemetry.counter("m", "", ("a",), unit="x"),
        lambda: telemetry.gauge("m", "", ("a",)),
        lambda: telemetry.histogram("m", "", ("a",)),
    ],
)
def test_a_metric_defined_twice_differently_is_refused(define):
    telemetry.counter("m", "", ("a",))
    with pytest.raises(MetricError, match="m is a metric already"):
        define()


@pytest.mark.parametrize(
    ("define", "message"),
    [
        (lambda: telemetry.counter("a-b", ""), "'a-b' is not a name of a metric"),
        (lambda: telemetry.counter("", ""), "'' is not a name"),
        (lambda: telemetry.counter("1a", ""), "'1a' is not a name"),
        (lambda: telemetry.counter("größe", ""), "is not a name"),
        (lambda: telemetry.counter("x" * 257, ""), "is not a name"),
        (lambda: telemetry.counter("pyproc_x", ""), "are the pool's own"),
        (lambda: telemetry.counter("m", "", "label"), "a sequence of names"),
        (lambda: telemetry.counter(None, ""), "None is not a name"),
        (lambda: telemetry.counter("m", None), "help and unit are texts"),
        (lambda: telemetry.counter("m", "", unit=1), "help and unit are texts"),
        (lambda: telemetry.counter("m", "", (1,)), "1 is not a name of a label"),
        (lambda: telemetry.counter("m", "", ("__x",)), "'__x' is not a name of a label"),
        (lambda: telemetry.counter("m", "", ("a:b",)), "is not a name of a label"),
        (lambda: telemetry.counter("m", "", ("a", "a")), "each once"),
        (lambda: telemetry.counter("m", "", [f"l{n}" for n in range(33)]), "at most 32"),
        (lambda: telemetry.gauge("m", "", across="avg"), "across is one of sum, max, min, each"),
        (lambda: telemetry.gauge("m", "", ("worker_id",)), "adds the label worker_id itself"),
        (lambda: telemetry.histogram("m", "", ("le",)), "le is the histogram's own"),
        (lambda: telemetry.histogram("m", "", buckets=(2, 1)), "numbers that grow"),
        (lambda: telemetry.histogram("m", "", buckets=(1, float("nan"))), "numbers that grow"),
        (lambda: telemetry.histogram("m", "", buckets=range(129)), "at most 128"),
    ],
)
def test_definitions_that_cannot_be_are_refused(define, message):
    with pytest.raises(MetricError, match=message):
        define()
    assert metrics.metrics == {}


def test_a_gauge_has_a_floating_point_number():
    gauge = telemetry.gauge("g", "")
    with pytest.raises(OverflowError):
        gauge.set(10**400)
    gauge.set(True)
    assert repr(gauge.only.value) == "1.0"


def test_without_a_client_there_is_no_thread(start):
    worker = start(
        METRICS
        + """
    @expose
    def threads(req):
        import threading
        return [len(os.listdir("/proc/self/task")), threading.active_count()]
    """
    )
    taker = Taker(worker)
    before = taker.result("threads")
    taker.result("count", "x")
    assert taker.result("threads") == before
    assert taker.records == []


# Reports


def test_metrics_arrive_with_their_definitions_and_totals(start):
    taker = Taker(start(METRICS), "metrics")
    for _ in range(3):
        taker.result("count", "a")
    taker.result("count", "b")
    taker.wait_for_metric("size", lambda series: sum(series["counts"]) == 16)
    metrics = taker.metrics()
    definition, series = metrics["cart_items_total"]
    assert definition == {"name": "cart_items_total", "kind": "counter", "help": "Items."}
    assert series == {(("shop", "a"),): {"value": 6.0}, (("shop", "b"),): {"value": 2.0}}
    assert metrics["calls"] == (
        {"name": "calls", "kind": "counter", "help": "Calls.", "unit": "calls"},
        {(): {"value": 4.0}},
    )
    assert metrics["level"] == (
        {"name": "level", "kind": "gauge", "help": "A level.", "across": "max"},
        {(): {"value": 1.5}},
    )
    assert metrics["size"] == (
        {"name": "size", "kind": "histogram", "help": "Sizes.", "bounds": [1.0, 10.0]},
        {(): {"counts": [8, 4, 4], "sum": 430.0}},
    )
    assert len({record["start"] for record in taker.of_type("metrics")}) == 1


def test_only_what_changed_is_reported_again(start):
    taker = Taker(start(METRICS), "metrics")
    taker.result("count", "a")
    taker.wait_for_metric("size", lambda series: sum(series["counts"]) == 4)
    taker.records.clear()
    taker.result("count", "b")
    taker.wait_for_metric("size", lambda series: sum(series["counts"]) == 8)
    assert list(taker.metrics()["cart_items_total"][1]) == [(("shop", "b"),)]


def test_a_second_client_gets_everything(start):
    worker = start(METRICS)
    first = Taker(worker, "metrics")
    first.result("count", "a")
    first.wait_for_metric("size")
    second = Taker(worker, "metrics")
    second.wait_for_metric("size", lambda series: sum(series["counts"]) == 4)
    assert second.metrics()["calls"][1] == {(): {"value": 1.0}}


def test_the_last_counts_leave_before_the_worker_ends(start):
    worker = start(METRICS)
    taker = Taker(worker, "metrics")
    taker.result("count", "a")
    worker.process.send_signal(signal.SIGTERM)
    taker.read_to_end()
    assert taker.metrics()["calls"][1] == {(): {"value": 1.0}}


def test_long_reports_come_in_parts(start):
    taker = Taker(
        start(
            METRICS
            + """
    @expose
    def many(req):
        for number in range(900):
            items.labels("x" * 200 + str(number)).inc()
    """
        ),
        "metrics",
    )
    taker.result("many")
    taker.wait_for(
        lambda record: any(
            series["labels"].get("shop", "").endswith("x899")
            for metric in record["metrics"]
            for series in metric["series"]
        )
    )
    assert len(taker.metrics()["cart_items_total"][1]) == 900
    assert max(len(json.dumps(record)) for record in taker.records) < 64 * 1024


def test_what_a_client_does_not_read_is_reported_later(start):
    """Its buffers are full of logs while something is counted."""
    worker = start(
        METRICS
        + """
    @expose
    def flood(req):
        for _ in range(300):
            print("x" * 10000, file=sys.stderr)

    @expose
    def report(req):
        from pyproc_worker._telemetry import metrics_reports
        calls.inc()
        metrics_reports.report_now()
    """
    )
    taker, other = Taker(worker, "logs", "metrics"), Taker(worker)
    taker.ask("flood")
    other.result("report")
    taker.answer()
    taker.wait_for_metric("calls", lambda series: series["value"] == 1)


def test_a_forked_process_counts_for_itself(start):
    taker = Taker(
        start(
            METRICS
            + """
    @expose
    def fork(req):
        child = os.fork()
        calls.inc(child and 1 or 1000)
        if child == 0:
            time.sleep(0)
            return
        os.waitpid(child, 0)
        calls.inc()
    """
        ),
        "metrics",
    )
    taker.result("fork")
    taker.wait_for_metric("calls", lambda series: series["value"] == 2)
    assert all(
        series["value"] < 1000
        for record in taker.of_type("metrics")
        for metric in record["metrics"]
        if metric["name"] == "calls"
        for series in metric["series"]
    )


def test_counting_in_destructors_and_handlers_of_signals_is_safe(start):
    taker = Taker(
        start(
            METRICS
            + """
    import gc, signal

    class Counted:
        def __del__(self):
            calls.inc()

    def on_signal(*_):
        calls.inc()

    @expose
    def mixed(req):
        signal.signal(signal.SIGALRM, on_signal)
        signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)
        for _ in range(2000):
            cycle = [Counted()]
            cycle.append(cycle)
            items.labels("x").inc()
        del cycle
        signal.setitimer(signal.ITIMER_REAL, 0)
        gc.collect()
        return calls.only.value
    """
        ),
        "metrics",
    )
    total = taker.result("mixed")
    assert total >= 2000
    taker.wait_for_metric("calls", lambda series: series["value"] == total)


# prometheus_client


PROMETHEUS = """
    import prometheus_client as p
    from pyproc_worker import telemetry

    c = p.Counter("orders", "Orders.", ["shop"])
    g = p.Gauge("depth", "Depth.", multiprocess_mode="livesum")
    each = p.Gauge("plain", "Plain.")
    h = p.Histogram("wait", "Wait.", ["q"], buckets=(1, 2))
    s = p.Summary("bytes_in", "Bytes.")
    i = p.Info("build", "Build.")
    e = p.Enum("state", "State.", states=["up", "down"])
    telemetry.forward_prometheus()
    telemetry.forward_prometheus()

    @expose
    def use(req):
        c.labels("x").inc(3)
        g.set(7)
        each.set(8)
        for value in (0.5, 1.5, 1.6, 9):
            h.labels("a").observe(value)
        s.observe(10)
        s.observe(20)
        i.info({"version": "1"})
        e.state("down")
"""


def test_a_registry_of_prometheus_client_is_forwarded_with_one_line(start):
    taker = Taker(start(PROMETHEUS), "metrics")
    taker.result("use")
    taker.wait_for_metric(
        "state", lambda series: series == {"labels": {"state": "down"}, "value": 1.0}
    )
    metrics = taker.metrics()

    def without_help(name):
        definition, series = metrics[name]
        return {
            key: value for key, value in definition.items() if key not in ("help", "name")
        }, series

    assert without_help("orders_total") == ({"kind": "counter"}, {(("shop", "x"),): {"value": 3.0}})
    assert metrics["orders_total"][0]["help"] == "Orders."
    assert without_help("depth") == ({"kind": "gauge", "across": "sum"}, {(): {"value": 7.0}})
    assert without_help("plain") == ({"kind": "gauge", "across": "each"}, {(): {"value": 8.0}})
    assert without_help("wait") == (
        {"kind": "histogram", "bounds": [1.0, 2.0]},
        {(("q", "a"),): {"counts": [1, 2, 1], "sum": 12.6}},
    )
    assert without_help("bytes_in") == (
        {"kind": "histogram", "bounds": []},
        {(): {"counts": [2], "sum": 30.0}},
    )
    assert without_help("build_info")[1] == {(("version", "1"),): {"value": 1.0}}
    assert without_help("state") == (
        {"kind": "gauge", "across": "each"},
        {(("state", "up"),): {"value": 0.0}, (("state", "down"),): {"value": 1.0}},
    )
    assert not [name for name in metrics if name.endswith("_created")]


def test_long_metrics_of_a_registry_come_in_parts():
    prometheus_client = pytest.importorskip("prometheus_client")
    registry = prometheus_client.CollectorRegistry()
    counter = prometheus_client.Counter("c", "", ["number"], registry=registry)
    for number in range(2000):
        counter.labels("x" * 100 + str(number)).inc()
    forwarded = prometheus.Forwarded(registry)
    parts, changed, again = [], [], []
    assert not forwarded(True, lambda part: len(parts) < 3 and not parts.append(part))
    assert forwarded(False, lambda part: not parts.append(part))  # the rest
    assert max(map(len, parts)) < RECORD_LIMIT
    assert sum(len(json.loads(part)["series"]) for part in parts) == 2000
    counter.labels("x" * 100 + "1999").inc()
    assert forwarded(False, lambda part: not changed.append(part))
    assert forwarded(True, lambda part: not again.append(part))
    assert len(again) == len(parts)
    assert changed == again[-1:]


def test_a_registry_that_fails_is_said_and_harms_nothing(start):
    taker = Taker(
        start(
            METRICS
            + """
    class Bad:
        def collect(self):
            raise RuntimeError("no")

    telemetry.forward_prometheus(Bad())
    """
        ),
        "metrics",
        "logs",
    )
    taker.result("count", "a")
    taker.wait_for_metric("calls", lambda series: series["value"] == 1)
    said = taker.wait_for(lambda record: record["type"] == "log")
    assert said["message"] == "a Prometheus registry cannot be read"

"""Counters, gauges and histograms, which the pool's ``/metrics`` shows.

    from pyproc_worker import telemetry

    items = telemetry.counter("cart_items_total", "Items put into carts.", labels=("shop",))

    @expose
    def add(req):
        items.labels(req["shop"]).inc()

They need no library and no configuration. Values are reported 0.1 s after a change, and before the
worker ends. The pool adds up the counters and histograms of all workers, and keeps the sums when a
worker restarts. Without a pool that takes metrics, they only count.

Counting is thread-safe and takes less than 1 µs. A second definition of the same metric returns the
first one. A forked process counts, but reports nothing.
"""

from __future__ import annotations

from pyproc_worker._telemetry import metrics
from pyproc_worker._telemetry.metrics import (
    DEFAULT_BOUNDS,
    MOST_SERIES,
    Counter,
    Gauge,
    Histogram,
    MetricError,
    checked_name,
    registered,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = [
    "DEFAULT_BOUNDS",
    "MOST_SERIES",
    "Counter",
    "Gauge",
    "Histogram",
    "MetricError",
    "counter",
    "forward_prometheus",
    "gauge",
    "histogram",
]


def counter(name: str, help: str, labels: Sequence[str] = (), unit: str = "") -> Counter:
    """A total that only grows: ``.inc(amount=1)``.

    `name` is a name for Prometheus, by convention with the suffix ``_total`` (the pool adds a
    missing one). A metric with `labels` needs ``.labels(value, ...)`` first. It has at most 1,000
    series; further sets of label values are counted in one series, whose values are all ``other``.

    Raises `MetricError` for a name or label that Prometheus refuses, for names that begin with
    ``pyproc_``, and if a metric of this name has another definition.
    """
    return registered(Counter(checked_name(name), help, labels, unit))


def gauge(
    name: str, help: str, labels: Sequence[str] = (), across: str = "each", unit: str = ""
) -> Gauge:
    """A value that goes up and down: ``.set(value)``, ``.inc(amount=1)``, ``.dec(amount=1)``.

    `across` is how the pool combines the values of several workers: ``sum``, ``max``, ``min``, or
    ``each``, which keeps them apart by a label ``worker_id``. When a worker ends, its value
    disappears. The rest is as for `counter`.
    """
    return registered(Gauge(checked_name(name), help, labels, across, unit))


def histogram(
    name: str,
    help: str,
    labels: Sequence[str] = (),
    buckets: Sequence[float] = DEFAULT_BOUNDS,
    unit: str = "",
) -> Histogram:
    """Counts of values in buckets: ``.observe(value)``, or ``with h.time():`` for seconds.

    `buckets` are the upper bounds in ascending order; an infinite last one may be left out. The
    default suits durations from 1 ms to 5 s, in seconds. The rest is as for `counter`.
    """
    return registered(Histogram(checked_name(name), help, labels, buckets, unit))


def forward_prometheus(registry: Any = None) -> None:
    """Reports the metrics of a registry of `prometheus_client`, by default its default one.

    The registry is read once a second while a pool takes metrics, and before the worker ends.
    Counters and histograms are unchanged, but without their creation times. A summary becomes a
    histogram with one bucket, which keeps its count and sum. Gauges are combined by their
    ``multiprocess_mode``: ``sum``, ``max`` and ``min``, also ``livesum`` etc.; other modes keep one
    value for each worker. Info and enums become gauges. The library's own multi-process mode must
    be off.

    Raises `ImportError` if `registry` is None and `prometheus_client` is not installed.
    """
    from pyproc_worker._telemetry import metrics_reports
    from pyproc_worker._telemetry.prometheus import Forwarded

    if registry is None:
        from prometheus_client import REGISTRY as registry
    source = Forwarded(registry)
    if source not in metrics_reports.sources:
        metrics_reports.sources.append(source)
    metrics.Changes.note()

"""Counters, gauges and histograms that reach the pool, and come out of its ``/metrics``.

    from pyproc_worker import telemetry

    items = telemetry.counter("cart_items_total", "Items put into carts.", labels=("shop",))

    @expose
    def add(req):
        items.labels(req["shop"]).inc()

They need no library and no set-up. What they hold is reported a tenth of a second after it changed,
and before the worker ends. The pool adds up counters and histograms of all workers; they survive
the restart of a worker. Without a pool that takes metrics they only count.

Counting is thread-safe, and takes less than a microsecond. A metric that is defined a second time
in the same way is the one that there is. In a process that a function forked they count for
themselves.
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

    `name` is one for Prometheus, by custom with ``_total`` at its end (which it gets there if it
    has none). With `labels`, say ``.labels(value, ...)`` first. A metric has at most 1,000 series;
    more sets of label values count as one, whose values are all ``other``.

    Raises `MetricError` for a name or label that Prometheus refuses, for names that begin with
    ``pyproc_``, and for a metric of this name that is defined in another way.
    """
    return registered(Counter(checked_name(name), help, labels, unit))


def gauge(
    name: str, help: str, labels: Sequence[str] = (), across: str = "each", unit: str = ""
) -> Gauge:
    """A value that goes up and down: ``.set(value)``, ``.inc(amount=1)``, ``.dec(amount=1)``.

    `across` says how the pool makes one value of those of several workers: ``sum``, ``max``,
    ``min``, or ``each``, which keeps them apart by a label ``worker_id``. The value of a worker
    that is gone disappears. The rest is as for `counter`.
    """
    return registered(Gauge(checked_name(name), help, labels, across, unit))


def histogram(
    name: str,
    help: str,
    labels: Sequence[str] = (),
    buckets: Sequence[float] = DEFAULT_BOUNDS,
    unit: str = "",
) -> Histogram:
    """How often values fell below bounds: ``.observe(value)``, or ``with h.time():`` for seconds.

    `buckets` are the bounds, growing; the last, infinite one need not be there. By default they
    suit durations in seconds from a millisecond to five seconds. The rest is as for `counter`."""
    return registered(Histogram(checked_name(name), help, labels, buckets, unit))


def forward_prometheus(registry: Any = None) -> None:
    """Reports the metrics of a registry of `prometheus_client`, by default its default one.

    It's looked at once a second while a pool takes metrics, and before the worker ends. Counters
    and histograms arrive as they are, without the times of their creation; a summary as a
    histogram of one bucket, which keeps its count and sum; gauges are joined as their
    ``multiprocess_mode`` says (``sum``, ``max`` and ``min``, also those of live processes; others
    become one for each worker); info and enums are gauges. The library's own multi-process mode
    must be off.

    Raises `ImportError` without a registry and without `prometheus_client`.
    """
    from pyproc_worker._telemetry import metrics_reports
    from pyproc_worker._telemetry.prometheus import Forwarded

    if registry is None:
        from prometheus_client import REGISTRY as registry
    source = Forwarded(registry)
    if source not in metrics_reports.sources:
        metrics_reports.sources.append(source)
    metrics.Changes.note()

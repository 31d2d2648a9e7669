"""Reports metrics to the clients that take them, 0.1 s after a change.

A thread reports. It starts with the first change, and sleeps while nothing changes.
"""

from __future__ import annotations

import contextlib
import functools
import math
from _queue import Empty, SimpleQueue  # `queue` re-exports them

from pyproc_worker import _log
from pyproc_worker._calls import channels
from pyproc_worker._system import unpatched
from pyproc_worker._telemetry.json_text import encoded, members, quote
from pyproc_worker._telemetry.metrics import (
    STARTED,
    Changes,
    Gauge,
    Histogram,
    HistogramSeries,
    metrics,
)
from pyproc_worker._telemetry.records import METRICS, RECORD_LIMIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Callable

    from pyproc_worker._telemetry.metrics import Metric, Series

    Source = Callable[[bool, Callable[[str], bool]], bool]
    """Sends metrics as JSON: all, or those that have changed.

    Its arguments are whether to send all, and a function that sends one metric and returns whether
    it was sent. It returns whether all were sent.
    """

PERIOD = 0.1
"""Seconds between a change and its report."""

POLL_INTERVAL = 1.0
"""Seconds between reads of `sources`, which have no callback for changes."""

_PART = RECORD_LIMIT // 2  # characters of a report; longer ones are divided

sources: list[Source] = []
"""Further metrics to report, for instance of `prometheus_client`."""


class _Reporter:
    """The reporting thread."""

    def __init__(self) -> None:
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._lock = unpatched.Lock()  # one report at a time
        self._begun = False
        self._all = True

    def begin(self) -> None:
        """Reports all metrics, for a new client."""
        self._all = True
        Changes.notify = self.wake
        self.wake()

    def wake(self) -> None:
        """Wakes the thread. May be called at any moment, also by a finalizer."""
        if not self._begun:
            self._begun = True
            try:
                unpatched.start_new_thread(self._run, ())
            except RuntimeError:  # no thread can be started
                self._begun = False
        self._wake.put(None)

    def report(self) -> None:
        """Reports the changed metrics."""
        with self._lock:
            all_of_them, self._all = self._all, False
            Changes.pending = False
            if not self._send(all_of_them):
                Changes.note()

    def _run(self) -> None:
        while True:
            with contextlib.suppress(Empty):
                self._wake.get(timeout=POLL_INTERVAL if sources and Changes.notify else None)
            unpatched.sleep(PERIOD)
            with contextlib.suppress(Empty):
                while True:
                    self._wake.get_nowait()
            if Changes.notify is not None:
                try:
                    self.report()
                except Exception as error:
                    _log.error("metrics cannot be reported", error)

    def _send(self, all_of_them: bool) -> bool:
        """Returns whether all clients got the metrics. If not, the next report repeats them."""
        takers = [channel for channel in channels.opened if METRICS in channel.features]
        if not takers:
            return True
        arrived = True
        for metric, changed in _collect(all_of_them):
            for part in _divided(metric, changed):
                if not _send_to(takers, part):
                    arrived = False
                    for series in changed:
                        series.changed = True
        for source in sources:
            arrived = source(all_of_them, functools.partial(_send_to, takers)) and arrived
        return arrived


_reporter = _Reporter()
begin, report_now = _reporter.begin, _reporter.report


def end() -> None:
    """Stops reporting: no client takes metrics any more."""
    Changes.notify = None


def written_metric(definition: str, series: list[str]) -> str:
    """A metric as JSON."""
    return f'{{{definition},"series":[{",".join(series)}]}}'


def definition(
    name: str, kind: str, help: str, unit: str = "", across: str = "", bounds: Any = None
) -> str:
    """A metric's definition, as members of a JSON object."""
    written = f'"name":{quote(name)},"kind":"{kind}","help":{quote(help)}'
    if unit:
        written += f',"unit":{quote(unit)}'
    if across:
        written += f',"across":"{across}"'
    if bounds is not None:
        written += f',"bounds":[{",".join(map(repr, bounds))}]'
    return written


def value_series(labels: dict[str, str], value: float) -> str:
    """A series of a counter or a gauge."""
    return f'{{"labels":{members(labels)},"value":{float(value)!r}}}'


def histogram_series(labels: dict[str, str], counts: list[int], total: float) -> str:
    """A series of a histogram."""
    numbers = ",".join(map(str, counts))
    return f'{{"labels":{members(labels)},"counts":[{numbers}],"sum":{float(total)!r}}}'


def _collect(all_of_them: bool) -> list[tuple[Metric[Any], list[Series]]]:
    """The changed series. Later changes are for the next report."""
    found = []
    for metric in list(metrics.values()):
        changed = [series for series in metric.series() if series.changed or all_of_them]
        for series in changed:
            series.changed = False
        if changed:
            found.append((metric, changed))
    return found


def _divided(metric: Metric[Any], changed: list[Series]) -> list[str]:
    """The metric as JSON, in parts of limited length."""
    defined = definition(
        metric.name,
        metric.kind,
        metric.help,
        metric.unit,
        metric.across if isinstance(metric, Gauge) else "",
        metric.bounds if isinstance(metric, Histogram) else None,
    )
    return [written_metric(defined, part) for part in in_parts(map(_written, changed))]


def in_parts(series: Iterable[str]) -> list[list[str]]:
    """Divides the series of a metric so that no report is too long."""
    parts: list[list[str]] = [[]]
    size = 0
    for written in series:
        if size > _PART:
            parts.append([])
            size = 0
        parts[-1].append(written)
        size += len(written)
    return parts


def _written(series: Any) -> str:
    if isinstance(series, HistogramSeries):
        return histogram_series(series.labels, list(series.counts), series.sum)
    return value_series(series.labels, series.value)


def _send_to(channels: list[channels.Channel], metric: str) -> bool:
    record = encoded(f'{{"type":"metrics","start":{STARTED},"metrics":[{metric}]}}\n')
    sent = [channel.send(record) for channel in channels]  # to all, also after a failure
    return all(sent)


def is_reportable(value: float) -> bool:
    """Whether JSON can represent a number."""
    return math.isfinite(value)

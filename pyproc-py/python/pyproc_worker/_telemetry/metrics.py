"""Counters, gauges and histograms. They count even if no client takes metrics.

One lock guards all values. It is reentrant, as a finalizer or a signal handler may count while its
thread counts.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from abc import ABC, abstractmethod
from bisect import bisect_left

from pyproc_worker._system import unpatched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any, Callable, Generic, TypeVar

    S = TypeVar("S", bound="Series")
    M = TypeVar("M", bound="Metric[Any]")

    class _Generic(Generic[S]):
        pass
else:

    class _Generic:
        """Replaces `Generic`, whose module is large."""

        def __class_getitem__(cls, parameter):
            return cls


MOST_SERIES = 1000
"""Series of one metric, at most. Further label values are counted in one series of `OTHER`."""

OTHER = "other"
LONGEST_VALUE = 256  # characters of a label's value
MOST_LABELS = 32
MOST_BOUNDS = 128
RESERVED = "pyproc_"

ACROSS = ("sum", "max", "min", "each")
DEFAULT_BOUNDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)

STARTED = time.time_ns()
"""The start of this process's counts, in nanoseconds since the epoch."""


class MetricError(ValueError):
    """A metric is defined or used wrongly. The message names the mistake."""


class Changes:
    """Whether a value has changed since the last report, and a callback for changes."""

    pending = False
    notify: Callable[[], None] | None = None

    @classmethod
    def note(cls) -> None:
        """Notes a change."""
        cls.pending = True
        if cls.notify is not None:
            cls.notify()


class Series:
    """The values of one metric for one set of labels."""

    __slots__ = ("changed", "labels")

    def __init__(self, labels: dict[str, str]) -> None:
        self.labels = labels
        self.changed = True
        """The current value has not been reported."""

    def _note(self) -> None:
        self.changed = True
        if not Changes.pending:
            Changes.note()


class CounterSeries(Series):
    """A total that only grows."""

    __slots__ = ("value",)

    def __init__(self, labels: dict[str, str]) -> None:
        super().__init__(labels)
        self.value = 0.0

    def inc(self, amount: float = 1) -> None:
        """Adds `amount`. Raises `MetricError` if it is negative or not finite."""
        if not 0 <= amount < math.inf:
            raise MetricError(f"a counter grows by finite amounts from 0 on, not by {amount!r}")
        with _lock:
            self.value += amount
        self._note()


class GaugeSeries(Series):
    """A value that goes up and down."""

    __slots__ = ("value",)

    def __init__(self, labels: dict[str, str]) -> None:
        super().__init__(labels)
        self.value = 0.0

    def set(self, value: float) -> None:
        """Sets the value. Raises `MetricError` if it is not finite."""
        if not -math.inf < value < math.inf:
            raise MetricError(f"a gauge has a finite value, not {value!r}")
        with _lock:
            self.value = float(value)
        self._note()

    def inc(self, amount: float = 1) -> None:
        """Adds `amount`. Raises `MetricError` if it is not finite."""
        with _lock:
            self.set(self.value + amount)

    def dec(self, amount: float = 1) -> None:
        """Takes `amount` away. Raises `MetricError` if it is not finite."""
        self.inc(-amount)


class HistogramSeries(Series):
    """Counts of values between bounds."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, labels: dict[str, str], bounds: tuple[float, ...]) -> None:
        super().__init__(labels)
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Counts a value. Raises `MetricError` if it is not finite."""
        if not -math.inf < value < math.inf:
            raise MetricError(f"a histogram counts finite values, not {value!r}")
        with _lock:
            self.counts[bisect_left(self._bounds, value)] += 1
            self.sum += value
        self._note()

    @contextlib.contextmanager
    def time(self) -> Iterator[None]:
        """Observes how many seconds the `with` statement, or the decorated function, takes."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.observe(time.perf_counter() - started)


class Metric(_Generic["S"], ABC):
    """A metric: its definition, and its series by labels."""

    kind = ""

    def __init__(self, name: str, help: str, labels: Sequence[str], unit: str = "") -> None:
        if not (isinstance(help, str) and isinstance(unit, str)):
            raise MetricError(f"{name}: help and unit are texts, not {help!r} and {unit!r}")
        self.name = name
        self.help = help
        self.unit = unit
        self.label_names = _checked_labels(name, labels)
        self._series: dict[tuple[str, ...], S] = {}
        self._only = None if self.label_names else self._get(())

    def labels(self, *values: object, **named: object) -> S:
        """The series of these label values, in the order of the labels' names, or by name.

        Keep the series if possible: the lookup takes longer than counting. Raises `MetricError` if
        a value is missing, or has no label.
        """
        if named:
            values = values + tuple(
                named.pop(name) for name in self.label_names[len(values) :] if name in named
            )
        if named or len(values) != len(self.label_names):
            raise MetricError(f"{self.name} takes values for its labels {self.label_names!r}")
        return self._get(tuple([str(value)[:LONGEST_VALUE] for value in values]))

    @property
    def only(self) -> S:
        """The series of a metric without labels."""
        if self._only is None:
            raise MetricError(f"{self.name} has labels: use .labels(...) first")
        return self._only

    def definition(self) -> tuple[Any, ...]:
        """The parts of the definition that must be equal for two metrics of one name."""
        return (self.kind, self.label_names, self.unit)

    def series(self) -> list[S]:
        """All series of this metric."""
        with _lock:
            return list(self._series.values())

    def _get(self, values: tuple[str, ...]) -> S:
        series = self._series.get(values)
        if series is not None:
            return series
        with _lock:
            if len(self._series) >= MOST_SERIES:
                values = (OTHER,) * len(values)
            series = self._series.get(values)
            if series is None:
                series = self._series[values] = self._new(dict(zip(self.label_names, values)))
        series._note()
        return series

    @abstractmethod
    def _new(self, labels: dict[str, str]) -> S:
        """A series with its first value."""


class Counter(Metric["CounterSeries"]):
    """See `pyproc_worker.telemetry.counter`."""

    kind = "counter"

    def inc(self, amount: float = 1) -> None:
        """Adds `amount`. Raises `MetricError` if it is negative or not finite."""
        self.only.inc(amount)

    def _new(self, labels: dict[str, str]) -> CounterSeries:
        return CounterSeries(labels)


class Gauge(Metric["GaugeSeries"]):
    """See `pyproc_worker.telemetry.gauge`."""

    kind = "gauge"

    def __init__(
        self, name: str, help: str, labels: Sequence[str], across: str, unit: str = ""
    ) -> None:
        if across not in ACROSS:
            raise MetricError(f"{name}: across is one of {', '.join(ACROSS)}, not {across!r}")
        if across == "each" and "worker_id" in labels:
            raise MetricError(f"{name}: across='each' adds the label worker_id itself")
        self.across = across
        super().__init__(name, help, labels, unit)

    def definition(self) -> tuple[Any, ...]:
        return (*super().definition(), self.across)

    def set(self, value: float) -> None:
        """Sets the value. Raises `MetricError` if it is not finite."""
        self.only.set(value)

    def inc(self, amount: float = 1) -> None:
        """Adds `amount`. Raises `MetricError` if it is not finite."""
        self.only.inc(amount)

    def dec(self, amount: float = 1) -> None:
        """Takes `amount` away. Raises `MetricError` if it is not finite."""
        self.only.dec(amount)

    def _new(self, labels: dict[str, str]) -> GaugeSeries:
        return GaugeSeries(labels)


class Histogram(Metric["HistogramSeries"]):
    """See `pyproc_worker.telemetry.histogram`."""

    kind = "histogram"

    def __init__(
        self, name: str, help: str, labels: Sequence[str], bounds: Sequence[float], unit: str = ""
    ) -> None:
        self.bounds = _checked_bounds(name, bounds)
        if "le" in labels:
            raise MetricError(f"{name}: the label le is the histogram's own")
        super().__init__(name, help, labels, unit)

    def definition(self) -> tuple[Any, ...]:
        return (*super().definition(), self.bounds)

    def observe(self, value: float) -> None:
        """Counts a value. Raises `MetricError` if it is not finite."""
        self.only.observe(value)

    def time(self) -> contextlib._GeneratorContextManager[None]:
        """Observes how many seconds the `with` statement, or the decorated function, takes."""
        return self.only.time()

    def _new(self, labels: dict[str, str]) -> HistogramSeries:
        return HistogramSeries(labels, self.bounds)


metrics: dict[str, Metric[Any]] = {}
"""All metrics of this process, by name."""


def registered(metric: M) -> M:
    """The metric, or an earlier one with the same definition.

    Raises `MetricError` if an earlier one has another definition.
    """
    with _lock:
        known = metrics.setdefault(metric.name, metric)
    if known.definition() != metric.definition():
        raise MetricError(f"{metric.name} is a metric already, defined in another way")
    return known  # type: ignore[return-value]


def checked_name(name: str) -> str:
    """The name. Raises `MetricError` if a user's metric cannot have it."""
    if not (isinstance(name, str) and _is_name(name.replace(":", "_")) and len(name) <= 256):
        raise MetricError(f"{name!r} is not a name of a metric: use letters, digits, '_' and ':'")
    if name.startswith(RESERVED):
        raise MetricError(f"{name!r}: names that begin with {RESERVED!r} are the pool's own")
    return name


def _is_name(name: object) -> bool:
    return isinstance(name, str) and name.isascii() and name.isidentifier()


def _checked_labels(metric: str, labels: Sequence[str]) -> tuple[str, ...]:
    if isinstance(labels, str):
        raise MetricError(f"{metric}: labels are a sequence of names, not one text")
    for name in labels:
        if not _is_name(name) or name.startswith("__"):
            raise MetricError(f"{metric}: {name!r} is not a name of a label")
    if len(set(labels)) != len(labels) or len(labels) > MOST_LABELS:
        raise MetricError(f"{metric}: at most {MOST_LABELS} labels, each once")
    return tuple(labels)


def _checked_bounds(metric: str, bounds: Sequence[float]) -> tuple[float, ...]:
    checked = tuple(float(bound) for bound in bounds if bound != math.inf)
    grow = all(low < high for low, high in zip(checked, checked[1:]))
    if not grow or not all(map(math.isfinite, checked)) or len(checked) > MOST_BOUNDS:
        raise MetricError(f"{metric}: buckets are at most {MOST_BOUNDS} finite numbers that grow")
    return checked


_lock = unpatched.RLock()


def _on_fork() -> None:
    """In a forked process: nothing is reported, and a parent's thread may hold the lock."""
    global _lock
    _lock = unpatched.RLock()
    Changes.notify = None


os.register_at_fork(after_in_child=_on_fork)

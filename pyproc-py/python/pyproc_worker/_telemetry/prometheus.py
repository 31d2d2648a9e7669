"""Reports the metrics of a registry of `prometheus_client`.

The library is not imported: a registry is any object with its method `collect`.
"""

from __future__ import annotations

import math

from pyproc_worker import _log
from pyproc_worker._telemetry.metrics import RESERVED
from pyproc_worker._telemetry.metrics_reports import (
    definition,
    histogram_series,
    in_parts,
    is_reportable,
    value_series,
    written_metric,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

_ACROSS = {
    "sum": "sum",
    "livesum": "sum",
    "max": "max",
    "livemax": "max",
    "min": "min",
    "livemin": "min",
}
"""The `across` of a gauge, by the library's multi-process mode."""


class Forwarded:
    """A registry, and its reported metrics."""

    def __init__(self, registry: Any) -> None:
        self._registry = registry
        self._reported: dict[tuple[str, int], str] = {}
        self._failed = False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Forwarded) and other._registry is self._registry

    __hash__ = None  # type: ignore[assignment]

    def __call__(self, all_of_them: bool, send: Callable[[str], bool]) -> bool:
        """Sends the changed metrics, or all. Returns whether all were sent.

        A registry that raises counts as empty, which is logged once.
        """
        try:
            families = list(self._registry.collect())
            written = [metric for family in families for metric in self._converted(family)]
        except Exception as error:
            if not self._failed:
                _log.error("a Prometheus registry cannot be read", error)
            self._failed = True
            return True
        now = {
            (defined, number): written_metric(defined, part)
            for defined, series in written
            for number, part in enumerate(in_parts(series))
            if part
        }
        known = {} if all_of_them else self._reported
        self._reported = {
            key: metric for key, metric in now.items() if known.get(key) == metric or send(metric)
        }
        return len(self._reported) == len(now)

    def _converted(self, family: Any) -> list[tuple[str, list[str]]]:
        if family.name.startswith(RESERVED):
            return []
        if family.type in ("histogram", "summary"):
            return [_histogram(family)]
        if family.type == "counter":
            return [_values(family, "counter", family.name + "_total")]
        if family.type == "info":
            return [_values(family, "gauge", family.name + "_info", "each")]
        if family.type in ("gauge", "unknown", "stateset"):
            return [_values(family, "gauge", family.name, self._across(family.name))]
        return []

    def _across(self, name: str) -> str:
        """The `across` of a gauge, from its multi-process mode."""
        collector = getattr(self._registry, "_names_to_collectors", {}).get(name)
        mode: Any = getattr(collector, "_multiprocess_mode", None)
        return _ACROSS.get(mode, "each")


def _values(family: Any, kind: str, name: str, across: str = "") -> tuple[str, list[str]]:
    """A metric of the samples with this name, without the creation times of counters."""
    series = [
        value_series(sample.labels, sample.value)
        for sample in family.samples
        if sample.name == name and is_reportable(sample.value)
    ]
    return definition(name, kind, family.documentation, family.unit, across), series


def _histogram(family: Any) -> tuple[str, list[str]]:
    """A histogram. A summary becomes one with a single bucket, which keeps its count and sum."""
    found: dict[tuple[tuple[str, str], ...], _Buckets] = {}
    for sample in family.samples:
        labels = {name: value for name, value in sample.labels.items() if name != "le"}
        buckets = found.setdefault(tuple(sorted(labels.items())), _Buckets(labels))
        if sample.name == family.name + "_bucket":
            buckets.below[float(sample.labels["le"])] = int(sample.value)
        elif sample.name == family.name + "_count":
            buckets.below[math.inf] = int(sample.value)
        elif sample.name == family.name + "_sum":
            buckets.sum = sample.value
    bounds: tuple[float, ...] = ()
    for buckets in found.values():
        bounds = tuple(bound for bound in sorted(buckets.below) if bound != math.inf)
    series = [buckets.written() for buckets in found.values() if is_reportable(buckets.sum)]
    return definition(
        family.name, "histogram", family.documentation, family.unit, "", bounds
    ), series


class _Buckets:
    """A series of a histogram with the library's cumulative buckets."""

    def __init__(self, labels: dict[str, str]) -> None:
        self.labels = labels
        self.below: dict[float, int] = {}
        self.sum = 0.0

    def written(self) -> str:
        cumulative = [self.below[bound] for bound in sorted(self.below)]
        counts = [count - before for count, before in zip(cumulative, [0, *cumulative])]
        return histogram_series(self.labels, counts, self.sum)

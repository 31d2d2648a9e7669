"""Starts telemetry when a client asks for it, and stops it when the last such client leaves.

The modules for it are loaded only then.
"""

from __future__ import annotations

import sys

from pyproc_worker import _log
from pyproc_worker._calls import channels
from pyproc_worker._calls.channels import Channel
from pyproc_worker._system import unpatched
from pyproc_worker._system.import_hooks import when_loaded


class Forwarding:
    """The telemetry of this process."""

    def __init__(self, logs: bool) -> None:
        self._logs = logs
        """Whether clients that ask for logs get them."""
        self._forwards_logs = False
        self._lock = unpatched.RLock()  # a finalizer may be the first to load `logging`

    def __enter__(self) -> Forwarding:
        """Observes all connections from now on."""
        channels.on_open.append(self._opened)
        channels.on_close.append(self._closed)
        channels.on_drain.append(self._drain)
        when_loaded("opentelemetry.trace", _attach_opentelemetry)
        return self

    def __exit__(self, *_: object) -> None:
        channels.on_open.remove(self._opened)
        channels.on_close.remove(self._closed)
        channels.on_drain.remove(self._drain)

    def _opened(self, channel: Channel) -> None:
        if "logs" in channel.features and self._logs:
            self._begin_logs()
        if "metrics" in channel.features:
            with self._lock:
                from pyproc_worker._telemetry import metrics_reports, runtime_metrics

                runtime_metrics.watch()
                metrics_reports.begin()

    def _closed(self, channel: Channel) -> None:
        from pyproc_worker._telemetry.records import lost

        lost.forget(channel)
        if "logs" in channel.features:
            self._end_logs()
        if "metrics" in channel.features:
            self._end_metrics()

    def _drain(self) -> None:
        from pyproc_worker._telemetry.records import report_lost

        if self._forwards_logs:
            from pyproc_worker._telemetry import stdio

            stdio.finish()
        if _wanted("metrics"):
            from pyproc_worker._telemetry import metrics_reports

            metrics_reports.report_now()
        report_lost()

    def _begin_logs(self) -> None:
        with self._lock:
            if self._forwards_logs:
                return
            self._forwards_logs = True
            from pyproc_worker._telemetry import log_records, stdio

            stdio.install()
            _log.forward_to(log_records.send_of_worker)
        when_loaded("logging", self._handle_logging)

    def _handle_logging(self) -> None:
        from pyproc_worker._telemetry import log_handler

        with self._lock:
            if self._forwards_logs:
                log_handler.install()

    def _end_logs(self) -> None:
        with self._lock:
            if not self._forwards_logs or _wanted("logs"):
                return
            self._forwards_logs = False
            from pyproc_worker._telemetry import stdio

            _log.forward_to(None)
            stdio.remove()
            handler = sys.modules.get("pyproc_worker._telemetry.log_handler")
            if handler is not None:
                handler.remove()

    def _end_metrics(self) -> None:
        with self._lock:
            if not _wanted("metrics"):
                from pyproc_worker._telemetry import metrics_reports, runtime_metrics

                metrics_reports.end()
                runtime_metrics.unwatch()


def _wanted(feature: str) -> bool:
    """Whether a client asked for the feature."""
    return any(feature in channel.features for channel in channels.opened)


def _attach_opentelemetry() -> None:
    from pyproc_worker._otel import context

    context.begin()

"""Begins what a client's hello has put in force, and ends it when the last such client leaves.

Until then, none of what does the work is loaded.
"""

from __future__ import annotations

import sys

from pyproc_worker import _channel, _log, _unpatched
from pyproc_worker._channel import Channel
from pyproc_worker._on_import import when_loaded


class Forwarding:
    """What goes to clients in this process."""

    def __init__(self, logs: bool) -> None:
        self._logs = logs
        """Clients that ask for logs get them."""
        self._forwards_logs = False
        self._lock = _unpatched.RLock()  # a finalizer may be the first to load `logging`

    def __enter__(self) -> Forwarding:
        """Looks at each connection from now on."""
        _channel.on_open.append(self._opened)
        _channel.on_close.append(self._closed)
        _channel.on_drain.append(self._drain)
        when_loaded("opentelemetry.trace", _attach_opentelemetry)
        return self

    def __exit__(self, *_: object) -> None:
        _channel.on_open.remove(self._opened)
        _channel.on_close.remove(self._closed)
        _channel.on_drain.remove(self._drain)

    def _opened(self, channel: Channel) -> None:
        if "logs" in channel.features and self._logs:
            self._begin_logs()
        if "metrics" in channel.features:
            with self._lock:
                from pyproc_worker import _metrics_reports, _runtime

                _runtime.watch()
                _metrics_reports.begin()

    def _closed(self, channel: Channel) -> None:
        from pyproc_worker._records import lost

        lost.forget(channel)
        if "logs" in channel.features:
            self._end_logs()
        if "metrics" in channel.features:
            self._end_metrics()

    def _drain(self) -> None:
        from pyproc_worker._records import tell_all

        if self._forwards_logs:
            from pyproc_worker import _stdio

            _stdio.finish()
        if _wanted("metrics"):
            from pyproc_worker import _metrics_reports

            _metrics_reports.report_now()
        tell_all()

    def _begin_logs(self) -> None:
        with self._lock:
            if self._forwards_logs:
                return
            self._forwards_logs = True
            from pyproc_worker import _log_records, _stdio

            _stdio.install()
            _log.forward_to(_log_records.send_of_worker)
        when_loaded("logging", self._handle_logging)

    def _handle_logging(self) -> None:
        from pyproc_worker import _log_handler

        with self._lock:
            if self._forwards_logs:
                _log_handler.install()

    def _end_logs(self) -> None:
        with self._lock:
            if not self._forwards_logs or _wanted("logs"):
                return
            self._forwards_logs = False
            from pyproc_worker import _stdio

            _log.forward_to(None)
            _stdio.remove()
            handler = sys.modules.get("pyproc_worker._log_handler")
            if handler is not None:
                handler.remove()

    def _end_metrics(self) -> None:
        with self._lock:
            if not _wanted("metrics"):
                from pyproc_worker import _metrics_reports, _runtime

                _metrics_reports.end()
                _runtime.unwatch()


def _wanted(feature: str) -> bool:
    """Whether a client is there that asked for it."""
    return any(feature in channel.features for channel in _channel.channels)


def _attach_opentelemetry() -> None:
    from pyproc_worker import _otel

    _otel.begin()

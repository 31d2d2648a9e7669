"""Chooses the client that gets a record, and counts the records that were lost."""

from __future__ import annotations

import os

from pyproc_worker._calls import channels
from pyproc_worker._system import unpatched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyproc_worker._calls.channels import Channel
    from pyproc_worker._calls.current import Call

LOGS, SPANS, METRICS = channels.FEATURES

RECORD_LIMIT = 64 * 1024
"""Largest size of a log record in bytes; a span may be larger."""


class Lost:
    """The number of records that each client has missed since the last report of it."""

    def __init__(self) -> None:
        self._lock = unpatched.RLock()  # the garbage collector may run code that loses a record
        self._counts: dict[Channel, dict[str, int]] = {}

    def add(self, channel: Channel, kind: str) -> None:
        """Counts a record that was not sent, unless the client is gone."""
        with self._lock:
            if channel not in channels.opened:
                return
            counts = self._counts.setdefault(channel, {LOGS: 0, SPANS: 0})
            counts[kind] += 1

    def send(self, channel: Channel, record: bytes = b"") -> bool:
        """Sends a record, and before it the counts of lost ones. Returns whether both were sent."""
        if channel not in self._counts:
            return channel.send(record) if record else True
        with self._lock:
            counts = self._counts.pop(channel, None)
            report = b"" if counts is None else _report(counts)
            if channel.send(report + record):
                return True
            if counts is not None:
                self._counts[channel] = counts
            return False

    def forget(self, channel: Channel) -> None:
        """The client is gone."""
        with self._lock:
            self._counts.pop(channel, None)

    def on_fork(self) -> None:
        """In a forked process: nothing is reported, and a parent's thread may hold the lock."""
        self._lock = unpatched.RLock()


lost = Lost()
os.register_at_fork(after_in_child=lost.on_fork)


def channel_for(kind: str, call: Call | None) -> Channel | None:
    """The channel for a record: of the call's client, else of the first client that takes such.

    Spans of a call go to its client only, as only that one knows the trace.
    """
    if call is not None:
        if call.channel is not None and kind in call.channel.features:
            return call.channel
        if kind == SPANS:
            return None
    for channel in channels.opened:
        if kind in channel.features:
            return channel
    return None


def send(kind: str, record: bytes, channel: Channel | None) -> bool:
    """Sends a log record or a span, or counts it as lost. Returns whether it was sent."""
    if channel is None:
        return False
    if lost.send(channel, record):
        return True
    lost.add(channel, kind)
    return False


def report_lost() -> None:
    """Reports to each client how many records it has missed."""
    for channel in list(channels.opened):
        lost.send(channel)


def _report(counts: dict[str, int]) -> bytes:
    return b'{"type":"lost","logs":%d,"spans":%d}\n' % (counts[LOGS], counts[SPANS])

"""Telemetry records on their way: to whom, and what of them was lost."""

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
"""Bytes of a log record; a span may be larger."""


class Lost:
    """How many records a client has missed since it was last told."""

    def __init__(self) -> None:
        self._lock = unpatched.RLock()  # a record may be lost within the garbage collector
        self._counts: dict[Channel, dict[str, int]] = {}

    def add(self, channel: Channel, kind: str) -> None:
        """A record of this kind did not get out. If the client is gone, nobody is to be told."""
        with self._lock:
            if channel not in channels.opened:
                return
            counts = self._counts.setdefault(channel, {LOGS: 0, SPANS: 0})
            counts[kind] += 1

    def send(self, channel: Channel, record: bytes = b"") -> bool:
        """Sends a record, and before it what was lost, or neither; says which."""
        if channel not in self._counts:
            return channel.send(record) if record else True
        with self._lock:
            counts = self._counts.pop(channel, None)
            told = b"" if counts is None else _told(counts)
            if channel.send(told + record):
                return True
            if counts is not None:
                self._counts[channel] = counts
            return False

    def forget(self, channel: Channel) -> None:
        """The client is gone."""
        with self._lock:
            self._counts.pop(channel, None)

    def on_fork(self) -> None:
        """In a child nobody is told anything; the lock may be held by a thread that isn't here."""
        self._lock = unpatched.RLock()


lost = Lost()
os.register_at_fork(after_in_child=lost.on_fork)


def channel_for(kind: str, call: Call | None) -> Channel | None:
    """Who gets a record: the client whose call it is, else the first that wants such records.

    Spans of a call are for nobody but its client: only that knows the trace.
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
    """Sends a log record or a span now, or counts it as lost; says which."""
    if channel is None:
        return False
    if lost.send(channel, record):
        return True
    lost.add(channel, kind)
    return False


def tell_all() -> None:
    """Tells each client what it missed."""
    for channel in list(channels.opened):
        lost.send(channel)


def _told(counts: dict[str, int]) -> bytes:
    return b'{"type":"lost","logs":%d,"spans":%d}\n' % (counts[LOGS], counts[SPANS])

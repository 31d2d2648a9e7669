"""Channels send telemetry to clients: lines of JSON, at once, in frames of their own.

Each connection whose hello asked for telemetry has one `Channel`. Both cores open and close the
channels here; `_telemetry` and `_otel` send on them.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Callable

FEATURES = ("logs", "spans", "metrics")
"""The features of a hello that ask for telemetry."""

TELEMETRY = 0x10  # the kind of telemetry frames


class Channel:
    """The channel to one client. Compared by identity."""

    __slots__ = ("__weakref__", "features", "send")

    features: frozenset[str]
    """The negotiated ones of `FEATURES`."""

    send: Callable[[bytes], bool]
    """Sends lines, each closed by a newline, to the client; returns whether the client gets them.

    It does not if more bytes wait already than `BUFFERED` of `_limits`, if the lines are too long
    for a frame, if the connection is closed, or if this process was forked off: nothing is kept
    then. It never raises and never waits for the client, and may be called on any thread.
    """

    def __init__(self, features: Iterable[str], send: Callable[[bytes], bool]) -> None:
        self.features = frozenset(FEATURES).intersection(features)
        self.send = send


opened: list[Channel] = []
"""The open channels."""

on_open: list[Callable[[Channel], None]] = []
"""Called with each opened channel, before the answer to the hello is sent."""

on_close: list[Callable[[Channel], None]] = []
"""Called with each closed channel."""

on_drain: list[Callable[[], None]] = []
"""Called when the worker begins to drain, and again before it ends: they send what is buffered."""


def open_channel(features: Iterable[str], send: Callable[[bytes], bool]) -> Channel:
    """Opens the channel of a connection whose hello negotiated `features`."""
    channel = Channel(features, send)
    opened.append(channel)
    for hook in on_open:
        _run(hook, channel)
    return channel


def close_channel(channel: Channel) -> None:
    """Closes the channel of a closed connection."""
    opened.remove(channel)
    for hook in on_close:
        _run(hook, channel)


def drain() -> None:
    """Sends buffered telemetry."""
    if opened:
        for hook in on_drain:
            _run(hook)


def _run(hook: Callable[..., None], *arguments: Channel) -> None:
    """Runs a hook. Its errors are logged, as errors in telemetry must not end the worker."""
    try:
        hook(*arguments)
    except Exception as error:
        from pyproc_worker import _log

        _log.error("telemetry failed", error)

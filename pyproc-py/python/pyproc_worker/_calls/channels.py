"""Telemetry's way to the clients: lines of JSON, sent at once in frames of their own.

There is one `Channel` for each connection whose hello asked for telemetry. Both cores open and
close them here; whoever records something sends it on those that want it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Callable

FEATURES = ("logs", "spans", "metrics")
"""The features of a hello that put telemetry in force."""

TELEMETRY = 0x10  # the kind of its frames


class Channel:
    """The way to one client. Each is equal to itself only."""

    __slots__ = ("__weakref__", "features", "send")

    features: frozenset[str]
    """Those of `FEATURES` that are in force."""

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
"""Those that are open."""

on_open: list[Callable[[Channel], None]] = []
"""Called with each channel that has been opened, before the client knows."""

on_close: list[Callable[[Channel], None]] = []
"""Called with each channel that has been closed."""

on_drain: list[Callable[[], None]] = []
"""Called when the worker begins to drain, and again before it ends: what is kept must leave now."""


def open_channel(features: Iterable[str], send: Callable[[bytes], bool]) -> Channel:
    """A hello has put `features` in force, telemetry among them."""
    channel = Channel(features, send)
    opened.append(channel)
    for hook in on_open:
        _run(hook, channel)
    return channel


def close_channel(channel: Channel) -> None:
    """Its connection is closed."""
    opened.remove(channel)
    for hook in on_close:
        _run(hook, channel)


def drain() -> None:
    """Lets leave what is kept."""
    if opened:
        for hook in on_drain:
            _run(hook)


def _run(hook: Callable[..., None], *arguments: Channel) -> None:
    """Whatever goes wrong with telemetry is no reason to end the worker."""
    try:
        hook(*arguments)
    except Exception as error:
        from pyproc_worker import _log

        _log.error("telemetry failed", error)

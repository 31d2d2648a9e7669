"""Metrics of the interpreter: pauses of garbage collection, and lag of the event loop."""

from __future__ import annotations

import contextlib
import gc
import sys
import time

from pyproc_worker._system.import_hooks import when_loaded
from pyproc_worker._telemetry.metrics import Gauge, Histogram, registered

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio

    from pyproc_worker._calls.event_loop import EventLoopThread

GC_BOUNDS = (0.00001, 0.0001, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0)

LAG_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

INTERVAL = 0.1
"""Seconds between measurements of the event loop. A longer block is always measured."""

FIRST_INTERVAL = 0.001
"""Seconds until the first measurement, so that a call that blocks at its start is measured."""

MOST_MISSED = 1_000
"""Missed measurements that are added for one block of the loop, at most."""


class _GarbageCollection:
    """Measures the duration of collections, which block all threads."""

    def __init__(self) -> None:
        metric = registered(
            Histogram(
                "pyproc_worker_gc_pause_seconds",
                "How long garbage collections took.",
                ("generation",),
                GC_BOUNDS,
            )
        )
        self._pauses = [metric.labels(generation) for generation in range(3)]
        self._started = 0.0

    def __call__(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._started = time.perf_counter()
        else:
            self._pauses[info["generation"]].observe(time.perf_counter() - self._started)


class _EventLoop:
    """Measures the loop's lag while async functions run, and their number."""

    def __init__(self) -> None:
        self._lag = registered(
            Histogram(
                "pyproc_worker_event_loop_lag_seconds",
                "How late the event loop of async functions ran what was due.",
                (),
                LAG_BOUNDS,
            )
        )
        self._active = registered(
            Gauge("pyproc_worker_active_tasks", "Async functions that run.", (), "sum")
        )
        self._measuring = False
        self._was_busy = False  # since the last measurement

    def on_busy(self, thread: EventLoopThread) -> None:
        """Called on the loop's thread when a call starts while none is in flight."""
        self._was_busy = True
        if not self._measuring:
            self._measuring = True
            self._active.set(thread.running)
            self._measure_in(FIRST_INTERVAL, thread)

    def _measure_in(self, delay: float, thread: EventLoopThread) -> None:
        due = time.monotonic() + delay  # uvloop's own clock stops while a callback runs
        _running_loop().call_later(delay, self._measure, thread, due)

    def _measure(self, thread: EventLoopThread, due: float) -> None:
        # Also if no call is left: the call that blocked the loop may just have ended.
        late = max(0.0, time.monotonic() - due)
        self._lag.observe(late)
        # A blocked loop takes no measurements. Without the missed ones it would be underrepresented
        # beside loops that run.
        for missed in range(1, 1 + min(int(late / INTERVAL), MOST_MISSED)):
            self._lag.observe(late - missed * INTERVAL)
        running = thread.running
        self._active.set(running)
        was_busy, self._was_busy = self._was_busy, running > 0
        if was_busy or running:  # one more than needed, so that short calls do not restart it
            self._measure_in(INTERVAL, thread)
        else:
            self._measuring = False


def _running_loop() -> asyncio.AbstractEventLoop:
    import asyncio  # loaded already

    return asyncio.get_running_loop()


class _Watched:
    wanted = False
    collections: _GarbageCollection | None = None
    loop: _EventLoop | None = None


def watch() -> None:
    """Starts the measurements. Idempotent."""
    if _Watched.wanted:
        return
    _Watched.wanted = True
    if _Watched.collections is None:
        _Watched.collections = _GarbageCollection()
    gc.callbacks.append(_Watched.collections)
    when_loaded("pyproc_worker._calls.event_loop", _watch_loop)


def unwatch() -> None:
    """Stops the measurements."""
    if not _Watched.wanted:
        return
    _Watched.wanted = False
    with contextlib.suppress(ValueError):  # the script has emptied the list
        gc.callbacks.remove(_Watched.collections)  # type: ignore[arg-type]
    asyncio_thread = sys.modules.get("pyproc_worker._calls.event_loop")
    if asyncio_thread is not None:
        asyncio_thread.on_busy = None  # type: ignore[attr-defined]


def _watch_loop() -> None:
    from pyproc_worker._calls import event_loop

    if not _Watched.wanted:
        return
    if _Watched.loop is None:
        _Watched.loop = _EventLoop()
    event_loop.on_busy = _Watched.loop.on_busy

"""Threads, locks and polls of the system, whatever gevent or eventlet have put in their places.

These libraries patch the standard library: threads become greenlets, which take turns on one
thread. The worker's own threads must go on while a function keeps that thread busy, so they are
real ones, and so are the locks that they share with it. While the serving thread waits for clients,
it lets the script's greenlets run.
"""

from __future__ import annotations

import _thread
import os
import select
import sys
import threading
from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Optional

    Interests = list[tuple[int, int]]
    """Descriptors, and the events of `poll` that are waited for."""

    Wait = Callable[[Interests, Optional[float]], None]
    """Lets greenlets run until there is an event, or so many milliseconds are over."""


def _original(module: str, name: str) -> Any:
    gevent, eventlet = sys.modules.get("gevent.monkey"), sys.modules.get("eventlet.patcher")
    if gevent is not None:
        return gevent.get_original(module, name)
    return getattr(import_module(module) if eventlet is None else eventlet.original(module), name)


# A script may patch before this is loaded, or after.
Lock: Callable[[], Any] = _original("_thread", "allocate_lock")
RLock: Callable[[], Any] = _original("_thread", "RLock")
start_new_thread: Callable[..., int] = _original("_thread", "start_new_thread")
poll: Callable[[], Any] = _original("select", "poll")
sleep: Callable[[float], None] = _original("time", "sleep")


class Thread:
    """A thread of the system, which keeps no process from ending."""

    def __init__(self, target: Callable[[], None], name: str) -> None:
        self._target = target
        self._runs = Lock()
        self._process = os.getpid()  # a forked one has none of its threads
        self._thread = None
        if patched_by() is None:
            self._thread = threading.Thread(target=target, name=name, daemon=True)

    def start(self) -> None:
        """Raises `RuntimeError` if the system has no room for another thread."""
        if self._thread is not None:
            return self._thread.start()
        self._runs.acquire()
        start_new_thread(self._run, ())

    def join(self, timeout: float = -1) -> None:
        """Waits for the end, but at most `timeout` seconds unless that is -1."""
        if self._thread is not None:
            self._thread.join(None if timeout == -1 else timeout)
        elif os.getpid() == self._process and self._runs.acquire(timeout=timeout):
            self._runs.release()

    def _run(self) -> None:
        try:
            self._target()
        finally:
            self._runs.release()


def patched_by() -> str | None:
    """The library that has put its own in the place of threads or of `select`, if one has."""
    for function in (_thread.start_new_thread, select.select):
        if type(function).__name__ != "builtin_function_or_method":
            return function.__module__.partition(".")[0]
    return None


def wait_with_greenlets() -> Wait | None:
    """How to wait so that greenlets run meanwhile; None if nothing is patched."""
    if patched_by() is None:
        return None
    return _wait_by_poll if hasattr(select, "poll") else _wait_by_select


def _wait_by_poll(interests: Interests, timeout: float | None) -> None:
    patched = select.poll()
    for fd, events in interests:
        if events:
            patched.register(fd, events)
    patched.poll(timeout)


def _wait_by_select(interests: Interests, timeout: float | None) -> None:
    readers = [fd for fd, events in interests if events & select.POLLIN]
    writers = [fd for fd, events in interests if events & select.POLLOUT]
    select.select(readers, writers, [], None if timeout is None else timeout / 1000)

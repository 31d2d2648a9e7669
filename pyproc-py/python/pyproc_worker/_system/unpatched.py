"""Real threads, locks and polls, even if gevent or eventlet have patched the standard library.

These libraries turn threads into greenlets, which share one thread. The worker's own threads must
run while a function blocks that thread, so they are real threads with real locks. While the serving
thread waits for clients, the script's greenlets run.
"""

from __future__ import annotations

import _thread
import os
import select
import sys
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Optional

    Interests = list[tuple[int, int]]
    """Descriptors, and the events of `poll` to wait for."""

    Wait = Callable[[Interests, Optional[float]], None]
    """Runs greenlets until there is an event, or until a timeout in milliseconds."""


def _original(module: str, name: str) -> Any:
    gevent, eventlet = sys.modules.get("gevent.monkey"), sys.modules.get("eventlet.patcher")
    if gevent is not None:
        return gevent.get_original(module, name)
    return getattr(__import__(module) if eventlet is None else eventlet.original(module), name)


# A script may patch before or after this module is loaded.
Lock: Callable[[], Any] = _original("_thread", "allocate_lock")
RLock: Callable[[], Any] = _original("_thread", "RLock")
start_new_thread: Callable[..., int] = _original("_thread", "start_new_thread")
poll: Callable[[], Any] = _original("select", "poll")
sleep: Callable[[float], None] = _original("time", "sleep")


class Thread:
    """A real daemon thread."""

    def __init__(self, target: Callable[[], None], name: str) -> None:
        self._target = target
        self._runs = Lock()
        self._process = os.getpid()  # a forked process has no such thread
        self._thread = None
        if patched_by() is None:
            self._thread = threading.Thread(target=target, name=name, daemon=True)

    def start(self) -> None:
        """Raises `RuntimeError` if the system refuses another thread."""
        if self._thread is not None:
            return self._thread.start()
        self._runs.acquire()
        start_new_thread(self._run, ())

    def join(self, timeout: float = -1) -> None:
        """Waits for the thread's end, for `timeout` seconds at most; -1 means no limit."""
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
    """The name of the library that has patched threads or `select`, if any."""
    for function in (_thread.start_new_thread, select.select):
        if type(function).__name__ != "builtin_function_or_method":
            return function.__module__.partition(".")[0]
    return None


def wait_with_greenlets() -> Wait | None:
    """A wait that lets greenlets run; None if nothing is patched."""
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

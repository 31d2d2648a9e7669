"""The Go original's module for cancellation, for scripts that were written for it.

New scripts do not need it: see "Cancellation" in the README.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import threading

from pyproc_worker._errors import Cancelled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Any, Callable

__all__ = ["CancellableOperation", "CancellationError", "CancellationManager", "make_cancellable"]

_log = logging.getLogger(__name__)


class CancellationError(Cancelled):
    """A request was cancelled. A function that raises it answers ``Cancelled: reason``."""

    def __init__(self, request_id: int, reason: str = "Operation cancelled") -> None:
        self.request_id = request_id
        self.reason = reason
        super().__init__(f"Request {request_id} cancelled: {reason}")

    def answer(self) -> str:
        return f"Cancelled: {self.reason}"


class CancellationManager:
    """Events and callbacks of requests by id, for the script's own use.

    The worker does not register its requests here: a function gets its event as `cancel_event`.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._requests: dict[int, tuple[threading.Event, list[Callable[[], object]]]] = {}

    def register_request(self, request_id: int) -> threading.Event:
        """Registers a request and returns its event. An earlier one with the same id is dropped."""
        event = threading.Event()
        with self._lock:
            self._requests[request_id] = (event, [])
        return event

    def unregister_request(self, request_id: int) -> None:
        """Removes a request and calls its callbacks."""
        with self._lock:
            _, callbacks = self._requests.pop(request_id, (None, ()))
        for callback in callbacks:
            try:
                callback()
            except Exception:
                _log.exception("a callback of request %s failed", request_id)

    def cancel_request(self, request_id: int, reason: str = "context cancelled") -> bool:
        """Sets a request's event. Returns False if it is unknown or was cancelled before."""
        with self._lock:
            event, _ = self._requests.get(request_id, (None, ()))
            if event is None or event.is_set():
                return False
            event.set()
        _log.info("request %s cancelled: %s", request_id, reason)
        return True

    def is_cancelled(self, request_id: int) -> bool:
        """Whether a request is registered and cancelled."""
        event, _ = self._requests.get(request_id, (None, ()))
        return event is not None and event.is_set()

    def add_cleanup_callback(self, request_id: int, callback: Callable[[], object]) -> None:
        """Registers a callback for the end of a request. Unknown requests are ignored."""
        with self._lock:
            if request_id in self._requests:
                self._requests[request_id][1].append(callback)

    @contextlib.contextmanager
    def track_request(self, request_id: int) -> Iterator[threading.Event]:
        """Registers a request while this is entered, and yields its event.

        Raises `CancellationError` at the end if the request was cancelled meanwhile.
        """
        event = self.register_request(request_id)
        try:
            yield event
            if event.is_set():
                raise CancellationError(request_id, "Request cancelled during execution")
        finally:
            self.unregister_request(request_id)

    def check_cancellation(self, request_id: int) -> None:
        """Raises `CancellationError` if a request is cancelled."""
        if self.is_cancelled(request_id):
            raise CancellationError(request_id)


class CancellableOperation:
    """Reads a `cancel_event` at each `check_interval`-th `check()`, and at the end."""

    def __init__(self, cancel_event: threading.Event, check_interval: int = 100) -> None:
        self.cancel_event = cancel_event
        self.check_interval = check_interval
        self.iteration = 0

    def check(self) -> None:
        """Raises `CancellationError` if the event is read and set."""
        self.iteration += 1
        if self.iteration % self.check_interval == 0 and self.cancel_event.is_set():
            raise CancellationError(0)

    def __enter__(self) -> CancellableOperation:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and self.cancel_event.is_set():
            raise CancellationError(0, "Operation cancelled at exit")


def make_cancellable(func: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps `func` in a function with a parameter `cancel_event`, passed on if `func` has one."""
    takes_event = "cancel_event" in inspect.signature(func).parameters

    def wrapper(request: Any, cancel_event: threading.Event) -> Any:
        if takes_event:
            return func(request, cancel_event=cancel_event)
        return func(request)

    functools.update_wrapper(wrapper, func)
    del vars(wrapper)["__wrapped__"]  # else its signature would be effective
    return wrapper

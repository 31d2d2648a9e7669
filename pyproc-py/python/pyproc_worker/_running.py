"""The requests of one connection that can be cancelled while they run."""

import threading
from typing import Callable, Optional

from pyproc_worker import _limits, _unpatched


class RunningCall:
    """A request whose function runs."""

    __slots__ = ("_cancel", "_event", "id", "size")

    def __init__(
        self,
        request_id: int,
        event: Optional[threading.Event],
        cancel: Optional[Callable[["RunningCall"], None]] = None,
        size: int = 0,
    ) -> None:
        self.id = request_id
        self.size = size + _limits.RUNNING_COST
        self._event = event
        self._cancel = cancel

    def cancel(self) -> None:
        """Sets the function's `cancel_event`, and cancels its task, as far as it has them."""
        if self._event is not None:
            self._event.set()
        if self._cancel is not None:
            self._cancel(self)


class Running:
    """The loop adds to it, and the thread of the event loop takes away."""

    def __init__(self) -> None:
        self._lock = _unpatched.Lock()
        self._calls: dict[int, RunningCall] = {}
        self._size = 0

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def too_many(self) -> bool:
        """Whether they take more memory than those of one connection may."""
        return self._size > _limits.RUNNING

    def add(self, call: RunningCall) -> None:
        """From now on it can be cancelled."""
        with self._lock:
            self._calls[call.id] = call
            self._size += call.size

    def remove(self, call: RunningCall) -> None:
        """It was answered."""
        with self._lock:
            self._size -= call.size
            if self._calls.get(call.id) is call:
                del self._calls[call.id]

    def cancel(self, request_id: int) -> None:
        """Cancels a request, if it runs."""
        call = self._calls.get(request_id)
        if call is not None:
            call.cancel()

    def cancel_all(self) -> None:
        """Nobody waits for any of them."""
        with self._lock:
            calls = list(self._calls.values())
        for call in calls:
            call.cancel()

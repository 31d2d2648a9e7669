"""The requests of one connection that can be cancelled while they run."""

import threading
from typing import Callable, Optional

from pyproc_worker import _limits
from pyproc_worker._system import unpatched


class RunningCall:
    """A request whose function runs."""

    __slots__ = ("_cancel", "_event", "before", "id", "size")

    def __init__(
        self,
        request_id: int,
        event: Optional[threading.Event],
        cancel: Optional[Callable[["RunningCall"], None]] = None,
        size: int = 0,
    ) -> None:
        self.id = request_id
        self.before: Optional[RunningCall] = None  # another one of the same id
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
        self._lock = unpatched.Lock()
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
            call.before = self._calls.get(call.id)
            self._calls[call.id] = call
            self._size += call.size

    def remove(self, call: RunningCall) -> None:
        """It was answered."""
        with self._lock:
            newest = self._calls.get(call.id)
            if newest is None:  # in a forked process: what runs is the parent's
                return
            if newest is not call:
                after = next((one for one in self._of(call.id) if one.before is call), None)
                if after is None:  # an exception from outside came when it had been removed
                    return
                after.before = call.before
            elif call.before is not None:
                self._calls[call.id] = call.before
            else:
                del self._calls[call.id]
            self._size -= call.size

    def cancel(self, request_id: int) -> None:
        """Cancels what runs of the requests with this id."""
        with self._lock:
            calls = self._of(request_id)
        for call in calls:
            call.cancel()

    def cancel_all(self) -> None:
        """Nobody waits for any of them."""
        with self._lock:
            calls = [call for request_id in self._calls for call in self._of(request_id)]
        for call in calls:
            call.cancel()

    def _of(self, request_id: int) -> list[RunningCall]:
        """The newest first. There is more than one only if the client uses an id twice."""
        calls, call = [], self._calls.get(request_id)
        while call is not None:
            calls.append(call)
            call = call.before
        return calls

"""The calls in flight of one connection, which can be cancelled."""

import threading
from typing import Callable, Optional

from pyproc_worker import _limits
from pyproc_worker._system import unpatched


class CallInFlight:
    """A call whose function runs."""

    __slots__ = ("_cancel", "_event", "before", "id", "size")

    def __init__(
        self,
        request_id: int,
        event: Optional[threading.Event],
        cancel: Optional[Callable[["CallInFlight"], None]] = None,
        size: int = 0,
    ) -> None:
        self.id = request_id
        self.before: Optional[CallInFlight] = None  # an earlier call with the same id
        self.size = size + _limits.RUNNING_COST
        self._event = event
        self._cancel = cancel

    def cancel(self) -> None:
        """Sets the function's `cancel_event` and cancels its task, if it has them."""
        if self._event is not None:
            self._event.set()
        if self._cancel is not None:
            self._cancel(self)


class InFlight:
    """The loop adds calls; the event loop's thread removes them."""

    def __init__(self) -> None:
        self._lock = unpatched.Lock()
        self._calls: dict[int, CallInFlight] = {}
        self._size = 0

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def too_many(self) -> bool:
        """Whether the calls take more memory than one connection may."""
        return self._size > _limits.RUNNING

    def add(self, call: CallInFlight) -> None:
        """From now on the call can be cancelled."""
        with self._lock:
            call.before = self._calls.get(call.id)
            self._calls[call.id] = call
            self._size += call.size

    def remove(self, call: CallInFlight) -> None:
        """The call was answered."""
        with self._lock:
            newest = self._calls.get(call.id)
            if newest is None:  # in a forked process: the calls are the parent's
                return
            if newest is not call:
                after = next((one for one in self._of(call.id) if one.before is call), None)
                if after is None:  # already removed before an asynchronous exception
                    return
                after.before = call.before
            elif call.before is not None:
                self._calls[call.id] = call.before
            else:
                del self._calls[call.id]
            self._size -= call.size

    def cancel(self, request_id: int) -> None:
        """Cancels the calls with this id."""
        with self._lock:
            calls = self._of(request_id)
        for call in calls:
            call.cancel()

    def cancel_all(self) -> None:
        """The client is gone: cancels all calls."""
        with self._lock:
            calls = [call for request_id in self._calls for call in self._of(request_id)]
        for call in calls:
            call.cancel()

    def _of(self, request_id: int) -> list[CallInFlight]:
        """The calls with an id, the newest first. More than one only if the client reuses an id."""
        calls, call = [], self._calls.get(request_id)
        while call is not None:
            calls.append(call)
            call = call.before
        return calls

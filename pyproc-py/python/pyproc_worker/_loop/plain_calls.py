"""The current call of a plain function, in the core in Python.

Most functions never ask for their call. So only its parts are stored, and the `Call` is built on
demand, unless its telemetry is likely to be recorded. The native core's `call_lookup.rs` does the
same.
"""

import threading
from typing import TYPE_CHECKING, Optional

from pyproc_worker._calls import current
from pyproc_worker._calls.current import Call, run, set_current
from pyproc_worker._functions.registry import Exposed
from pyproc_worker._loop.answers import Callee, Runnable

if TYPE_CHECKING:
    from pyproc_worker._calls.current import Context

SAMPLED = 0x01  # a flag of a trace context


class PlainCalls:
    """The calls on this thread, one after another."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._running: Optional[tuple[str, Context]] = None

    def begin(self, exposed: Exposed, context: "Context") -> Callee:
        """The callable to run in the call's context; `end` follows when it has returned."""
        start, name = exposed.call, exposed.name
        headers, trace, _ = context
        is_recorded = trace is not None and (trace[24] & SAMPLED or current.enter is not None)
        if headers is None and not is_recorded:
            self._running = name, context
            return exposed
        return Runnable(name, lambda body: run(start, body, name, *context))

    def end(self) -> None:
        """The function has returned."""
        self._running = None

    def find(self) -> Optional[Call]:
        """See `_calls.current.find_plain_call`."""
        if self._running is None or threading.get_ident() != self._thread:
            return None
        name, context = self._running
        call = Call(name, *context)
        set_current(call)
        return call

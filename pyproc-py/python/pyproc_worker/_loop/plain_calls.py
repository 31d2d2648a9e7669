"""What may be known of the call of a plain function while it runs, in the loop in Python.

Most calls are never asked for, so it's only noted which one runs, unless what happens in it is
likely to be recorded. The native core's `context.rs` does the same.
"""

import threading
from typing import TYPE_CHECKING, Optional

from pyproc_worker._calls import current
from pyproc_worker._calls.current import Call, run, set_current
from pyproc_worker._functions.registry import Exposed
from pyproc_worker._loop.answers import Callee, Runnable

if TYPE_CHECKING:
    from pyproc_worker._calls.current import Context

SAMPLED = 0x01  # among the flags of a trace


class PlainCalls:
    """The calls that run one after another on this thread."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._running: Optional[tuple[str, Context]] = None

    def begin(self, exposed: Exposed, context: "Context") -> Callee:
        """What to run for a function, in a context of the call's own; `end` when it's over."""
        start, name = exposed.call, exposed.name
        headers, trace, _ = context
        is_recorded = trace is not None and (trace[24] & SAMPLED or current.enter is not None)
        if headers is None and not is_recorded:
            self._running = name, context
            return exposed
        return Runnable(name, lambda body: run(start, body, name, *context))

    def end(self) -> None:
        """The function is over."""
        self._running = None

    def find(self) -> Optional[Call]:
        """See `_calls.current.look`."""
        if self._running is None or threading.get_ident() != self._thread:
            return None
        name, context = self._running
        call = Call(name, *context)
        set_current(call)
        return call

"""`async def` functions behind plain wrappers.

Only a call shows whether such a wrapper returns an awaitable or a result. It is called as a plain
function until it has returned an awaitable: that call continues on the event loop, and all later
calls start there.
"""

from __future__ import annotations

import functools
from contextvars import copy_context

from pyproc_worker._calls.current import CURRENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import Any, Callable

    from pyproc_worker._calls.cancel import Call


class Deferred(Exception):
    """A plain function has returned an awaitable, to be awaited on the event loop."""

    def __init__(self, awaitable: Awaitable[Any]) -> None:
        super().__init__("a result that is to be awaited")
        self.awaitable = awaitable
        self._context = copy_context()

    async def start(self, body: Any) -> Any:
        """The rest of the call. It sees the context variables that the wrapper has set."""
        for variable, value in self._context.items():
            if variable is not CURRENT:  # which the event loop has set
                variable.set(value)
        return await self.awaitable


def wraps(function: Any, is_coroutine_function: Callable[[Any], bool]) -> bool:
    """Whether a function wraps a coroutine function, directly or not."""
    while function is not None:
        if is_coroutine_function(function):
            return True
        if isinstance(function, functools.partial):
            function = function.func
        else:
            function = getattr(function, "__wrapped__", None)
    return False


def deferring(call: Call, found: Callable[[], None]) -> Call:
    """`call`, whose result may be an awaitable; `found` is called if it is.

    On the event loop's thread the result is always an awaitable. On other threads an awaitable is
    raised as `Deferred`.
    """
    from inspect import isawaitable  # only here, as it is large

    def call_or_defer(body: Any) -> Any:
        result = call(body)
        if _on_event_loop():
            return result if isawaitable(result) else _given(result)
        if not isawaitable(result):
            return result
        found()
        raise Deferred(result)

    return call_or_defer


def _on_event_loop() -> bool:
    from asyncio import _get_running_loop  # mostly loaded by the wrapped function

    return _get_running_loop() is not None


async def _given(result: Any) -> Any:
    return result

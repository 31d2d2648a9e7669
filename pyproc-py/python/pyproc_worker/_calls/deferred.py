"""`async def` functions behind wrappers that are none.

Whether such a wrapper returns what is to be awaited, or runs it by itself, shows when it is called.
It is called as a plain function is, until it has returned something to await: that call goes on
on the event loop, and all later ones begin there.
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
    """A plain function has returned what is to be awaited on the event loop."""

    def __init__(self, awaitable: Awaitable[Any]) -> None:
        super().__init__("a result that is to be awaited")
        self.awaitable = awaitable
        self._context = copy_context()

    async def start(self, body: Any) -> Any:
        """The rest of the call, whose body has been used already: it sees what the wrapper set."""
        for variable, value in self._context.items():
            if variable is not CURRENT:  # which the event loop has set
                variable.set(value)
        return await self.awaitable


def wraps(function: Any, is_coroutine_function: Callable[[Any], bool]) -> bool:
    """Whether a coroutine function is somewhere within a function."""
    while function is not None:
        if is_coroutine_function(function):
            return True
        if isinstance(function, functools.partial):
            function = function.func
        else:
            function = getattr(function, "__wrapped__", None)
    return False


def deferring(call: Call, found: Callable[[], None]) -> Call:
    """`call`, whose result may be to be awaited. `found` is called if it is.

    On the event loop's thread all its results can be awaited. Elsewhere it raises `Deferred` with
    those that are to be.
    """
    from inspect import isawaitable  # not before: it is large

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
    from asyncio import _get_running_loop  # the wrapped function has loaded it, mostly

    return _get_running_loop() is not None


async def _given(result: Any) -> Any:
    return result

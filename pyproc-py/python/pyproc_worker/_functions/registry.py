"""The functions that this worker exposes, by name."""

from __future__ import annotations

import os
from types import FunctionType

from pyproc_worker._calls.cancel import CANCEL_EVENT
from pyproc_worker._functions.untyped import first_line, of_objects, takes_a_dict, takes_whole_body

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Literal

    from pyproc_worker._calls.cancel import Call

    Body = Literal["whole", "fields"]


class Exposed:
    """A function under its name. The object stays the same when the function is replaced."""

    __slots__ = (
        "_pending", "call", "cancellable", "concurrent", "function", "name", "quick", "schema",
    )  # fmt: skip

    function: Callable[..., Any]

    call: Call
    """Calls the function with the body of a request; a concurrent one returns an awaitable."""

    concurrent: bool
    """The function is `async def`: its calls run concurrently. See also `_calls.deferred`."""

    cancellable: bool
    """The function has a parameter `cancel_event`: `call_with_event` calls it."""

    quick: bool
    """The last call was so short that answers of other calls may wait for the next one."""

    _pending: tuple[Body | None, dict[str, Any]] | None
    """The arguments of `expose`, if one of the hints could not be evaluated then."""

    schema: dict[str, Any]
    """The JSON Schema of the bodies."""

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        body: Body | None = None,
        names: dict[str, Any] = {},  # noqa: B006
    ) -> None:
        self.name = name
        self.replace(function, body, names)

    def replace(
        self,
        function: Callable[..., Any],
        body: Body | None = None,
        names: dict[str, Any] = {},  # noqa: B006
    ) -> None:
        """Replaces the function.

        Raises `TypeError`, and keeps the old one, if no body can fill the function's parameters.
        """
        if body != "fields" and takes_whole_body(function):
            self._call_simply(function, {})
        elif body != "fields" and takes_a_dict(function):
            self._call_simply(of_objects(function), {"type": "object"})
        else:
            self._plan(function, body, names)
        self.function = function
        self.quick = False

    def complete(self) -> None:
        """Evaluates the hints that could not be evaluated when the function was exposed."""
        if self._pending is not None:
            self._plan(self.function, *self._pending, is_final=True)

    @property
    def doc(self) -> str:
        """The first line of the docstring; empty without one."""
        if type(self.function) is FunctionType:
            return first_line(self.function.__doc__)
        from inspect import getdoc

        return first_line(getdoc(self.function))

    def _call_simply(self, call: Call, schema: dict[str, Any]) -> None:
        self.call, self.schema, self._pending = call, schema, None
        self.concurrent = self.cancellable = False

    def _plan(
        self,
        function: Callable[..., Any],
        body: Body | None,
        names: dict[str, Any],
        is_final: bool = False,
    ) -> None:
        from pyproc_worker._functions.parameters import plan
        from pyproc_worker._types.hints import signature_of  # not before: it is large

        try:
            planned = plan(function, body, names)
        except TypeError as error:
            raise TypeError(f"cannot expose {self.name!r}: {error}") from error
        self.call, self.schema = planned.call, planned.schema
        self._pending = None
        if is_final:
            for hint in planned.unresolved:
                import warnings  # only here, as it is large

                warnings.warn(
                    f"{self.name!r}: the hint {hint} cannot be evaluated: any value passes there",
                    stacklevel=3,
                )
        elif planned.unresolved:
            # The script may define their names later.
            self.call, self._pending = self._complete_and_call, (body, names)
        signature = signature_of(function)
        self.concurrent = _is_coroutine_function(function)
        if not self.concurrent:
            self._defer(function)
        self.cancellable = signature is not None and CANCEL_EVENT in signature.parameters

    def _defer(self, function: Callable[..., Any]) -> None:
        from pyproc_worker._calls.deferred import deferring, wraps

        if not wraps(function, _is_coroutine_function):
            return
        call = self.call

        def found() -> None:
            self.concurrent = True
            self.call = deferring(call, found)  # a new object, so that the native core notices

        self.call = deferring(call, found)

    def _complete_and_call(self, body: Any) -> Any:
        self.complete()
        return self.call(body)


functions: dict[str, Exposed] = {}
"""By their names."""


def register(
    name: str, body: Body | None, names: dict[str, Any], function: Callable[..., Any]
) -> None:
    """Adds a function. It replaces one of the same name, with a warning."""
    known = functions.get(name)
    if known is None:
        functions[name] = Exposed(name, function, body, names)
        return
    if not _is_same(known.function, function):
        import warnings  # only here, as it is large

        warnings.warn(f"{name!r} was exposed already; it is replaced", stacklevel=4)
    known.replace(function, body, names)


def refuse_unsupported(name: str, function: Callable[..., Any]) -> None:
    """Raises `TypeError`, with the reason, for a function that cannot be called by a client."""
    if takes_whole_body(function) or takes_a_dict(function):
        return
    import inspect

    if _is(inspect.isgeneratorfunction, function) or _is(inspect.isasyncgenfunction, function):
        raise TypeError(f"generator functions are not supported yet: make {name!r} return a list")


def _is_coroutine_function(function: Callable[..., Any]) -> bool:
    from inspect import iscoroutinefunction

    return _is(iscoroutinefunction, function)


def _is(kind: Callable[[Any], bool], function: Callable[..., Any]) -> bool:
    """Whether a function, or the `__call__` of an object, is of a kind."""
    return kind(function) or kind(type(function).__call__)


def _is_same(old: Callable[..., Any], new: Callable[..., Any]) -> bool:
    """Whether a replacement is intended: of the built-in `health`, or by a module loaded again."""
    return old in (health, new)


def health(req):  # type: ignore[no-untyped-def]  # see `untyped`
    """Shows that the worker is alive."""
    return {"status": "healthy", "pid": os.getpid()}


register("health", None, {}, health)

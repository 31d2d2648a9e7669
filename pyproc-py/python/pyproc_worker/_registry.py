"""The functions that this worker exposes, under their names."""

from __future__ import annotations

import functools
import os
import warnings

from pyproc_worker._cancel import CANCEL_EVENT
from pyproc_worker._simple import first_line, takes_whole_body

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, TypeVar, overload

    from pyproc_worker._cancel import Call

    Function = TypeVar("Function", bound=Callable[..., Any])

RESERVED = "pyproc."


class Exposed:
    """What is exposed under one name: the same object also when the function is replaced."""

    __slots__ = ("call", "cancellable", "concurrent", "function", "name", "quick")

    function: Callable[..., Any]

    call: Call
    """Runs the function with the body of a request; for a concurrent one, gives what to await."""

    concurrent: bool
    """The function is `async def`: its calls run beside the others."""

    cancellable: bool
    """It takes a `cancel_event`, so it's called by `call_with_event`."""

    quick: bool
    """The last call was so short that others' answers may wait for it."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name = name
        self.replace(function)

    def replace(self, function: Callable[..., Any]) -> None:
        """Puts another function in the place of the one before."""
        self.function = function
        self.quick = False
        if takes_whole_body(function):
            self.call, self.concurrent, self.cancellable = function, False, False
            return
        from pyproc_worker._hints import signature_of  # not before: it is large

        signature = signature_of(function)
        self.call = self._plan_and_call
        self.concurrent = _is_coroutine_function(function)
        self.cancellable = signature is not None and CANCEL_EVENT in signature.parameters

    @property
    def doc(self) -> str:
        """The first line of the documentation, or nothing."""
        if takes_whole_body(self.function):
            return first_line(self.function.__doc__)
        from inspect import getdoc

        return first_line(getdoc(self.function))

    def _plan_and_call(self, body: Any) -> Any:
        from pyproc_worker._parameters import plan

        # Not at exposure, when hints may still name classes that the script defines later.
        self.call = plan(self.function)
        return self.call(body)


functions: dict[str, Exposed] = {}


if TYPE_CHECKING:

    @overload
    def expose(function: Function) -> Function: ...
    @overload
    def expose(*, name: str | None = None) -> Callable[[Function], Function]: ...


def expose(
    function: Function | None = None, *, name: str | None = None
) -> Function | Callable[[Function], Function]:
    """Lets clients call a function; use as ``@expose`` or ``@expose(name="other")``.

    The function is returned unchanged. How the request's body reaches its parameters:

    1. No parameters: it is called with nothing; the body must be null or ``{}``.
    2. If it can be called with one positional argument, it gets the whole body as that, whatever
       it is: ``def f(req)``, ``def f(data: dict, verbose=False)``. If that parameter's
       type hint is a dataclass, the dataclass is built from the body.
    3. Otherwise the body is an object whose fields fill the parameters by name. So it is with
       two or more parameters without defaults, with keyword-only parameters,
       and when the first parameter's type hint is int, float, str, bool, None, a Literal,
       or a union of these (but not if it is positional-only or named ``req`` or ``request``):
       ``def f(text: str, limit: int = 10)``. If no more than that first parameter is needed,
       a body that is neither an object nor null is taken for its value.

    Fields that are missing, unknown, or not of the hinted type raise `InvalidRequest`. Hints
    that are checked: int, float (takes integers too), str, bool, None, list, dict, tuple, set,
    Optional, Union, Literal, dataclasses, and TypedDict as an object. Other hints let any
    value pass. ``**kwargs`` takes all other fields as they are.

    A parameter ``cancel_event`` gets a `threading.Event` that is set when the client cancels the
    request, or leaves. The function may then stop and return or raise what it likes.

    ``async def`` functions run concurrently, on one event loop in a thread of its own, beside the
    plain functions. When the client cancels a request, or leaves, its task is cancelled.

    Raises `ValueError` for a name that begins with ``pyproc.`` and `TypeError` for what cannot
    be called by name, or is a generator function. A second function of the same name
    replaces the first, with a warning.
    """
    if function is None:
        return functools.partial(_expose_as, name)
    return _expose_as(name, function)


def _expose_as(name: str | None, function: Function) -> Function:
    name = name or getattr(function, "__name__", None)
    if not isinstance(name, str) or not callable(function):
        raise TypeError(f"cannot expose {function!r}: it needs to be callable and to have a name")
    _refuse_unsupported(name, function)
    if name.startswith(RESERVED):
        raise ValueError(f"cannot expose {name!r}: names that begin with {RESERVED!r} are reserved")
    known = functions.get(name)
    if known is None:
        functions[name] = Exposed(name, function)
        return function
    if not _is_same(known.function, function):
        warnings.warn(f"{name!r} was exposed already; it is replaced", stacklevel=3)
    known.replace(function)
    return function


def _refuse_unsupported(name: str, function: Callable[..., Any]) -> None:
    if takes_whole_body(function):
        return
    import inspect

    if _is(inspect.isgeneratorfunction, function) or _is(inspect.isasyncgenfunction, function):
        raise TypeError(f"generator functions are not supported yet: make {name!r} return a list")
    _refuse_positional_only(name, function)


def _refuse_positional_only(name: str, function: Callable[..., Any]) -> None:
    """Several parameters are filled by name, which no positional-only one can be."""
    from inspect import Parameter

    from pyproc_worker._hints import signature_of

    signature = signature_of(function)
    if signature is None:
        return
    variadic = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    parameters = [p for p in signature.parameters.values() if p.kind not in variadic]
    required = [p for p in parameters if p.default is Parameter.empty and p.name != CANCEL_EVENT]
    by_name = required if len(required) > 1 else []
    for p in by_name + [p for p in parameters if p.name == CANCEL_EVENT]:
        if p.kind is Parameter.POSITIONAL_ONLY:
            raise TypeError(
                f"cannot expose {name!r}: its parameter {p.name!r} is positional-only, and to be "
                "filled by name; take the `/` out of its signature"
            )


def _is_coroutine_function(function: Callable[..., Any]) -> bool:
    from inspect import iscoroutinefunction

    return _is(iscoroutinefunction, function)


def _is(kind: Callable[[Any], bool], function: Callable[..., Any]) -> bool:
    """Whether a function, or the code of an object that can be called, is of a kind."""
    return kind(function) or kind(type(function).__call__)


def _is_same(old: Callable[..., Any], new: Callable[..., Any]) -> bool:
    """Whether a replacement is no mistake: the built-in `health`, or a module loaded again."""
    return old in (health, new)


@expose
def health(req):  # type: ignore[no-untyped-def]  # see `_simple`
    """Says that the worker is alive."""
    return {"status": "healthy", "pid": os.getpid()}

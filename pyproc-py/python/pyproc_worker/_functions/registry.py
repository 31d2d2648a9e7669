"""The functions that this worker exposes, under their names."""

from __future__ import annotations

import functools
import os
import sys
import warnings
from types import FunctionType

from pyproc_worker._calls.cancel import CANCEL_EVENT
from pyproc_worker._functions.untyped import first_line, of_objects, takes_a_dict, takes_whole_body

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, Callable, Literal, TypeVar, overload

    from pyproc_worker._calls.cancel import Call

    Function = TypeVar("Function", bound=Callable[..., Any])
    Body = Literal["whole", "fields"]

RESERVED = "pyproc."


class Exposed:
    """What is exposed under one name: the same object also when the function is replaced."""

    __slots__ = (
        "_pending", "call", "cancellable", "concurrent", "function", "name", "quick", "schema",
    )  # fmt: skip

    function: Callable[..., Any]

    call: Call
    """Runs the function with the body of a request; for a concurrent one, gives what to await."""

    concurrent: bool
    """The function is `async def`: its calls run beside the others. See `_calls.deferred`, too."""

    cancellable: bool
    """It takes a `cancel_event`, so it's called by `call_with_event`."""

    quick: bool
    """The last call was so short that others' answers may wait for it."""

    _pending: tuple[Body | None, dict[str, Any]] | None
    """What the function was exposed with, if a hint of it could not be evaluated then."""

    schema: dict[str, Any]
    """Of the bodies that it takes."""

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
        """Puts another function in the place of the one before.

        Raises `TypeError`, and leaves that there, if no body can fill the function's parameters.
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
        """Settles the hints that could not be evaluated when the function was exposed."""
        if self._pending is not None:
            self._plan(self.function, *self._pending, is_final=True)

    @property
    def doc(self) -> str:
        """The first line of the documentation, or nothing."""
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
                warnings.warn(
                    f"{self.name!r}: the hint {hint} cannot be evaluated: any value passes there",
                    stacklevel=3,
                )
        elif planned.unresolved:
            # The script may define later what they name.
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
            self.call = deferring(call, found)  # another one: the native core then looks again

        self.call = deferring(call, found)

    def _complete_and_call(self, body: Any) -> Any:
        self.complete()
        return self.call(body)


functions: dict[str, Exposed] = {}


if TYPE_CHECKING:

    @overload
    def expose(function: Function) -> Function: ...
    @overload
    def expose(function: str, *, body: Body | None = None) -> Callable[[Function], Function]: ...
    @overload
    def expose(
        *, name: str | None = None, body: Body | None = None
    ) -> Callable[[Function], Function]: ...


def expose(
    function: Function | str | None = None, *, name: str | None = None, body: Body | None = None
) -> Function | Callable[[Function], Function]:
    """Lets clients call a function; use as ``@expose``, ``@expose("other")`` or
    ``@expose(name="other")``.

    The function is returned unchanged. How the request's body reaches its parameters:

    1. No parameters: it is called with nothing; the body must be null or ``{}``.
    2. It can be called with one positional argument, and its first parameter has no hint, or is
       named ``req`` or ``request``: that gets the whole body.
    3. It has exactly one parameter: if that may be an object (a dict, a dataclass, a model, Any),
       it gets the whole body: ``def f(data: dict)``. Else it is a field of the body, or the body
       itself: ``def f(texts: list[str])`` takes ``{"texts": ["a"]}`` and ``["a"]``.
    4. It has several: the fields of the body fill them by name. A body that is no object fills the
       first one, if the others have defaults; so does an object none of whose keys names a
       parameter, if the first one may be an object.

    ``body="whole"`` or ``body="fields"`` says which of these is meant. Whatever does not fit its
    hint raises `InvalidRequest`, which names the field; so do missing and unknown fields.
    ``**kwargs`` takes all other fields as they are. Hints need msgspec, but for dict, list and Any.

    A parameter ``cancel_event`` gets a `threading.Event` that is set when the client cancels the
    request, or leaves. The function may then stop and return or raise what it likes.

    ``async def`` functions run concurrently, on one event loop in a thread of its own, beside the
    plain functions. When the client cancels a request, or leaves, its task is cancelled. So do
    plain wrappers of such functions from their first call on, if they return what is to be awaited.

    On a class it exposes the public methods, as ``Class.method`` or ``name.method``: those of its
    own and inherited ones, plain, async, class and static methods. They are called on one instance,
    which the worker makes without arguments before it serves. If the constructor raises, the
    worker does not start.

    Raises `ValueError` for a name that begins with ``pyproc.``. Raises `TypeError`, with the
    reason, for what no body can fill, a hint that no JSON value fits, generator functions, and
    methods (expose their class). A hint that cannot be evaluated lets any value pass, with a
    warning when the worker starts: until then a script may define what it names. A second function
    of the same name replaces the first, with a warning.
    """
    names = _names_of(sys._getframe(1))
    if isinstance(function, str):
        if name is not None:
            raise TypeError(f"cannot expose {function!r}: it has the name {name!r}, too")
        function, name = None, function
    if function is None:
        return functools.partial(_expose_as, name, body, names)
    return _expose_as(name, body, names, function)


def _names_of(frame: FrameType) -> dict[str, Any]:
    """The names in the function around an exposed one, which its hints may use."""
    return {} if frame.f_locals is frame.f_globals else dict(frame.f_locals)


def _expose_as(
    name: str | None, body: Body | None, names: dict[str, Any], function: Function
) -> Function:
    called = function.__func__ if isinstance(function, (staticmethod, classmethod)) else function
    name = name or getattr(called, "__name__", None)
    if not isinstance(name, str) or not callable(called):
        raise TypeError(f"cannot expose {function!r}: it needs to be callable and to have a name")
    if body not in (None, "whole", "fields"):
        raise TypeError(f'cannot expose {name!r}: body is {body!r}; it may be "whole" or "fields"')
    if name.startswith(RESERVED):
        raise ValueError(f"cannot expose {name!r}: names that begin with {RESERVED!r} are reserved")
    if isinstance(called, type):
        from pyproc_worker._functions.services import (
            expose_class,  # not before: it loads what is large
        )

        expose_class(name, body, names, called)
        return function
    _refuse_method(name, called, isinstance(function, classmethod))
    refuse_unsupported(name, called)
    register(name, body, names, called)
    return function


def register(
    name: str, body: Body | None, names: dict[str, Any], function: Callable[..., Any]
) -> None:
    """Enters a function. One that has its name already is replaced, with a warning."""
    known = functions.get(name)
    if known is None:
        functions[name] = Exposed(name, function, body, names)
        return
    if not _is_same(known.function, function):
        warnings.warn(f"{name!r} was exposed already; it is replaced", stacklevel=4)
    known.replace(function, body, names)


def _refuse_method(name: str, function: Callable[..., Any], is_classmethod: bool) -> None:
    """No call brings what a method is called on."""
    owner = getattr(function, "__qualname__", "").rpartition(".")[0]
    if not owner or owner.endswith("<locals>"):
        return
    from pyproc_worker._types.hints import signature_of

    signature = signature_of(function)
    first = next(iter(signature.parameters), "") if signature else ""
    if first in ("self", "cls") or is_classmethod:
        cls = owner.rpartition(".")[2]
        raise TypeError(
            f"cannot expose {name!r}: it is a method of {cls}, and calls bring no {first!r}; put "
            f"@expose on the class, which exposes its public methods as '{cls}.NAME' on one "
            "instance, or make it a static method"
        )


def refuse_unsupported(name: str, function: Callable[..., Any]) -> None:
    """Raises `TypeError` for a function that no call could reach, with the reason."""
    if takes_whole_body(function) or takes_a_dict(function):
        return
    import inspect

    if _is(inspect.isgeneratorfunction, function) or _is(inspect.isasyncgenfunction, function):
        raise TypeError(f"generator functions are not supported yet: make {name!r} return a list")


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
def health(req):  # type: ignore[no-untyped-def]  # see `untyped`
    """Says that the worker is alive."""
    return {"status": "healthy", "pid": os.getpid()}

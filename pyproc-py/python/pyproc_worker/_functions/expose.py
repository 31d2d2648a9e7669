"""The decorator `expose`."""

from __future__ import annotations

import functools
import sys

from pyproc_worker._functions.registry import refuse_unsupported, register

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, Callable, TypeVar, overload

    from pyproc_worker._functions.registry import Body

    Function = TypeVar("Function", bound=Callable[..., Any])

RESERVED = "pyproc."
"""The names that begin so are the worker's own."""

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
    """Exposes a function: ``@expose``, ``@expose("other")`` or ``@expose(name="other")``.

    The function is returned unchanged. The body of a request fills its parameters by this rule:

    1. No parameters: the body must be null or ``{}``.
    2. It can be called with one positional argument, and its first parameter has no hint, or is
       named ``req`` or ``request``: that parameter gets the whole body.
    3. Exactly one parameter: if it may be an object (a dict, a dataclass, a model, Any), it gets
       the whole body: ``def f(data: dict)``. Else it gets the field of its name, or the body
       itself: ``def f(texts: list[str])`` accepts ``{"texts": ["a"]}`` and ``["a"]``.
    4. Several parameters: the fields of the body fill them by name. If the others have defaults, a
       body that is not an object fills the first one; so does an object whose keys name no
       parameter, if the first one may be an object.

    ``body="whole"`` or ``body="fields"`` selects one of these. A value that does not fit its hint,
    and a missing or unknown field, raise `InvalidRequest`, which names the field. ``**kwargs`` gets
    all other fields unchanged. Hints other than dict, list and Any need msgspec.

    A parameter ``cancel_event`` gets a `threading.Event`, which is set when the client cancels the
    request or disconnects. The function may then stop and return or raise anything.

    ``async def`` functions run concurrently with plain functions, on one event loop in a thread of
    its own. When the client cancels a request or disconnects, its task is cancelled. A plain
    wrapper that returns an awaitable becomes such a function with its first call.

    On a class it exposes the public methods as ``Class.method`` or ``name.method``: its own and
    inherited ones, plain, async, class and static methods. The worker creates one instance without
    arguments before it serves. If the constructor raises, the worker does not start.

    Raises `ValueError` for a name that begins with ``pyproc.``. Raises `TypeError`, with the
    reason, for parameters that no body can fill, for hints that no JSON value fits, for generator
    functions, and for methods (expose their class). A hint that cannot be evaluated when the worker
    starts accepts any value, with a warning: until then the script may define its names. A second
    function of the same name replaces the first, with a warning.
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
        # Only here, as it loads large modules.
        from pyproc_worker._functions.services import expose_class

        expose_class(name, body, names, called)
        return function
    _refuse_method(name, called, isinstance(function, classmethod))
    refuse_unsupported(name, called)
    register(name, body, names, called)
    return function


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

"""The functions that this worker exposes, under their names."""

import functools
import inspect
import os
import warnings
from typing import Any, Callable, Optional, TypeVar, Union, overload

from pyproc_worker._errors import MethodNotFound
from pyproc_worker._parameters import Call, plan

Function = TypeVar("Function", bound=Callable[..., Any])

RESERVED = "pyproc."


class Exposed:
    """One exposed function."""

    __slots__ = ("call", "function", "name", "quick")

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name = name
        self.function = function
        self.call: Call = self._plan_and_call
        """Runs the function with the body of a request."""
        self.quick = False
        """Whether the last call was so short that others' answers may wait for it."""

    @property
    def doc(self) -> str:
        """The first line of the documentation, or nothing."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    def _plan_and_call(self, body: Any) -> Any:
        # Not at exposure, when hints may still name classes that the script defines later.
        self.call = plan(self.function)
        return self.call(body)


functions: dict[str, Exposed] = {}


def not_found(name: str) -> Exposed:
    """What is called in place of a function that is not exposed."""

    def call(body: Any) -> Any:
        raise MethodNotFound(name)

    stand_in = Exposed(name, call)
    stand_in.quick = True
    return stand_in


@overload
def expose(function: Function) -> Function: ...
@overload
def expose(*, name: Optional[str] = None) -> Callable[[Function], Function]: ...


def expose(
    function: Optional[Function] = None, *, name: Optional[str] = None
) -> Union[Function, Callable[[Function], Function]]:
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

    A parameter ``cancel_event`` gets a `threading.Event`. This release never sets
    it: a request that is cancelled in time is not started at all.

    Raises `ValueError` for a name that begins with ``pyproc.`` and `TypeError` for what cannot
    be called by name, or is an async or generator function. A second function of the same name
    replaces the first, with a warning.
    """
    if function is None:
        return functools.partial(_expose_as, name)
    return _expose_as(name, function)


def _expose_as(name: Optional[str], function: Function) -> Function:
    name = name or getattr(function, "__name__", None)
    if not isinstance(name, str) or not callable(function):
        raise TypeError(f"cannot expose {function!r}: it needs to be callable and to have a name")
    _refuse_unsupported(name, function)
    if name.startswith(RESERVED):
        raise ValueError(f"cannot expose {name!r}: names that begin with {RESERVED!r} are reserved")
    if name in functions and not _is_same(functions[name].function, function):
        warnings.warn(f"{name!r} was exposed already; it is replaced", stacklevel=3)
    functions[name] = Exposed(name, function)
    return function


def _refuse_unsupported(name: str, function: Callable[..., Any]) -> None:
    for code in (function, type(function).__call__):  # the latter is an object's own code
        if inspect.iscoroutinefunction(code) or inspect.isasyncgenfunction(code):
            raise TypeError(
                f"async functions are not supported yet: make {name!r} a plain function, "
                "which may call asyncio.run()"
            )
        if inspect.isgeneratorfunction(code):
            raise TypeError(
                f"generator functions are not supported yet: make {name!r} return a list"
            )


def _is_same(old: Callable[..., Any], new: Callable[..., Any]) -> bool:
    """Whether a replacement is no mistake: the built-in `health`, or a module loaded again."""
    return old in (health, new)


@expose
def health(req: Any) -> dict[str, Any]:
    """Says that the worker is alive."""
    return {"status": "healthy", "pid": os.getpid()}

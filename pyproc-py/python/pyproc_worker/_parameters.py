"""How the body of a request becomes the arguments of a function.

The plan is made once for a function; a call then only carries it out.
"""

from __future__ import annotations

import functools
import inspect
import typing
from inspect import Parameter
from typing import Any, Callable, Literal

from pyproc_worker._cancel import CANCEL_EVENT, giving_event
from pyproc_worker._hints import hints_of, signature_of
from pyproc_worker._values import (
    UNIONS,
    Reader,
    is_dataclass,
    mismatch,
    read_dataclass,
    read_fields,
    reader_of,
)

if typing.TYPE_CHECKING:
    from pyproc_worker._cancel import Call

_SCALARS = (bool, int, float, str, None, type(None))
_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_VARIADIC = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


class Shape:
    """What a function wants: `nothing`, the `whole` body, a `dataclass` made of it, or `fields`.

    `parameters` are those that the body fills.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        signature = signature_of(function)
        self.hints = hints_of(function)
        self.parameters: list[Parameter] = []
        self.wants_cancel_event = False
        self.kind: Literal["nothing", "whole", "dataclass", "fields"] = "whole"
        if signature is not None:
            self.parameters = [p for p in signature.parameters.values() if p.name != CANCEL_EVENT]
            self.wants_cancel_event = CANCEL_EVENT in signature.parameters
            self.kind = self._kind()

    def hint(self, parameter: Parameter) -> Any:
        """The parameter's type hint; Any if it has none that makes sense."""
        return self.hints.get(parameter.name, Any)

    @property
    def fields(self) -> list[Parameter]:
        """The parameters that are filled by name."""
        return [p for p in self.parameters if p.kind not in _VARIADIC]

    @property
    def takes_any_field(self) -> bool:
        """Whether there is a ``**kwargs``."""
        return any(p.kind is Parameter.VAR_KEYWORD for p in self.parameters)

    def _kind(self) -> Literal["nothing", "whole", "dataclass", "fields"]:
        if not self.parameters:
            return "nothing"
        first, *rest = self.parameters
        if first.kind is Parameter.VAR_POSITIONAL:
            return "whole"
        if first.kind not in _POSITIONAL or any(map(_is_required, rest)):
            return "fields"
        hint = self.hint(first)
        if is_dataclass(hint):
            return "dataclass"
        by_name = _is_scalar(hint) and first.kind is not Parameter.POSITIONAL_ONLY
        return "fields" if by_name and first.name not in ("req", "request") else "whole"


def plan(function: Callable[..., Any]) -> Call:
    """The way to call `function` with the body of a request. See `expose` for the rule."""
    shape = Shape(function)
    if shape.wants_cancel_event:
        function = giving_event(function)
    if shape.kind == "whole":
        return function
    if shape.kind == "nothing":
        return functools.partial(_call_with_nothing, function)
    if shape.kind == "dataclass":
        build = functools.partial(read_dataclass, shape.hint(shape.parameters[0]))
        return lambda body: function(build(body, ""))
    return _call_by_name(function, shape)


def _call_with_nothing(function: Callable[[], Any], body: Any) -> Any:
    if body is not None and body != {}:
        raise mismatch("null or {}, since the function takes no parameters", body, "")
    return function()


def _call_by_name(function: Callable[..., Any], shape: Shape) -> Call:
    readers = {p.name: reader_of(shape.hint(p)) for p in shape.fields}
    required = frozenset(p.name for p in shape.fields if _is_required(p))
    fields = _AnyField(readers) if shape.takes_any_field else readers
    only = shape.fields[0].name if len(required) <= 1 and _takes_bare_value(shape) else None

    def call(body: Any) -> Any:
        if only is not None and type(body) is not dict and body is not None:
            return function(**{only: readers[only](body, only)})
        return function(**read_fields(fields, required, {} if body is None else body, ""))

    return call


class _AnyField(dict[str, Reader]):
    """Readers for a function with ``**kwargs``: what it does not name passes as it is."""

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> Reader:
        return lambda value, path: value


def _takes_bare_value(shape: Shape) -> bool:
    """Whether a body that is no object can only mean the first parameter."""
    first = shape.parameters[0]
    return first.kind in _POSITIONAL and not any(map(_is_required, shape.parameters[1:]))


def _is_required(parameter: Parameter) -> bool:
    return parameter.default is inspect.Parameter.empty and parameter.kind not in _VARIADIC


def _is_scalar(hint: Any) -> bool:
    """Whether no JSON array or object could be meant by `hint`."""
    origin = typing.get_origin(hint)
    if origin in UNIONS:
        return all(map(_is_scalar, typing.get_args(hint)))
    return origin is Literal or any(hint is scalar for scalar in _SCALARS)

"""How the body of a request fills the parameters of a function. `expose` documents the rule.

The plan is made once for a function; a call only executes it.
"""

from __future__ import annotations

from inspect import Parameter
from typing import Any, Callable, NamedTuple

from pyproc_worker._calls.cancel import CANCEL_EVENT, giving_event
from pyproc_worker._functions.by_name import ByName
from pyproc_worker._functions.untyped import REQUEST
from pyproc_worker._types.adapter import Adapter, Schema
from pyproc_worker._types.adapters import HintAdapters
from pyproc_worker._types.hints import hints_of, signature_of
from pyproc_worker._types.readers import Read
from pyproc_worker._types.schema import complete
from pyproc_worker._types.validation import ValidationError, wrong_type

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyproc_worker._calls.cancel import Call

_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_VARIADIC = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


class Plan(NamedTuple):
    """How to call a function with the body of a request."""

    call: Call
    schema: Schema
    """The schema of the bodies."""
    unresolved: list[str]
    """Hints that could not be evaluated: their parameters accept any value."""


def plan(
    function: Callable[..., Any], body: str | None = None, names: Mapping[str, Any] | None = None
) -> Plan:
    """The plan for `function`, whose hints may use the `names` around it.

    `body` is "whole", "fields", or None for the rule of `expose`. Raises `TypeError`, with the
    reason, if no body can fill the parameters.
    """
    signature = signature_of(function)
    if signature is None:
        if body == "fields":
            raise TypeError("its parameters are unknown, so no field can fill them")
        return Plan(function, {}, [])
    hints, scope = hints_of(function, names or {})
    parameters = [p for p in signature.parameters.values() if p.name != CANCEL_EVENT]
    adapters = HintAdapters()
    by_parameter = {
        p.name: adapters.of(hints.get(p.name, Any), scope, f"its parameter {p.name!r}")
        for p in parameters
    }
    if any(adapter.needs_msgspec for adapter in by_parameter.values()):
        _require_msgspec()
    if CANCEL_EVENT in signature.parameters:
        _refuse_positional_only([signature.parameters[CANCEL_EVENT]])
        function = giving_event(function)
    if not parameters:
        return Plan(_calling_with_nothing(function), _NOTHING, [])
    hinted = {p.name for p in parameters if p.name in hints}
    call, schema = _filled(function, parameters, by_parameter, hinted, body)
    return Plan(call, complete(schema, adapters.definitions), adapters.unresolved)


def _require_msgspec() -> None:
    try:
        import msgspec  # noqa: F401
    except ImportError:
        raise TypeError(
            "its hints need msgspec, which is not installed: pip install msgspec"
        ) from None


def _filled(
    function: Callable[..., Any],
    parameters: list[Parameter],
    adapters: dict[str, Adapter],
    hinted: set[str],
    body: str | None,
) -> tuple[Call, Schema]:
    """The call, and the schema of the bodies."""
    first, *rest = parameters
    adapter = adapters[first.name]
    by_position = (*_POSITIONAL, Parameter.VAR_POSITIONAL)
    takes_one = first.kind in by_position and not any(map(_is_required, rest))
    if body == "whole" and not takes_one:
        raise TypeError('body="whole" needs a function that one positional argument is enough for')
    fields = [p for p in parameters if p.kind not in _VARIADIC]
    others = next((adapters[p.name] for p in parameters if p.kind is Parameter.VAR_KEYWORD), None)
    is_only = len(fields) == 1 and others is None
    if takes_one and body != "fields":
        has_no_name = first.kind in (Parameter.POSITIONAL_ONLY, Parameter.VAR_POSITIONAL)
        is_request = first.name not in hinted or first.name in REQUEST
        if body or has_no_name or is_request or (is_only and adapter.admits_objects):
            return _calling_with_whole(function, adapter), adapter.schema
    _refuse_positional_only(fields)
    alone = first.name if takes_one or (is_only and not adapter.admits_objects) else None
    by_name = ByName(
        {p.name: adapters[p.name] for p in fields},
        [p.name for p in fields if _is_required(p)],
        others,
        alone=None if body == "fields" else alone,
        may_be_whole=takes_one and adapter.admits_objects and body != "fields",
    )
    return _calling_by_name(function, by_name.reader()), by_name.schema()


def _is_required(parameter: Parameter) -> bool:
    return parameter.default is Parameter.empty and parameter.kind not in _VARIADIC


def _refuse_positional_only(fields: list[Parameter]) -> None:
    for p in fields:
        if p.kind is Parameter.POSITIONAL_ONLY:
            raise TypeError(
                f"its parameter {p.name!r} is positional-only, and to be filled by name; take the "
                "`/` out of its signature"
            )


_NOTHING: Schema = {"type": ["object", "null"], "maxProperties": 0}


def _calling_with_nothing(function: Callable[[], Any]) -> Call:
    def call(body: Any) -> Any:
        if body is not None and body != {}:
            wanted = "null or {}, since the function takes no parameters"
            raise wrong_type(wanted, body).refusal()
        return function()

    return call


def _calling_with_whole(function: Call, adapter: Adapter) -> Call:
    if adapter.type is Any:
        return function
    read = adapter.reader()

    def call(body: Any) -> Any:
        try:
            argument = read(body)
        except ValidationError as failure:
            raise failure.refusal() from failure.__cause__
        return function(argument)

    return call


def _calling_by_name(function: Callable[..., Any], read: Read) -> Call:
    def call(body: Any) -> Any:
        try:
            arguments = read(body)
        except ValidationError as failure:
            raise failure.refusal() from failure.__cause__
        return function(**arguments)

    return call

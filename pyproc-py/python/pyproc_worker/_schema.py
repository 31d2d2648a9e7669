"""JSON Schema of parameters and results, from type hints. `{}` accepts anything."""

import dataclasses
import typing
from typing import Any, Callable, Literal

from pyproc_worker._hints import hints_of
from pyproc_worker._parameters import Shape
from pyproc_worker._values import UNIONS, is_dataclass, is_typeddict

Schema = dict[str, Any]

_PRIMITIVES = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    type(None): "null",
    dict: "object",
    list: "array",
    tuple: "array",
    set: "array",
    frozenset: "array",
}


def parameters_schema(function: Callable[..., Any]) -> Schema:
    """The schema of the body that `function` takes."""
    shape = Shape(function)
    if shape.kind == "nothing":
        return {"type": ["object", "null"], "maxProperties": 0}
    if shape.kind != "fields":
        return schema_of(shape.hint(shape.parameters[0])) if shape.parameters else {}
    required = [p.name for p in shape.fields if p.default is p.empty]
    fields = {p.name: shape.hint(p) for p in shape.fields}
    return _object(fields, required, (), others=shape.takes_any_field)


def returns_schema(function: Callable[..., Any]) -> Schema:
    """The schema of what `function` returns."""
    return schema_of(hints_of(function).get("return", Any))


def schema_of(hint: Any, outer: tuple[Any, ...] = ()) -> Schema:
    """The schema of one hint. `outer` are the classes around it: one within itself is `{}`."""
    origin, arguments = typing.get_origin(hint) or hint, typing.get_args(hint)
    if hint is None:
        return {"type": "null"}
    if origin in UNIONS:
        return {"anyOf": [schema_of(member, outer) for member in arguments]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is dict and len(arguments) == 2:
        return {"type": "object", "additionalProperties": schema_of(arguments[1], outer)}
    if origin in (list, tuple, set, frozenset) and arguments:
        return _array(origin, arguments, outer)
    if is_dataclass(hint) or is_typeddict(hint):
        return {} if hint in outer else _class(hint, (*outer, hint))
    try:
        return {"type": _PRIMITIVES[origin]}
    except (KeyError, TypeError):
        return {}


def _array(kind: Any, items: tuple[Any, ...], outer: tuple[Any, ...]) -> Schema:
    if kind is not tuple or items[-1] is Ellipsis:
        return {"type": "array", "items": schema_of(items[0], outer)}
    schemas = [schema_of(item, outer) for item in items]
    size = len(schemas)
    return {"type": "array", "prefixItems": schemas, "minItems": size, "maxItems": size}


def _class(cls: Any, outer: tuple[Any, ...]) -> Schema:
    hints = hints_of(cls)
    if is_typeddict(cls):
        return _object(hints, sorted(cls.__required_keys__), outer, others=True)
    fields = [field for field in dataclasses.fields(cls) if field.init]
    required = [
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    hints = {field.name: hints.get(field.name, Any) for field in fields}
    return _object(hints, required, outer, others=False)


def _object(
    fields: dict[str, Any], required: list[str], outer: tuple[Any, ...], others: bool
) -> Schema:
    schema: Schema = {
        "type": "object",
        "properties": {name: schema_of(hint, outer) for name, hint in fields.items()},
    }
    if required:
        schema["required"] = required
    if not others:
        schema["additionalProperties"] = False
    return schema

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
    classes = _Classes()
    return classes.define_in(_object(fields, required, classes, others=shape.takes_any_field))


def returns_schema(function: Callable[..., Any]) -> Schema:
    """The schema of what `function` returns."""
    return schema_of(hints_of(function).get("return", Any))


def schema_of(hint: Any) -> Schema:
    """The schema of one hint. Each class within it is described once, under ``$defs``."""
    if not _is_class(hint):
        classes = _Classes()
        return classes.define_in(_schema(hint, classes))
    classes = _Classes(root=hint)
    return classes.define_in(_class(hint, classes))


class _Classes:
    """The classes in one schema: it refers to them, and describes each of them once."""

    def __init__(self, root: Any = None) -> None:
        self._references = {} if root is None else {root: "#"}
        self._named: dict[str, Any] = {}
        self._undescribed: list[str] = []

    def reference(self, cls: Any) -> Schema:
        if cls not in self._references:
            name = cls.__name__
            while name in self._named:
                name += "_"
            self._named[name] = cls
            self._undescribed.append(name)
            self._references[cls] = f"#/$defs/{name}"
        return {"$ref": self._references[cls]}

    def define_in(self, schema: Schema) -> Schema:
        """`schema` with the descriptions of the classes that it refers to."""
        definitions = {}
        for name in self._undescribed:  # grows with the classes within classes
            definitions[name] = _class(self._named[name], self)
        return {**schema, "$defs": definitions} if definitions else schema


def _schema(hint: Any, classes: _Classes) -> Schema:
    origin, arguments = typing.get_origin(hint) or hint, typing.get_args(hint)
    if hint is None:
        return {"type": "null"}
    if origin in UNIONS:
        return {"anyOf": [_schema(member, classes) for member in arguments]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is dict and len(arguments) == 2:
        return {"type": "object", "additionalProperties": _schema(arguments[1], classes)}
    if origin in (list, tuple, set, frozenset) and arguments:
        return _array(origin, arguments, classes)
    if _is_class(hint):
        return classes.reference(hint)
    try:
        return {"type": _PRIMITIVES[origin]}
    except (KeyError, TypeError):
        return {}


def _is_class(hint: Any) -> bool:
    return is_dataclass(hint) or is_typeddict(hint)


def _array(kind: Any, items: tuple[Any, ...], classes: _Classes) -> Schema:
    if kind is not tuple or items[-1] is Ellipsis:
        return {"type": "array", "items": _schema(items[0], classes)}
    schemas = [_schema(item, classes) for item in items]
    size = len(schemas)
    return {"type": "array", "prefixItems": schemas, "minItems": size, "maxItems": size}


def _class(cls: Any, classes: _Classes) -> Schema:
    hints = hints_of(cls)
    if is_typeddict(cls):
        return _object(hints, sorted(cls.__required_keys__), classes, others=True)
    fields = [field for field in dataclasses.fields(cls) if field.init]
    required = [
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    hints = {field.name: hints.get(field.name, Any) for field in fields}
    return _object(hints, required, classes, others=False)


def _object(fields: dict[str, Any], required: list[str], classes: _Classes, others: bool) -> Schema:
    schema: Schema = {
        "type": "object",
        "properties": {name: _schema(hint, classes) for name, hint in fields.items()},
    }
    if required:
        schema["required"] = required
    if not others:
        schema["additionalProperties"] = False
    return schema

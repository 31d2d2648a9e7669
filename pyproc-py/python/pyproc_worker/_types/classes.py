"""Adapters of classes: dataclasses, attrs, TypedDict, named tuples, Enum, msgspec and pydantic.

A class with a constructor is built by it.
"""

import dataclasses
import enum
import inspect
import typing
from inspect import Parameter
from typing import Any, Generic, Optional

from pyproc_worker._types import pydantic_models
from pyproc_worker._types.adapter import (
    Adapter,
    Adapters,
    Schema,
    Unsupported,
    anything,
    bare,
    substituted,
)
from pyproc_worker._types.containers import tuple_adapter
from pyproc_worker._types.hints import Scope, annotations_of
from pyproc_worker._types.readers import (
    Read,
    construct,
    custom_type,
    fields_reader,
    reader_when_needed,
)
from pyproc_worker._types.unions import choice, flags
from pyproc_worker._types.validation import wrong_type

_OBJECT = ("object",)


def of_class(adapters: Adapters, hint: Any, scope: Scope, place: str) -> Optional[Adapter]:
    """The adapter of a class, perhaps with arguments. None if no JSON value fits the class."""
    cls = typing.get_origin(hint) or hint
    if not isinstance(cls, type):
        return None
    if issubclass(cls, enum.Enum) and cls.__members__:
        return flags(cls) if issubclass(cls, enum.Flag) else choice(cls, place)
    if pydantic_models.is_its(cls):
        return pydantic_models.adapter_of(adapters, hint, place)
    if _is_typed_dict(cls):
        return adapters.named(
            hint, cls.__name__, _OBJECT, lambda _: _typed_dict(adapters, hint, scope)
        )
    if hasattr(cls, "__struct_fields__"):
        return _struct(adapters, hint, place)
    if dataclasses.is_dataclass(cls) or hasattr(cls, "__attrs_attrs__"):
        define = _written if adapters.of_results else _built
        return adapters.named(
            hint, cls.__name__, _OBJECT, lambda _: define(adapters, hint, scope, place)
        )
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        kinds = ("array",)
        return adapters.named(
            hint, cls.__name__, kinds, lambda _: _named_tuple(adapters, hint, scope)
        )
    base = next((base for base in (str, int, float) if issubclass(cls, base)), None)
    return None if base is None else _subclass(adapters, cls, base, scope, place)


# Classes that are built by their constructor


def _built(adapters: Adapters, hint: Any, scope: Scope, place: str) -> tuple[Schema, Read, bool]:
    cls = typing.get_origin(hint) or hint
    hints = _constructor_hints(hint, scope)
    field_of = _fields_of_parameters(cls)
    fields: dict[str, Adapter] = {}
    required = []
    others: Optional[Adapter] = None
    for parameter in inspect.signature(cls).parameters.values():
        name = field_of.get(parameter.name, parameter.name)
        if parameter.kind is Parameter.POSITIONAL_ONLY:
            raise Unsupported(f"{place}: {name!r} of {cls.__name__} is positional-only")
        if parameter.kind is Parameter.VAR_KEYWORD:
            others = anything()
        elif parameter.kind is not Parameter.VAR_POSITIONAL:
            fields[name] = adapters.of(*hints[parameter.name], f"{cls.__name__}.{name}")
            if parameter.default is Parameter.empty:
                required.append(name)
    read_fields = fields_reader(types_of(fields), frozenset(required), others and Any)

    parameter_of = {field: parameter for parameter, field in field_of.items()}

    def read(value: Any) -> Any:
        found = read_fields(value)
        if parameter_of:
            found = {parameter_of.get(name, name): item for name, item in found.items()}
        return construct(cls, **found)

    return object_schema(fields, required, others), read, cls.__hash__ is not None


def _written(adapters: Adapters, hint: Any, scope: Scope, place: str) -> tuple[Schema, Read, bool]:
    """The adapter of a result, which has all fields and no others."""
    cls = typing.get_origin(hint) or hint
    hints = class_hints(hint, scope)
    fields = {}
    is_attrs = hasattr(cls, "__attrs_attrs__")
    for field in cls.__attrs_attrs__ if is_attrs else dataclasses.fields(cls):
        value, own_scope, _ = hints.get(field.name, (Any, scope, Any))
        fields[field.name] = adapters.of(value, own_scope, f"{cls.__name__}.{field.name}")
    read = reader_when_needed(Any)  # never called: results are not read
    return object_schema(fields, list(fields), None), read, cls.__hash__ is not None


def _constructor_hints(hint: Any, scope: Scope) -> dict[str, tuple[Any, Scope]]:
    """The hints of the constructor's parameters.

    A generated constructor has the hints of the fields.
    """
    cls = typing.get_origin(hint) or hint
    of_fields = class_hints(hint, scope)
    field_of = _fields_of_parameters(cls)
    written = annotations_of(cls.__init__)
    own_scope = scope.of_class(cls)
    hints = {}
    for name in inspect.signature(cls).parameters:
        field = of_fields.get(field_of.get(name, name))
        is_generated = field is not None and written.get(name, field[0]) in (field[2], field[0])
        if field is not None and is_generated:
            hints[name] = field[:2]
        else:
            hints[name] = (written.get(name, Any), own_scope)
    return hints


def _fields_of_parameters(cls: Any) -> dict[str, str]:
    """The fields of an attrs class whose parameters are called otherwise: `x` for `_x`."""
    fields = getattr(cls, "__attrs_attrs__", ())
    names = {getattr(f, "alias", None) or f.name.lstrip("_"): f.name for f in fields}
    return {parameter: name for parameter, name in names.items() if parameter != name}


def class_hints(hint: Any, scope: Scope) -> dict[str, tuple[Any, Scope, Any]]:
    """The hints of a class and its bases: each evaluated if possible, its scope, its source."""
    cls = typing.get_origin(hint) or hint
    arguments = _arguments_of_bases(hint)
    hints = {}
    for base in reversed(cls.__mro__):
        own_scope = scope.of_class(base)
        for name, written in annotations_of(base).items():
            evaluated = _evaluated(written, own_scope, arguments.get(base, {}))
            hints[name] = (evaluated, own_scope, written)
    return hints


def _evaluated(hint: Any, scope: Scope, arguments: dict[Any, Any]) -> Any:
    text = getattr(hint, "__forward_arg__", hint)
    if isinstance(text, str):
        try:
            hint = scope.evaluate(text)
        except Exception:  # reported when its adapter is needed
            return hint
    return substituted(bare(hint), arguments)


def _arguments_of_bases(hint: Any) -> dict[Any, dict[Any, Any]]:
    """The arguments of the type variables of a class and of its bases."""
    cls = typing.get_origin(hint) or hint
    found: dict[Any, dict[Any, Any]] = {}

    def visit(cls: Any, arguments: dict[Any, Any]) -> None:
        found.setdefault(cls, arguments)
        for base in getattr(cls, "__orig_bases__", ()):
            origin = typing.get_origin(base)
            if origin not in (None, Generic):
                variables = getattr(origin, "__parameters__", ())
                values = (substituted(value, arguments) for value in typing.get_args(base))
                visit(origin, dict(zip(variables, values)))

    visit(cls, dict(zip(getattr(cls, "__parameters__", ()), typing.get_args(hint))))
    return found


def types_of(fields: dict[str, Adapter]) -> dict[str, Any]:
    """The types of fields, for msgspec."""
    return {name: adapter.type for name, adapter in fields.items()}


def object_schema(
    fields: dict[str, Adapter], required: list[str], others: Optional[Adapter]
) -> Schema:
    """The schema of an object with these fields, and perhaps others."""
    schema: Schema = {
        "type": "object",
        "properties": {name: adapter.schema for name, adapter in fields.items()},
    }
    if required:
        schema["required"] = required
    if others is None:
        schema["additionalProperties"] = False
    elif others.schema:
        schema["additionalProperties"] = others.schema
    return schema


# Others


def _is_typed_dict(cls: Any) -> bool:
    return issubclass(cls, dict) and hasattr(cls, "__total__")


def _typed_dict(adapters: Adapters, hint: Any, scope: Scope) -> tuple[Schema, Read, bool]:
    cls = typing.get_origin(hint) or hint
    fields, required = {}, []
    for name, (value, own_scope, written) in class_hints(hint, scope).items():
        fields[name] = adapters.of(value, own_scope, f"{cls.__name__}.{name}")
        mark = _mark(written, own_scope)
        if mark == "Required" or (name in cls.__required_keys__ and mark != "NotRequired"):
            required.append(name)
    read = fields_reader(types_of(fields), frozenset(required), others=Any)
    return object_schema(fields, required, anything()), read, False


def _mark(written: Any, scope: Scope) -> Optional[str]:
    """`Required` or `NotRequired`, which a TypedDict does not see in a hint that is a text."""
    text = getattr(written, "__forward_arg__", written)
    if isinstance(text, str):
        try:
            written = scope.evaluate(text)
        except Exception:  # any value is admitted there
            return None
    return getattr(typing.get_origin(written), "_name", None)


def _named_tuple(adapters: Adapters, hint: Any, scope: Scope) -> tuple[Schema, Read, bool]:
    cls: Any = typing.get_origin(hint) or hint
    hints = class_hints(hint, scope)
    items = []
    for name in cls._fields:
        value, own_scope, _ = hints.get(name, (Any, scope, Any))
        items.append(adapters.of(value, own_scope, f"{cls.__name__}.{name}"))
    least = len(items) - len(cls._field_defaults)
    readers: dict[int, Read] = {}

    def read(value: Any) -> Any:
        if not isinstance(value, (list, tuple)):
            raise wrong_type("an array", value)
        size = min(max(len(value), least), len(items))
        if size not in readers:
            readers[size] = reader_when_needed(tuple_adapter(items[:size], size).type)
        return construct(cls, *readers[size](value))

    adapter = tuple_adapter(items, least)
    return adapter.schema, read, adapter.is_hashable


def _struct(adapters: Adapters, hint: Any, place: str) -> Adapter:
    """The adapter of a struct of msgspec: msgspec has the type and the schema."""
    import msgspec

    cls = typing.get_origin(hint) or hint
    try:
        (schema,), found = msgspec.json.schema_components([hint], ref_template="#/$defs/{name}")
        msgspec.json.Decoder(hint)
    except Exception as error:  # of many kinds, for as many reasons
        raise Unsupported(f"{place} wants {cls.__name__}: {error}") from None
    adapters.definitions.update(found)
    kind = "array" if cls.__struct_config__.array_like else "object"
    return Adapter(hint, schema, kind, is_hashable=cls.__struct_config__.frozen, as_written=())


def _subclass(adapters: Adapters, cls: Any, base: Any, scope: Scope, place: str) -> Adapter:
    adapter = adapters.of(base, scope, place)
    read_base = reader_when_needed(base)

    def read(value: Any) -> Any:
        return construct(cls, read_base(value))

    return Adapter(
        custom_type(cls.__name__, read), adapter.schema, *adapter.kinds, is_lossy=adapter.is_lossy
    )

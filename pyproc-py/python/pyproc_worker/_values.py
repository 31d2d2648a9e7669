"""Checks the JSON values in a body against type hints, and builds what the hints name."""

import dataclasses
import functools
import sys
import types
import typing
from typing import Any, Callable, Literal, Union

from pyproc_worker._errors import InvalidRequest
from pyproc_worker._hints import hints_of

Reader = Callable[[Any, str], Any]
"""Takes a JSON value and its path in the body; returns the argument or raises InvalidRequest."""

UNIONS = (Union, types.UnionType) if sys.version_info >= (3, 10) else (Union,)

_NAMES = {
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    str: "a string",
    type(None): "null",
    list: "an array",
    dict: "an object",
}


def reader_of(hint: Any) -> Reader:
    """The reader for a type hint. Hints that JSON has no type for let any value pass."""
    origin, arguments = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin is float:
        return _read_float
    if origin is None or origin in (bool, int, str, type(None)):
        return _exactly(type(None) if origin is None else origin)
    if origin in UNIONS:
        return _read_union(arguments)
    if origin is Literal:
        return _read_literal(arguments)
    if origin in (list, tuple, set, frozenset):
        return _read_array(origin, arguments)
    if origin is dict:
        return _read_mapping(arguments)
    if is_typeddict(hint):
        return _exactly(dict)
    if is_dataclass(hint):
        return functools.partial(read_dataclass, hint)
    return _read_anything


def is_dataclass(hint: Any) -> bool:
    """Whether `hint` is a dataclass itself, not an instance of one."""
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)


def is_typeddict(hint: Any) -> bool:
    """Whether `hint` is a TypedDict."""
    return isinstance(hint, type) and issubclass(hint, dict) and hasattr(hint, "__total__")


def read_fields(
    readers: dict[str, Reader], required: frozenset[str], value: Any, path: str
) -> dict[str, Any]:
    """The arguments that an object's fields make; none may be missing, none unknown."""
    if type(value) is not dict:
        raise mismatch("an object", value, path)
    missing = required.difference(value)
    if missing:
        raise InvalidRequest(f"missing {_field(_join(path, min(missing)))}")
    for name in value:
        if name not in readers:
            known = ", ".join(readers) or "none"
            raise InvalidRequest(f"unknown {_field(_join(path, name))}; known are: {known}")
    return {name: readers[name](item, _join(path, name)) for name, item in value.items()}


def mismatch(wanted: str, value: Any, path: str) -> InvalidRequest:
    """The error that says what a field must be, and what it is."""
    found = _NAMES.get(type(value), type(value).__name__)
    return InvalidRequest(f"{_field(path)} must be {wanted}, not {found}")


def read_dataclass(cls: Any, value: Any, path: str) -> Any:
    """An instance of the dataclass `cls`, made of an object's fields."""
    readers, required = _fields_of(cls)
    return cls(**read_fields(readers, required, value, path))


@functools.cache
def _fields_of(cls: Any) -> tuple[dict[str, Reader], frozenset[str]]:
    hints = hints_of(cls)
    fields = [field for field in dataclasses.fields(cls) if field.init]
    required = (
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    )
    readers = {field.name: reader_of(hints.get(field.name, Any)) for field in fields}
    return readers, frozenset(required)


def _read_anything(value: Any, path: str) -> Any:
    return value


def _read_float(value: Any, path: str) -> float:
    if type(value) is float or type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise InvalidRequest(f"{_field(path)} is too large for a float") from None
    raise mismatch("a number", value, path)


def _exactly(kind: type) -> Reader:
    def read(value: Any, path: str) -> Any:
        if type(value) is not kind:
            raise mismatch(_NAMES[kind], value, path)
        return value

    return read


def _read_union(members: tuple[Any, ...]) -> Reader:
    readers = [reader_of(member) for member in members]

    def read(value: Any, path: str) -> Any:
        refusals = []
        for reader in readers:
            try:
                return reader(value, path)
            except InvalidRequest as error:
                refusals.append(str(error))
        raise InvalidRequest("; or ".join(refusals))

    return read


def _read_literal(values: tuple[Any, ...]) -> Reader:
    def read(value: Any, path: str) -> Any:
        if not any(value == one and type(value) is type(one) for one in values):
            choices = ", ".join(repr(one) for one in values)
            raise InvalidRequest(f"{_field(path)} must be one of {choices}")
        return value

    return read


def _read_array(kind: Any, items: tuple[Any, ...]) -> Reader:
    if kind is tuple and items and items[-1] is not Ellipsis:
        return _read_tuple([reader_of(item) for item in items])
    item_reader = reader_of(items[0]) if items else _read_anything

    def read(value: Any, path: str) -> Any:
        if type(value) is not list:
            raise mismatch("an array", value, path)
        checked = [item_reader(item, f"{path}[{i}]") for i, item in enumerate(value)]
        try:
            return checked if kind is list else kind(checked)
        except TypeError:
            raise InvalidRequest(f"{_field(path)} must not contain arrays or objects") from None

    return read


def _read_tuple(readers: list[Reader]) -> Reader:
    def read(value: Any, path: str) -> Any:
        if type(value) is not list or len(value) != len(readers):
            raise mismatch(f"an array of {len(readers)} items", value, path)
        return tuple(
            reader(item, f"{path}[{i}]") for i, (reader, item) in enumerate(zip(readers, value))
        )

    return read


def _read_mapping(arguments: tuple[Any, ...]) -> Reader:
    item_reader = reader_of(arguments[1]) if len(arguments) == 2 else _read_anything

    def read(value: Any, path: str) -> Any:
        if type(value) is not dict:
            raise mismatch("an object", value, path)
        return {key: item_reader(item, _join(path, key)) for key, item in value.items()}

    return read


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _field(path: str) -> str:
    return f"field '{path}'" if path else "the body"

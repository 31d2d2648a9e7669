"""Readers convert JSON values to the types of hints, by msgspec, and locate values that do not fit.

A `CustomType` within a type makes msgspec call a function of this package.
"""

from __future__ import annotations

import re
from typing import Any, Callable

from pyproc_worker._types.validation import (
    ValidationError,
    invalid_value,
    missing_field,
    name_of,
    unknown_field,
    wrong_type,
)

Read = Callable[[Any], Any]
"""Converts a JSON value, or raises `ValidationError`."""


class CustomType(type):
    """The type of types that msgspec does not know: `read` converts their values."""

    read: Read

    def __instancecheck__(cls, instance: Any) -> bool:
        return True  # msgspec checks the type of a converted value


def custom_type(name: str, read: Read) -> CustomType:
    """A type whose values `read` converts."""
    return CustomType(name, (), {"read": staticmethod(read)})


def construct(cls: Any, /, *arguments: Any, **fields: Any) -> Any:
    """Calls a constructor. Raises `ValidationError` if its own checks refuse the values.

    Those are the exceptions that validators of pydantic, attrs and msgspec raise. Any other
    exception is an error of the constructor.
    """
    try:
        return cls(*arguments, **fields)
    except (ValueError, TypeError, AssertionError) as error:
        raise invalid_value(str(error) or type(error).__name__) from error


def _as_it_is(value: Any) -> Any:
    return value


def _object(value: Any) -> Any:
    if type(value) is not dict:
        raise wrong_type("an object", value)
    return value


def _array(value: Any) -> Any:
    if type(value) is not list:
        raise wrong_type("an array", value)
    return value


def _with_keys_of_text(value: Any) -> Any:
    if not set(map(type, _object(value))) <= {str}:  # which MessagePack may have
        raise ValidationError(" must have keys that are strings")
    return value


DICT_OF_TEXTS = custom_type("dict", _with_keys_of_text)

PLAIN: dict[Any, Read] = {
    Any: _as_it_is,
    dict: _object,
    list: _array,
    DICT_OF_TEXTS: _with_keys_of_text,
}
"""The types that are read without msgspec."""


def reader(kind: Any) -> Read:
    """The reader of a type of msgspec, which may contain custom types.

    Raises `ImportError` if it needs msgspec, and msgspec is not installed.
    """
    if kind in PLAIN:
        return PLAIN[kind]
    if isinstance(kind, CustomType):
        return kind.read
    import msgspec

    # A struct, as msgspec caches what it knows of a struct, but not of other types.
    holder = msgspec.defstruct("Holder", [("value", kind)], array_like=True)
    convert = _converter(holder, is_held=True)
    return lambda value: convert((value,)).value


def fields_reader(fields: dict[str, Any], required: frozenset[str], others: Any = None) -> Read:
    """The reader of an object's fields, each of its type, and perhaps of others of one type."""
    read: Read | None = None
    read_others = reader_when_needed(dict[str, others]) if others not in (None, Any) else _as_it_is

    def read_fields(value: Any) -> dict[str, Any]:
        nonlocal read
        if type(value) is not dict:
            raise wrong_type("an object", value)
        if not required.issubset(value):
            raise missing_field(min(required.difference(value)))
        if others is None and not value.keys() <= fields.keys():
            raise unknown_field(next(name for name in value if name not in fields), fields)
        if read is None:  # only now, as the types may refer to themselves
            is_plain = all(kind in PLAIN for kind in fields.values())
            read = _plain_fields_reader(fields) if is_plain else _struct_reader(fields)
        found: dict[str, Any] = read(value)
        if others is None:
            return found
        more = {name: item for name, item in value.items() if name not in fields}
        return {**value, **read_others(more), **found}

    return read_fields


def reader_when_needed(kind: Any) -> Read:
    """The reader of a type, made when the first value comes: only then msgspec is loaded."""
    made: Read | None = None

    def read(value: Any) -> Any:
        nonlocal made
        made = made or reader(kind)
        return made(value)

    return read


def _plain_fields_reader(fields: dict[str, Any]) -> Read:
    def read(value: Any) -> dict[str, Any]:
        return {name: read_at(name, value[name]) for name in fields if name in value}

    def read_at(name: str, item: Any) -> Any:
        try:
            return PLAIN[fields[name]](item)
        except ValidationError as failure:
            raise failure.below(f".{name}") from failure.__cause__

    return read


def _struct_reader(fields: dict[str, Any]) -> Read:
    import msgspec

    members = [(f"f{i}", kind, msgspec.UNSET) for i, kind in enumerate(fields.values())]
    names = {member[0]: name for member, name in zip(members, fields)}
    convert = _converter(msgspec.defstruct("Fields", members, rename=names))
    values_of, unset = msgspec.structs.astuple, msgspec.UNSET

    def read(value: Any) -> dict[str, Any]:
        found = zip(fields, values_of(convert(value)))
        return {name: item for name, item in found if item is not unset}

    return read


def _converter(struct: Any, is_held: bool = False) -> Read:
    import msgspec

    to_struct, refused = msgspec.convert, msgspec.ValidationError

    def convert(value: Any) -> Any:
        try:
            return to_struct(value, struct, dec_hook=_read_custom)
        except refused as error:
            failure, path = _taken_apart(error)
        except RecursionError:
            raise invalid_value("it is nested too deeply") from None
        except SystemError:  # of msgspec before 0.21
            raise ValidationError(" is too large for a float") from None
        path = _with_keys(path, value, is_refused)
        raise failure.below(_joined(path[1:] if is_held else path)) from failure.__cause__

    def is_refused(value: Any) -> bool:
        try:
            to_struct(value, struct, dec_hook=_read_custom)
        except refused:
            return True
        return False

    return convert


def _read_custom(kind: Any, value: Any) -> Any:
    return kind.read(value)


_KEY = re.compile(r"\[(\d+)\]|\[(\.\.\.)\]|\.([^.\[]*)")


def _taken_apart(error: Exception) -> tuple[ValidationError, list[Any]]:
    """The failure in msgspec's error, and the path. Ellipsis stands for a dict's key."""
    cause, text = error.__cause__, str(error)
    before, _, path = text.rpartition(" - at `$" if "` in `$" not in text else "` in `$")
    found = _KEY.findall(path.removesuffix("`"))
    keys = [int(index) if index else ... if dots else name for index, dots, name in found]
    if isinstance(cause, ValidationError):
        return cause, keys
    failure = _translated(before.partition(" - at `")[0] or text)
    failure.__cause__ = cause
    return failure, keys


def _with_keys(path: list[Any], value: Any, is_refused: Callable[[Any], bool]) -> list[Any]:
    """`path` with the keys of dicts, which msgspec leaves out: found by bisection."""
    try:
        for place in range(len(path)):
            if path[place] is ...:
                before = path[:place]
                keys = list(_at(value, before))
                while len(keys) > 1:
                    half = keys[: len(keys) // 2]
                    kept = {key: _at(value, [*before, key]) for key in half}
                    is_there = is_refused(_replaced(value, before, kept))
                    keys = half if is_there else keys[len(half) :]
                path = [*before, keys[0], *path[place + 1 :]]
    except (LookupError, TypeError):  # a key that is written like a path
        pass
    return path


def _at(value: Any, path: list[Any]) -> Any:
    for key in path:
        value = value[key]
    return value


def _replaced(value: Any, path: list[Any], new: Any) -> Any:
    if not path:
        return new
    key, *rest = path
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    copy[key] = _replaced(copy[key], rest, new)
    return copy


def _joined(keys: list[Any]) -> str:
    return "".join(
        f"[{key}]" if isinstance(key, int) else "[...]" if key is ... else f".{key}" for key in keys
    )


_EXPECTED = re.compile(r"Expected `([^`]*)`, got `([^`]*)`$")
_LENGTH = re.compile(r"Expected `array` of length (.*), got (\d+)$")
_KINDS = {
    "array": "an array", "object": "an object", "null": "null", "date": "a date", "time": "a time",
    "datetime": "a datetime", "duration": "a duration", "uuid": "a UUID",
}  # fmt: skip


def _translated(text: str) -> ValidationError:
    """msgspec's message in this package's words."""
    if found := _EXPECTED.match(text):
        wanted = " or ".join(map(_kind, found[1].split(" | ")))
        return ValidationError(f" must be {wanted}, not {_kind(found[2])}", wanted=wanted)
    if found := _LENGTH.match(text):
        return ValidationError(f" must be an array of {found[1]} items, not of {found[2]}")
    if text == "Number out of range":
        return ValidationError(" is too large for a float")
    return invalid_value(text)


def _kind(name: str) -> str:
    return _KINDS.get(name) or name_of(name)

"""Adapters of arrays and objects that are not classes."""

import collections
import collections.abc
import re
import typing
from typing import Any, Callable, Optional

from pyproc_worker._types.adapter import Adapter, Adapters, Schema, Unsupported, anything
from pyproc_worker._types.hints import Scope
from pyproc_worker._types.readers import DICT_OF_TEXTS, Read, custom_type, reader_when_needed
from pyproc_worker._types.validation import ValidationError, invalid_value


def container(adapters: Adapters, hint: Any, scope: Scope, place: str) -> Optional[Adapter]:
    """The adapter of a list, a tuple, a dict or another container; None for other hints."""
    origin = typing.get_origin(hint) or hint
    arguments = [adapters.of(item, scope, place) for item in _arguments(hint) if origin in _MADE]
    if origin is tuple:
        return _tuple(hint, arguments)
    if origin in _ARRAYS:
        return _array(origin, arguments, place)
    return _mapping(adapters, origin, arguments, place) if origin in _MAPPINGS else None


def _arguments(hint: Any) -> tuple[Any, ...]:
    arguments = typing.get_args(hint)
    return tuple(item for item in arguments if item is not ... and item != ())


# Arrays

_ARRAYS: dict[Any, tuple[Any, Optional[Callable[[Any], Any]]]] = {
    list: (list, None),
    set: (set, None),
    frozenset: (frozenset, None),
    collections.deque: (list, collections.deque),
    collections.abc.Sequence: (list, None),
    collections.abc.MutableSequence: (list, None),
    collections.abc.Collection: (list, None),
    collections.abc.Iterable: (list, None),
    collections.abc.Set: (set, None),
    collections.abc.MutableSet: (set, None),
}
"""For each hint: the type that msgspec converts to, and a constructor to call with the result."""


def _array(origin: Any, arguments: list[Adapter], place: str) -> Adapter:
    if origin is list and not arguments:
        return Adapter(list, {"type": "array"}, "array", is_hashable=False)
    (item,) = arguments or [anything()]
    base, make = _ARRAYS[origin]
    is_list = base is list
    if base is not list and not item.is_hashable:
        raise Unsupported(f"{place} wants a set of what no set can hold")
    schema: Schema = {"type": "array"}
    if item.schema:
        schema["items"] = item.schema
    elif base is not list:
        schema["items"] = {"not": {"type": ["array", "object"]}}
    if base is not list and item.kinds & {"array", "object"}:
        base, make = list, _set_maker(make or base)
    kind = base[item.type]
    if make is not None:
        kind = custom_type(origin.__name__, _then(make, kind))
    return Adapter(
        kind,
        schema,
        "array",
        is_hashable=origin is frozenset,
        is_lossy=item.is_lossy,
        as_written=("array",) if is_list else (),  # a set drops duplicates
    )


def _set_maker(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Makes a set of items of which some may not be hashable: only the values show it."""

    def make_set(items: Any) -> Any:
        try:
            return make(items)
        except TypeError:
            raise ValidationError(" must not contain arrays or objects") from None

    return make_set


def _then(make: Callable[[Any], Any], kind: Any) -> Read:
    read = reader_when_needed(kind)
    return lambda value: make(read(value))


def _tuple(hint: Any, arguments: list[Adapter]) -> Adapter:
    is_bare = hint is tuple or hint is typing.Tuple  # noqa: UP006
    if not is_bare and ... not in typing.get_args(hint):
        return tuple_adapter(arguments, len(arguments))
    (item,) = arguments or [anything()]
    return Adapter(
        tuple[item.type, ...],  # type: ignore[name-defined]
        {"type": "array", **({"items": item.schema} if item.schema else {})},
        "array",
        is_hashable=item.is_hashable,
        is_lossy=item.is_lossy,
    )


def tuple_adapter(items: list[Adapter], least: int) -> Adapter:
    """The adapter of an array of these items. The first `least` of them are required."""
    schema: Schema = {"type": "array", "minItems": least, "maxItems": len(items)}
    if items:
        schema["prefixItems"] = [item.schema for item in items]
    return Adapter(
        typing.Tuple[tuple(item.type for item in items)],  # noqa: UP006
        schema,
        "array",
        is_hashable=all(item.is_hashable for item in items),
        is_lossy=any(item.is_lossy for item in items),
    )


# Objects

_MAPPINGS: dict[Any, Any] = {
    dict: None,
    collections.abc.Mapping: None,
    collections.abc.MutableMapping: None,
    collections.OrderedDict: collections.OrderedDict,
    collections.defaultdict: collections.defaultdict,
    collections.Counter: collections.Counter,
}
"""For each hint: a constructor to call with a dict."""

_MADE = {tuple, *_ARRAYS, *_MAPPINGS}

_DEFAULTS = (bool, int, float, str, list, dict, set)


def _mapping(adapters: Adapters, origin: Any, arguments: list[Adapter], place: str) -> Adapter:
    if origin is collections.Counter:
        arguments = [*(arguments or [anything()]), Adapter(int, {"type": "integer"}, "integer")]
    key, value = arguments or [anything(), anything()]
    make = _MAPPINGS[origin]
    if make is collections.defaultdict:
        base = typing.get_origin(value.type) or value.type
        factory = base if base in _DEFAULTS else None
        make = lambda items: collections.defaultdict(factory, items)  # noqa: E731
    kind, names = _dict(adapters, key, value, place)
    if make is not None:
        kind = custom_type(origin.__name__, _then(make, kind))
    schema: Schema = {"type": "object"}
    if names:
        schema["propertyNames"] = names
    if value.schema:
        schema["additionalProperties"] = value.schema
    return Adapter(kind, schema, "object", is_hashable=False, is_lossy=value.is_lossy)


def _dict(adapters: Adapters, key: Adapter, value: Adapter, place: str) -> tuple[Any, Schema]:
    """The type of a dict, and the schema of its keys."""
    if key.type is Any and value.type is Any:
        return dict, {}
    if key.type is str and value.type is Any:
        return DICT_OF_TEXTS, {}
    if key.type in (str, Any):
        return dict[key.type, value.type], {}  # type: ignore[name-defined]
    if not key.is_hashable or key.kinds <= {"array", "object"}:
        raise Unsupported(f"{place} wants keys that no JSON object has")
    names = _key_schema(key.schema, adapters.definitions)
    read_key = _key_reader(reader_when_needed(key.type), names.get("enum"))
    read_values = reader_when_needed(dict[Any, value.type])  # type: ignore[name-defined]

    def read(items: Any) -> Any:
        values = read_values(items)
        keys = {name: read_key(name) for name in values}
        found = {keys[name]: item for name, item in values.items()}
        if len(found) < len(values):
            raise invalid_value("two of its keys are the same")
        return found

    return custom_type("dict", read), names


_INTEGER = r"^(0|-?[1-9][0-9]*)$"
_NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$"
_WORDS = {"null": None, "true": True, "false": False}


def _key_reader(read: Read, choices: Optional[list[str]]) -> Read:
    """Converts a key: the text itself, or the value that the text stands for."""

    def read_key(name: Any) -> Any:
        candidates = [name]
        if type(name) is str and (choices is None or name in choices):
            candidates += _meant(name)
        failure = None
        for candidate in candidates:
            try:
                return read(candidate)
            except ValidationError as error:
                failure = failure or error
        assert failure is not None
        raise ValidationError(f" has the key {name!r}, which{failure.after}")

    return read_key


def _meant(name: str) -> list[Any]:
    """The values other than a text that a key may stand for."""
    if name in _WORDS:
        return [_WORDS[name]]
    if re.fullmatch(_INTEGER, name):
        return [int(name)]
    return [float(name)] if re.fullmatch(_NUMBER, name) else []


def _key_schema(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    """The schema of the keys that stand for values of `schema`; `{}` if any text may."""
    if "$ref" in schema:
        return _key_schema(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "allOf" in schema:  # the other members mostly constrain numbers
        return _key_schema(schema["allOf"][0], definitions)
    if "enum" in schema:
        return {"enum": [_spelled(value) for value in schema["enum"]]}
    if "anyOf" in schema:
        members = [_key_schema(member, definitions) for member in schema["anyOf"]]
    elif schema.get("type") == "string":
        return schema
    else:
        types = schema.get("type", "string")
        members = [_SPELLINGS.get(kind, {}) for kind in ([types] if type(types) is str else types)]
    if {} in members:
        return {}
    return members[0] if len(members) == 1 else {"anyOf": members}


_SPELLINGS: dict[str, Schema] = {
    "integer": {"pattern": _INTEGER},
    "number": {"pattern": _NUMBER},
    "boolean": {"enum": ["true", "false"]},
    "null": {"enum": ["null"]},
    "array": {"not": {}},
    "object": {"not": {}},
}


def _spelled(value: Any) -> str:
    for word, meant in _WORDS.items():
        if value is meant:
            return word
    return str(value)

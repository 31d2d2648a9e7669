"""Converts results of other types to types that JSON has, one step at a time.

===================================  ==============================================
a result of type                     arrives as
===================================  ==============================================
subclass of str, int, float, list,   its plain value
dict or tuple; UserString
tuple, set, frozenset, deque,        array (of a set in no particular order)
range, namedtuple, array.array,
UserList
Mapping, UserDict                    object
dataclass, attrs class               object of its fields
pydantic model                       the result of ``model_dump(by_alias=True)``
msgspec.Struct                       object or array with its tag, as msgspec encodes it
Enum                                 its value
datetime, time                       ISO 8601 string, UTC as ``Z``: ``2026-01-02T03:04:05Z``
date                                 ``2026-01-02``
timedelta                            ISO 8601 duration of days and seconds: ``P1DT2.5S``
Decimal, UUID, pathlib.Path,         string
IP address, URL of pydantic
bytes, bytearray, memoryview         base64 string
NumPy and pandas                     see `arrays`
===================================  ==============================================

Keys of objects are strings. Integers, and types above that arrive as strings, are converted; True,
False and None become ``true``, ``false`` and ``null``. Two keys that become the same string are an
error. Integers are exact up to Python's limit of 4,300 digits. NaN and infinities are errors.
"""

from __future__ import annotations

import binascii
import enum
import sys

from pyproc_worker._codec.conversion import (
    DAY,
    LimitExceeded,
    NotConvertible,
    check_size,
    duration,
    utc_offset,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Callable

BINARY = (bytes, bytearray, memoryview)

_AS_BASE: dict[type, Callable[[Any], Any]] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    dict: lambda value: dict(value.items()),
    list: list,
    tuple: list,
    set: list,
    frozenset: list,
}
_LEAVES = (str, int, float, bool)

_SPELLED = {
    "decimal": ("Decimal",),
    "uuid": ("UUID",),
    "pathlib": ("PurePath",),
    "collections": ("UserString",),
    "ipaddress": ("IPv4Address", "IPv6Address", "IPv4Network", "IPv6Network"),
    "pydantic.networks": ("_BaseUrl", "_BaseMultiHostUrl"),
    "pydantic_core": ("Url", "MultiHostUrl"),
}
"""The types whose values are converted by `str`, by their module."""


def convert(value: Any, room: int = sys.maxsize) -> Any:
    """Converts a value by one step towards JSON. The result may need more steps.

    Raises `NotConvertible` if the type has no conversion, `LimitExceeded` if the value has more
    than `room` parts, and any exception of the value's own code.
    """
    kind = type(value)
    if isinstance(value, enum.Enum):
        return value.value
    if hasattr(kind, "__dataclass_fields__"):
        from dataclasses import fields  # loaded already by the dataclass

        return _fields(value, (field.name for field in fields(value)))
    if isinstance(value, BINARY):
        return binascii.b2a_base64(binary(value, room), newline=False).decode("ascii")
    if hasattr(kind, "__attrs_attrs__"):
        return _fields(value, (field.name for field in kind.__attrs_attrs__))
    if hasattr(kind, "__struct_fields__"):
        return _struct(value)
    if _is(value, "pydantic", "BaseModel"):
        return _model(value)
    if "numpy" in sys.modules:
        from pyproc_worker._codec import arrays  # only here, as most results have none

        if arrays.knows(value):
            return arrays.convert(value, room)
    if _is(value, "datetime", "datetime", "time"):
        return _moment(value)
    if _is(value, "datetime", "date"):
        return value.isoformat()
    if _is(value, "datetime", "timedelta"):
        return duration(value.days * DAY * 10**6 + value.seconds * 10**6 + value.microseconds, 6)
    if _is(value, "decimal", "Decimal") and not value.is_finite():
        raise NotConvertible(f"{value!r} is not a finite number")
    if any(_is(value, module, *names) for module, names in _SPELLED.items()):
        return str(value)
    if kind is range:
        if value[room:]:  # `len` fails for long ones
            raise LimitExceeded
        return list(value)
    if _is(value, "collections", "deque", "UserList") or _is(value, "array", "array"):
        check_size(len(value), room)
        return list(value)
    for base, as_base in _AS_BASE.items():
        if isinstance(value, base) and kind not in _LEAVES:
            return as_base(value)
    if _is(value, "collections.abc", "Mapping"):
        return _mapping(value, room)
    raise NotConvertible(_reason(value))


def _mapping(value: Any, room: int) -> dict[Any, Any]:
    check_size(len(value), room)
    made = dict(value.items())
    if len(made) < len(value):  # for instance in a MultiDict
        raise NotConvertible(f"an object of type {type(value).__name__} has a key more than once")
    return made


def binary(value: bytes | bytearray | memoryview, room: int) -> bytes:
    """The bytes of a value, also of a memoryview that is not contiguous."""
    check_size(value.nbytes if isinstance(value, memoryview) else len(value), room)
    return value if isinstance(value, bytes) else bytes(value)


def _is(value: Any, module: str, *names: str) -> bool:
    """Whether a value is of one of a module's types. False if the module is not loaded."""
    loaded = sys.modules.get(module)
    # A script's own module may have this name, and another version of a library other types.
    return loaded is not None and isinstance(value, tuple(getattr(loaded, n, ()) for n in names))


def _fields(value: Any, names: Iterable[str]) -> dict[str, Any]:
    fields = {}
    for name in names:
        try:
            fields[name] = getattr(value, name)
        except AttributeError as error:
            raise NotConvertible(
                f"the field {name!r} of {type(value).__name__} is not set"
            ) from error
    return fields


def _struct(value: Any) -> Any:
    """An msgspec.Struct as msgspec encodes it."""
    import msgspec

    config = value.__struct_config__
    fields = _fields(value, value.__struct_fields__)
    if config.array_like:
        return [*([] if config.tag is None else [config.tag]), *fields.values()]
    written = {} if config.tag is None else {config.tag_field: config.tag}
    infos = msgspec.structs.fields(value) if config.omit_defaults else [None] * len(fields)
    for name, field, info in zip(value.__struct_encode_fields__, fields.values(), infos):
        if field is not msgspec.UNSET and not (info and _is_default(field, info)):
            written[name] = field
    return written


def _is_default(value: Any, info: Any) -> bool:
    if info.default_factory in (list, dict, set):
        return type(value) is info.default_factory and not value
    return value is info.default or (type(value) is type(info.default) and value == info.default)


def _model(value: Any) -> Any:
    """A pydantic model by `model_dump`, which drops fields that `model_construct` left unset."""
    unset = _unset(value)
    if unset:
        raise NotConvertible(f"the field {unset[1:]!r} of {type(value).__name__} is not set")
    return value.model_dump(by_alias=True)


def _unset(value: Any) -> str:
    """The path to an unset field of a model or of one within it; empty if all are set."""
    items: Iterable[tuple[Any, Any]]
    if isinstance(value, dict):
        items, path = value.items(), ".{}"
    elif isinstance(value, (list, tuple)):
        items, path = enumerate(value), "[{}]"
    elif _is(value, "pydantic", "BaseModel"):
        items, path = vars(value).items(), ".{}"
        for name in type(value).model_fields:
            if name not in vars(value):
                return f".{name}"
    else:
        return ""
    for key, item in items:
        if type(item) not in _LEAVES:
            below = _unset(item)
            if below:
                return path.format(key) + below
    return ""


def _moment(value: Any) -> str:
    text: str = value.replace(tzinfo=None).isoformat()
    return text + utc_offset(value)


def _reason(value: Any) -> str:
    kind = type(value)
    if hasattr(kind, "__await__"):
        return f"a {kind.__name__} is not awaited: `await` it before it is returned"
    if hasattr(kind, "__anext__"):
        return f"an object of type {kind.__name__} is not JSON: return a list of its items"
    if hasattr(kind, "__next__") or isinstance(value, (type({}.keys()), type({}.values()))):
        return f"an object of type {kind.__name__} is not JSON: return `list(...)` of it"
    if kind is complex:
        return "a complex is not JSON: return its `.real` and `.imag`"
    if hasattr(kind, "get_secret_value"):
        return f"a {kind.__name__} is kept secret: to send it, return its `.get_secret_value()`"
    return f"an object of type {kind.__name__} is not JSON"

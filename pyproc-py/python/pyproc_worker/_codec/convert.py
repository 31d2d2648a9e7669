"""What becomes of results that are no JSON values by themselves, one step at a time.

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
pydantic model                       what its ``model_dump(by_alias=True)`` gives
msgspec.Struct                       what msgspec writes: object or array, with its tag
Enum                                 its value
datetime, time                       ISO 8601 string, UTC as ``Z``: ``2026-01-02T03:04:05Z``
date                                 ``2026-01-02``
timedelta                            ISO 8601 duration of days and seconds: ``P1DT2.5S``
Decimal, UUID, pathlib.Path,         string
IP address, URL of pydantic
bytes, bytearray, memoryview         base64 string
NumPy and pandas                     see `arrays`
===================================  ==============================================

Keys of objects are strings. Of other keys, integers and those types above that arrive as
strings are written so, True, False and None as ``true``, ``false`` and ``null``; two that become
the same text are an error. Integers are exact up to Python's limit of 4,300 digits. NaN and
infinities are errors.
"""

from __future__ import annotations

import binascii
import enum
import sys

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
"""The types whose values arrive as the text that `str` makes of them, by their module."""


class NotCarried(Exception):
    """No writer has a form for a value; the message says why, and what helps."""


class TooMuch(Exception):
    """A result has more parts than may be written."""


def convert(value: Any, room: int = sys.maxsize) -> Any:
    """One step towards JSON for a value whose type no writer knows. More may be needed.

    Raises `NotCarried` if there is none, `TooMuch` if it has more than `room` parts, and what
    code of the value's own type raises.
    """
    kind = type(value)
    if isinstance(value, enum.Enum):
        return value.value
    if hasattr(kind, "__dataclass_fields__"):
        from dataclasses import fields  # which is loaded, as there is a dataclass

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
        from pyproc_worker._codec import arrays  # not before: most results have none

        if arrays.knows(value):
            return arrays.convert(value, room)
    if _is(value, "datetime", "datetime", "time"):
        return _moment(value)
    if _is(value, "datetime", "date"):
        return value.isoformat()
    if _is(value, "datetime", "timedelta"):
        return duration(value.days * _DAY * 10**6 + value.seconds * 10**6 + value.microseconds, 6)
    if _is(value, "decimal", "Decimal") and not value.is_finite():
        raise NotCarried(f"{value!r} is not a finite number")
    if any(_is(value, module, *names) for module, names in _SPELLED.items()):
        return str(value)
    if kind is range:
        if value[room:]:  # `len` fails for long ones
            raise TooMuch
        return list(value)
    if _is(value, "collections", "deque", "UserList") or _is(value, "array", "array"):
        check(len(value), room)
        return list(value)
    for base, as_base in _AS_BASE.items():
        if isinstance(value, base) and kind not in _LEAVES:
            return as_base(value)
    if _is(value, "collections.abc", "Mapping"):
        return _mapping(value, room)
    raise NotCarried(_reason(value))


def _mapping(value: Any, room: int) -> dict[Any, Any]:
    check(len(value), room)
    made = dict(value.items())
    if len(made) < len(value):  # as a MultiDict may
        raise NotCarried(f"an object of type {type(value).__name__} has a key more than once")
    return made


def binary(value: bytes | bytearray | memoryview, room: int) -> bytes:
    """The bytes of a value, also where they do not lie side by side."""
    check(value.nbytes if isinstance(value, memoryview) else len(value), room)
    return value if isinstance(value, bytes) else bytes(value)


def check(parts: int, room: int) -> None:
    """Raises `TooMuch` before a conversion makes so many parts."""
    if parts > room:
        raise TooMuch


def duration(count: int, decimals: int) -> str:
    """ISO 8601 for a number of seconds, given in units of ``10**-decimals`` of one."""
    sign, count = ("-", -count) if count < 0 else ("", count)
    seconds, fraction = divmod(count, 10**decimals)
    days, seconds = divmod(seconds, _DAY)
    text = f"{sign}P{days}D" if days else f"{sign}P"
    if seconds or fraction:
        part = f".{fraction:0{decimals}}".rstrip("0") if fraction else ""
        return f"{text}T{seconds}{part}S"
    return text if days else "P0D"


_DAY = 24 * 60 * 60


def offset_of(moment: Any) -> str:
    """What stands behind a moment: ``Z`` for UTC, and whole minutes, as RFC 3339 wants."""
    offset = moment.utcoffset()
    if offset is None:
        return ""
    minutes = round(offset.total_seconds() / 60)
    hours, minutes_left = divmod(abs(minutes), 60)
    return f"{'-' if minutes < 0 else '+'}{hours:02}:{minutes_left:02}" if minutes else "Z"


def _is(value: Any, module: str, *names: str) -> bool:
    """Whether a value is of a module's types. Nothing is, of a module that is not loaded."""
    loaded = sys.modules.get(module)
    # A script's own module may have such a name, or a library's version other names.
    return loaded is not None and isinstance(value, tuple(getattr(loaded, n, ()) for n in names))


def _fields(value: Any, names: Iterable[str]) -> dict[str, Any]:
    fields = {}
    for name in names:
        try:
            fields[name] = getattr(value, name)
        except AttributeError as error:
            raise NotCarried(f"the field {name!r} of {type(value).__name__} is not set") from error
    return fields


def _struct(value: Any) -> Any:
    """An msgspec.Struct as msgspec writes it."""
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
    """A pydantic model by its own rules, which leave out what `model_construct` left unset."""
    unset = _unset(value)
    if unset:
        raise NotCarried(f"the field {unset[1:]!r} of {type(value).__name__} is not set")
    return value.model_dump(by_alias=True)


def _unset(value: Any) -> str:
    """The path to a field that is not set in a model or one within it; empty if there is none."""
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
    return text + offset_of(value)


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

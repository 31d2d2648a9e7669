"""What becomes of results that are no JSON values by themselves.

===================================  ==============================================
a result of type                     arrives as
===================================  ==============================================
subclass of str, int, float, list,   its plain value
dict or tuple
tuple, set, frozenset, namedtuple    array (of a set in no particular order)
dataclass                            object of its fields
Enum                                 its value
datetime, time                       ISO 8601 string, UTC as ``Z``: ``2026-01-02T03:04:05Z``
date                                 ``2026-01-02``
timedelta                            ISO 8601 duration of days and seconds: ``P1DT2.5S``
Decimal, UUID, pathlib.Path          string
bytes, bytearray, memoryview         base64 string
NumPy scalar, NumPy array            number, boolean or string; nested arrays
===================================  ==============================================

Keys of objects are strings. Of other keys, integers and those types above that arrive as
strings are written so, True, False and None as ``true``, ``false`` and ``null``.
Integers are exact up to Python's limit of 4,300 digits. NaN and infinities are errors.
"""

from __future__ import annotations

import binascii
import enum
import math
import sys

from pyproc_worker._errors import EncodeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime
    from typing import Any, Callable

_BINARY = (bytes, bytearray, memoryview)
_AS_BASE: dict[type, Callable[[Any], Any]] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
}


def convert(value: Any) -> Any:
    """One step towards JSON for a value whose type no JSON writer knows.

    Raises `TypeError` if there is none. The result may need further steps.
    """
    if isinstance(value, enum.Enum):
        return value.value
    if hasattr(type(value), "__dataclass_fields__"):
        from dataclasses import fields  # which is loaded, as there is a dataclass

        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, _BINARY):
        return binascii.b2a_base64(value, newline=False).decode("ascii")
    if _is(value, "datetime", "datetime", "time"):
        return _moment(value)
    if _is(value, "datetime", "date"):
        return value.isoformat()
    if _is(value, "datetime", "timedelta"):
        return _duration(value)
    if _is(value, "decimal", "Decimal") or _is(value, "uuid", "UUID"):
        return str(value)
    if _is(value, "pathlib", "PurePath"):
        return str(value)
    if isinstance(value, (set, frozenset)):
        return list(value)
    return _from_numpy_or_subclass(value)


def _is(value: Any, module: str, *names: str) -> bool:
    """Whether a value is of a module's types. Nothing is, of a module that is not loaded."""
    loaded = sys.modules.get(module)
    return isinstance(value, tuple(getattr(loaded, name) for name in names)) if loaded else False


def plain(value: Any, path: str = "result") -> Any:
    """Builds `value` anew out of str, int, float, bool, None, list and dict only.

    Raises `EncodeError` with the path of the first part that JSON cannot carry. This is far
    slower than a codec, and is for values that one of them refused.
    """
    if value is None or value is True or value is False:
        return value
    if type(value) is str:
        return _text(value, path)
    if type(value) is int:
        return _writable(value, path)
    if type(value) is float:
        return _finite(value, path)
    if isinstance(value, dict):
        return {_key(k, path): plain(v, f"{path}.{k}") for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, f"{path}[{i}]") for i, item in enumerate(value)]
    return plain(_converted(value, path), path)


def _from_numpy_or_subclass(value: Any) -> Any:
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray):
        return value.tolist()
    if numpy is not None and isinstance(value, numpy.generic):
        item = value.item()
        if type(item) is not type(value):
            return item
    if isinstance(value, tuple):
        return list(value)
    for base, as_base in _AS_BASE.items():
        if isinstance(value, base) and type(value) not in (base, bool):
            return as_base(value)
    raise TypeError(f"an object of type {type(value).__name__} is not JSON")


def _converted(value: Any, path: str) -> Any:
    try:
        return convert(value)
    except TypeError as error:
        raise EncodeError(f"{path}: {error}") from None


def _moment(value: Any) -> str:
    """ISO 8601 with a ``Z`` for UTC, and with whole minutes of offset as RFC 3339 wants."""
    offset = value.utcoffset()
    text: str = value.replace(tzinfo=None).isoformat()
    if offset is None:
        return text
    minutes = round(offset.total_seconds() / 60)
    if minutes == 0:
        return text + "Z"
    hours, minutes_left = divmod(abs(minutes), 60)
    return f"{text}{'-' if minutes < 0 else '+'}{hours:02}:{minutes_left:02}"


def _duration(value: datetime.timedelta) -> str:
    sign, value = ("-", -value) if value.days < 0 else ("", value)
    text = f"{sign}P{value.days}D" if value.days else f"{sign}P"
    if value.seconds or value.microseconds:
        seconds = f"{value.seconds}.{value.microseconds:06}".rstrip("0").rstrip(".")
        return f"{text}T{seconds}S"
    return text if value.days else "P0D"


def _key(key: Any, path: str) -> str:
    if isinstance(key, enum.Enum):
        key = key.value
    if key is None or key is True or key is False:
        return {None: "null", True: "true", False: "false"}[key]
    if isinstance(key, (str, int, float)):
        key = plain(key, f"{path} (a key)") if not isinstance(key, float) else repr(float(key))
        return str(key)
    try:
        text = convert(key)
    except TypeError:
        text = None
    if isinstance(text, (str, int)):
        return str(text)
    raise EncodeError(f"{path}: a key of type {type(key).__name__} is not JSON")


def _text(value: str, path: str) -> str:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise EncodeError(f"{path}: a string with a lone surrogate is not JSON") from None
    return value


def _writable(value: int, path: str) -> int:
    try:
        str(value)
    except ValueError as error:  # names Python's limit and how to raise it
        raise EncodeError(f"{path}: {error}") from None
    return value


def _finite(value: float, path: str) -> float:
    if not math.isfinite(value):
        raise EncodeError(f"{path}: {value} is not JSON") from None
    return value

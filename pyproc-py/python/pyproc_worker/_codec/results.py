"""Encodes results up to a size limit. Errors name the path of the value that cannot be encoded.

A plain value consists of str, int, float, bool, None, list, tuple and dict only, with strings as
keys. The library encodes it directly. Any other result is first converted to a plain one by
`convert`, so that all libraries get the same. If a library refuses a result, it is built again in
strict mode, which checks each part and finds the path.
"""

from __future__ import annotations

import math
import sys
from typing import NamedTuple

from pyproc_worker._codec.conversion import LimitExceeded, NotConvertible
from pyproc_worker._codec.convert import BINARY, binary, convert
from pyproc_worker._errors import EncodeError, message_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Callable

    Write = Callable[[Any], bytes]


class NotPlain(Exception):
    """A value is not plain, or a float is not finite."""


class NotEncodable(Exception):
    """A part of a value cannot be encoded. Each container adds its part of `path`."""

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path


class Library(NamedTuple):
    """How a library encodes plain values."""

    write: Write
    """Encodes a value. It may raise any exception."""

    write_large: Write
    """Encodes a large value. Raises `MemoryError` if memory is short."""

    write_checked: Write
    """Encodes a value that was built in strict mode, without errors."""


def with_buffer(encode_into: Callable[[Any, bytearray], None]) -> Write:
    """Encodes into a buffer: without memory, msgspec's `encode` would abort the process."""

    def write(value: Any) -> bytes:
        buffer = bytearray()
        encode_into(value, buffer)
        return bytes(buffer)

    return write


def encode(library: Library, builder: type[JsonBuilder], value: Any, maximum: int) -> bytes:
    """Encodes `value`. `maximum` is the largest size in bytes.

    Raises `EncodeError` if it cannot be encoded or is too large, and `MemoryError`.
    """
    try:
        written = _written(library, builder, value, maximum)
        if len(written) > maximum:
            raise LimitExceeded
        return written
    except (NotEncodable, LimitExceeded, RecursionError) as error:
        raise _error_of(error, maximum) from error.__cause__


def plain(value: Any) -> Any:
    """`value` converted to a plain value. Raises `EncodeError`."""
    try:
        return JsonBuilder(sys.maxsize, is_strict=True).build(value)
    except (NotEncodable, LimitExceeded, RecursionError) as error:
        raise _error_of(error, sys.maxsize) from error.__cause__


def _error_of(error: Exception, maximum: int) -> EncodeError:
    if isinstance(error, NotEncodable):
        return EncodeError(f"result{error.path}: {error.reason}")
    if isinstance(error, LimitExceeded):
        return too_large(maximum)
    return EncodeError("result: nested too deeply, or contains itself")


def _written(library: Library, builder: type[JsonBuilder], value: Any, maximum: int) -> bytes:
    try:
        try:
            size = maximum - measure(value, maximum)
        except NotPlain:
            return library.write_large(builder(maximum).build(value))
        return library.write(value) if size < _LARGE else library.write_large(value)
    except (NotEncodable, LimitExceeded, MemoryError):
        raise
    except Exception:  # of the library, whose error has no path
        return library.write_checked(builder(maximum, is_strict=True).build(value))


_LARGE = 16 * 1024


def raw(value: bytes | bytearray | memoryview, maximum: int) -> bytes:
    """The bytes of a result of a binary type. Raises `EncodeError`."""
    try:
        return binary(value, maximum)
    except LimitExceeded:
        raise too_large(maximum) from None
    except ValueError as error:
        raise EncodeError(f"result: {error}") from error


def too_large(maximum: int) -> EncodeError:
    """A result does not fit into a frame."""
    return EncodeError(f"result: a frame longer than the maximum of {maximum} bytes")


def measure(value: Any, room: int) -> int:
    """How many of `room` bytes are left after a plain value, at most.

    Raises `NotPlain` for other values and for floats that are not finite, and `LimitExceeded` if
    nothing is left.
    """
    kind = type(value)
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise NotPlain
            kind = type(item)
            room -= len(key) + 2
            if kind is str:
                room -= len(item)
            elif kind is float:
                if item - item:  # of NaN and infinities, NaN
                    raise NotPlain
            elif kind not in _SHORT:
                room = measure(item, room)
    elif kind is list or kind is tuple:
        for item in value:
            kind = type(item)
            room -= 1
            if kind is str:
                room -= len(item)
            elif kind is float:
                if item - item:
                    raise NotPlain
            elif kind not in _SHORT:
                room = measure(item, room)
    elif kind is str:
        room -= len(value)
    elif kind not in _SHORT and (kind is not float or value - value):
        raise NotPlain
    if room < 0:
        raise LimitExceeded
    return room


_SHORT = frozenset((int, bool, type(None)))
_KEYS = frozenset((str, float, *_SHORT))


class JsonBuilder:
    """Converts one result to a plain value for JSON."""

    name = "JSON"

    def __init__(self, room: int, is_strict: bool = False) -> None:
        self._room = room
        self._is_strict = is_strict

    def build(self, value: Any) -> Any:
        """The plain value. Raises `NotEncodable` and `LimitExceeded`."""
        kind = type(value)
        if value is None or kind is bool:
            return value
        self._take(1)
        if kind is str:
            return self._text(value)
        if kind is int:
            return self.integer(value)
        if kind is float:
            return self.real(value)
        if kind is dict or kind is list or kind is tuple:
            return self._container(value)
        return self._converted(value)

    def integer(self, value: int) -> int:
        try:
            self._take(len(str(value)))
        except ValueError as error:  # its text names Python's limit and how to raise it
            raise NotEncodable(str(error)) from None
        return value

    def real(self, value: float) -> float:
        if not math.isfinite(value):
            raise NotEncodable(
                f"{value} is not {self.name}: return None or a string instead, or use MessagePack"
            )
        return value

    def key(self, key: Any) -> Any:
        """The string that a key is converted to."""
        made = key
        try:
            while type(made) not in _KEYS:
                if type(made) in (dict, list, tuple):
                    raise NotConvertible
                made = convert(made, self._room)
        except NotConvertible:
            raise NotEncodable(f"a key of type {type(key).__name__} is not {self.name}") from None
        except Exception as error:
            raise _failed(key, error) from error
        try:
            made = self.build(made)
        except NotEncodable as failure:
            raise NotEncodable(failure.reason, " (a key)") from None
        if made is None or made is True or made is False:
            return {None: "null", True: "true", False: "false"}[made]
        return str(made)

    def _take(self, size: int) -> None:
        self._room -= size
        if self._room < 0:
            raise LimitExceeded

    def _text(self, value: str) -> str:
        self._take(len(value))
        if self._is_strict:
            try:
                value.encode()
            except UnicodeEncodeError:
                raise NotEncodable(f"a string with a lone surrogate is not {self.name}") from None
        return value

    def _container(self, value: Any) -> Any:
        if not self._is_strict:
            try:
                self._room = measure(value, self._room)
                return value
            except NotPlain:
                pass
        return self._object(value) if type(value) is dict else self._array(value)

    def _array(self, value: Iterable[Any]) -> list[Any]:
        built: list[Any] = []
        try:
            for item in value:
                built.append(self.build(item))
        except NotEncodable as failure:
            failure.path = f"[{len(built)}]{failure.path}"
            raise
        return built

    def _object(self, value: dict[Any, Any]) -> dict[Any, Any]:
        built: dict[Any, Any] = {}
        for key, item in list(value.items()):
            made = self.key(key)
            if made in built:
                raise NotEncodable(f"two keys become {made!r}")
            try:
                built[made] = self.build(item)
            except NotEncodable as failure:
                failure.path = f".{made}{failure.path}"
                raise
        return built

    def _converted(self, value: Any) -> Any:
        try:
            made = convert(value, self._room)
        except NotConvertible as failure:
            raise NotEncodable(str(failure).replace("JSON", self.name)) from failure.__cause__
        except Exception as error:
            raise _failed(value, error) from error
        return self.build(made)


class MessagePackBuilder(JsonBuilder):
    """Converts one result to a value for MessagePack, which also has bytes and other keys."""

    name = "MessagePack"

    def integer(self, value: int) -> int:
        if not -(2**63) <= value < 2**64:
            raise NotEncodable("an integer beyond 64 bits is not MessagePack")
        return value

    def real(self, value: float) -> float:
        return value

    def key(self, key: Any) -> Any:
        """A key is converted like a value, and stays hashable."""
        try:
            made = self.build(key)
        except NotEncodable as failure:
            raise NotEncodable(failure.reason, f" (a key){failure.path}") from failure.__cause__
        return _hashable(made)

    def _converted(self, value: Any) -> Any:
        if not isinstance(value, BINARY):
            return super()._converted(value)
        try:
            made = binary(value, self._room)
        except Exception as error:
            raise _failed(value, error) from error
        self._take(len(made))
        return made


def _hashable(value: Any) -> Any:
    return tuple(map(_hashable, value)) if isinstance(value, list) else value


def _failed(value: Any, error: Exception) -> Exception:
    """The error for an exception of a value's own code."""
    if isinstance(error, (LimitExceeded, MemoryError, RecursionError)):
        return error
    reason = f"{type(error).__name__}: {message_of(error)}"
    return NotEncodable(f"an object of type {type(value).__name__} cannot be written: {reason}")

"""Writes results within a bound, and says where one cannot be written.

A result of str, int, float, bool, None, list, tuple and dict only, with texts as keys, goes to the
library that writes it as it is. Any other is built anew out of these, by `convert`, so that each
library gets the same. What a library refuses is built anew, too, with a look at each part.
"""

from __future__ import annotations

import math
import sys
from typing import NamedTuple

from pyproc_worker._codec.convert import BINARY, NotCarried, TooMuch, binary, convert
from pyproc_worker._errors import EncodeError, message_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Callable

    Write = Callable[[Any], bytes]


class Odd(Exception):
    """A value is not plain."""


class Refused(Exception):
    """A part of a value cannot be written; the path to it grows from its end."""

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path


class Library(NamedTuple):
    """How a library writes plain values."""

    write: Write
    """It may refuse any value."""

    write_large: Write
    """The same, and raises `MemoryError` where there is no memory, for large values."""

    write_checked: Write
    """It refuses no value that was built with a close look."""


def filling(encode_into: Callable[[Any, bytearray], None]) -> Write:
    """msgspec's way that lives through a lack of memory: its `encode` ends the process then."""

    def write(value: Any) -> bytes:
        buffer = bytearray()
        encode_into(value, buffer)
        return bytes(buffer)

    return write


def encode(library: Library, form: type[Json], value: Any, maximum: int) -> bytes:
    """`value`, written by a library.

    Raises `EncodeError`, also as soon as it is sure that the result is longer than `maximum` bytes,
    and `MemoryError`.
    """
    try:
        written = _written(library, form, value, maximum)
        if len(written) > maximum:
            raise TooMuch
        return written
    except (Refused, TooMuch, RecursionError) as error:
        raise _error_of(error, maximum) from error.__cause__


def plain(value: Any) -> Any:
    """`value` built out of what JSON has. Raises `EncodeError`."""
    try:
        return Json(sys.maxsize, looks_closely=True).build(value)
    except (Refused, TooMuch, RecursionError) as error:
        raise _error_of(error, sys.maxsize) from error.__cause__


def _error_of(error: Exception, maximum: int) -> EncodeError:
    if isinstance(error, Refused):
        return EncodeError(f"result{error.path}: {error.reason}")
    if isinstance(error, TooMuch):
        return too_large(maximum)
    return EncodeError("result: nested too deeply, or contains itself")


def _written(library: Library, form: type[Json], value: Any, maximum: int) -> bytes:
    try:
        try:
            size = maximum - measure(value, maximum)
        except Odd:
            return library.write_large(form(maximum).build(value))
        return library.write(value) if size < _LARGE else library.write_large(value)
    except (Refused, TooMuch, MemoryError):
        raise
    except Exception:  # each library has its own, which know no path
        return library.write_checked(form(maximum, looks_closely=True).build(value))


_LARGE = 16 * 1024


def raw(value: bytes | bytearray | memoryview, maximum: int) -> bytes:
    """The bytes of a result that is all bytes. Raises `EncodeError`."""
    try:
        return binary(value, maximum)
    except TooMuch:
        raise too_large(maximum) from None
    except ValueError as error:
        raise EncodeError(f"result: {error}") from error


def too_large(maximum: int) -> EncodeError:
    """A result does not fit into a frame."""
    return EncodeError(f"result: a frame longer than the maximum of {maximum} bytes")


def measure(value: Any, room: int) -> int:
    """What is left of `room` bytes when a plain value has been written, at most.

    Raises `Odd` if it is not plain, or a float is not finite, and `TooMuch` if nothing is left.
    """
    kind = type(value)
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise Odd
            kind = type(item)
            room -= len(key) + 2
            if kind is str:
                room -= len(item)
            elif kind is float:
                if item - item:  # of NaN and infinities, NaN
                    raise Odd
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
                    raise Odd
            elif kind not in _SHORT:
                room = measure(item, room)
    elif kind is str:
        room -= len(value)
    elif kind not in _SHORT and (kind is not float or value - value):
        raise Odd
    if room < 0:
        raise TooMuch
    return room


_SHORT = frozenset((int, bool, type(None)))
_KEYS = frozenset((str, float, *_SHORT))


class Json:
    """Builds values out of what JSON has. One instance is for one result."""

    name = "JSON"

    def __init__(self, room: int, looks_closely: bool = False) -> None:
        self._room = room
        self._looks_closely = looks_closely

    def build(self, value: Any) -> Any:
        """The value, plain. Raises `Refused` and `TooMuch`."""
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
        except ValueError as error:  # names Python's limit and how to raise it
            raise Refused(str(error)) from None
        return value

    def real(self, value: float) -> float:
        if not math.isfinite(value):
            raise Refused(f"{value} is not {self.name}")
        return value

    def key(self, key: Any) -> Any:
        """The text that a key becomes."""
        made = key
        try:
            while type(made) not in _KEYS:
                if type(made) in (dict, list, tuple):
                    raise NotCarried
                made = convert(made, self._room)
        except NotCarried:
            raise Refused(f"a key of type {type(key).__name__} is not {self.name}") from None
        except Exception as error:
            raise _failed(key, error) from error
        try:
            made = self.build(made)
        except Refused as refused:
            raise Refused(refused.reason, " (a key)") from None
        if made is None or made is True or made is False:
            return {None: "null", True: "true", False: "false"}[made]
        return str(made)

    def _take(self, size: int) -> None:
        self._room -= size
        if self._room < 0:
            raise TooMuch

    def _text(self, value: str) -> str:
        self._take(len(value))
        if self._looks_closely:
            try:
                value.encode()
            except UnicodeEncodeError:
                raise Refused(f"a string with a lone surrogate is not {self.name}") from None
        return value

    def _container(self, value: Any) -> Any:
        if not self._looks_closely:
            try:
                self._room = measure(value, self._room)
                return value
            except Odd:
                pass
        return self._object(value) if type(value) is dict else self._array(value)

    def _array(self, value: Iterable[Any]) -> list[Any]:
        built: list[Any] = []
        try:
            for item in value:
                built.append(self.build(item))
        except Refused as refused:
            refused.path = f"[{len(built)}]{refused.path}"
            raise
        return built

    def _object(self, value: dict[Any, Any]) -> dict[Any, Any]:
        built: dict[Any, Any] = {}
        for key, item in list(value.items()):
            made = self.key(key)
            if made in built:
                raise Refused(f"two keys become {made!r}")
            try:
                built[made] = self.build(item)
            except Refused as refused:
                refused.path = f".{made}{refused.path}"
                raise
        return built

    def _converted(self, value: Any) -> Any:
        try:
            made = convert(value, self._room)
        except NotCarried as refusal:
            raise Refused(str(refusal).replace("JSON", self.name)) from refusal.__cause__
        except Exception as error:
            raise _failed(value, error) from error
        return self.build(made)


class MessagePack(Json):
    """Builds values out of what MessagePack has."""

    name = "MessagePack"

    def integer(self, value: int) -> int:
        if not -(2**63) <= value < 2**64:
            raise Refused("an integer beyond 64 bits is not MessagePack")
        return value

    def real(self, value: float) -> float:
        return value

    def key(self, key: Any) -> Any:
        """A key is carried like a value, and stays hashable."""
        try:
            made = self.build(key)
        except Refused as refused:
            raise Refused(refused.reason, f" (a key){refused.path}") from refused.__cause__
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
    """What to raise when code of a value's type has raised while it was written."""
    if isinstance(error, (TooMuch, MemoryError, RecursionError)):
        return error
    said = f"{type(error).__name__}: {message_of(error)}"
    return Refused(f"an object of type {type(value).__name__} cannot be written: {said}")

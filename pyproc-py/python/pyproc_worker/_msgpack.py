"""Bodies in MessagePack, by msgspec or msgpack, whichever is installed.

Results are carried as in JSON (`_convert`), but bytes stay bytes, NaN and infinities are
values, and keys are carried like values. Timestamps in requests become aware datetimes; other
extension types are refused.
"""

import functools
import re
from typing import Any, Callable, NamedTuple

from pyproc_worker import _convert
from pyproc_worker._errors import EncodeError, InvalidRequest

BINARY = (bytes, bytearray, memoryview)
SMALLEST, LARGEST = -(2**63), 2**64 - 1

_MISSING = "a body of MessagePack: this worker needs `pip install msgspec` (or msgpack) to read it"


def loads(payload: Any) -> Any:
    """The value in `payload`. Raises `InvalidRequest` if there is none."""
    read = _library().read
    try:
        return read(payload)
    except RecursionError:
        reason = "the body is nested too deeply to be read"
    except Exception as error:  # each library has its own, for the same faults
        reason = f"the body is no MessagePack: {error}"
    raise InvalidRequest(reason)


def dumps(value: Any) -> bytes:
    """`value` in MessagePack. Raises `EncodeError` with the path of what it cannot carry."""
    write = _library().write
    try:
        encoded = write(value)
        if not _TIMESTAMP.search(encoded):
            return encoded
    except Exception:  # told by `_plain`, with its path
        pass
    try:
        return write(_plain(value, "result"))
    except RecursionError:
        raise EncodeError("result: nested too deeply, or contains itself") from None


class _Library(NamedTuple):
    read: Callable[[Any], Any]
    write: Callable[[Any], bytes]


@functools.cache
def _library() -> _Library:
    try:
        return _msgspec()
    except ImportError:
        pass
    try:
        return _msgpack()
    except ImportError:
        raise InvalidRequest(_MISSING) from None


def _msgspec() -> _Library:
    import msgspec

    return _Library(
        msgspec.msgpack.Decoder(ext_hook=_refuse_extension).decode,
        msgspec.msgpack.Encoder(enc_hook=_step).encode,
    )


def _msgpack() -> _Library:
    import msgpack  # type: ignore[import-untyped,unused-ignore]

    read = functools.partial(
        msgpack.unpackb, strict_map_key=False, timestamp=3, ext_hook=_refuse_extension
    )
    write = functools.partial(msgpack.packb, default=_step)
    return _Library(read, write)


def _refuse_extension(code: int, data: Any) -> Any:
    raise ValueError(f"extension type {code}")


_TIMESTAMP = re.compile(rb"\xd6\xff|\xd7\xff|\xc7\x0c\xff")
"""How msgspec writes aware datetimes, which are texts here as in JSON. Other bytes may look so."""


def _step(value: Any) -> Any:
    return bytes(value) if isinstance(value, BINARY) else _convert.convert(value)


def _plain(value: Any, path: str) -> Any:
    """Like `_convert.plain`, with what MessagePack carries besides."""
    if isinstance(value, BINARY):
        return bytes(value)
    if type(value) is float:
        return value
    if type(value) is int and not SMALLEST <= value <= LARGEST:
        raise EncodeError(f"{path}: an integer beyond 64 bits is not MessagePack")
    if isinstance(value, dict):
        return {_key(k, path): _plain(v, f"{path}.{k}") for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{path}[{i}]") for i, item in enumerate(value)]
    if value is None or type(value) in (str, int, bool):
        return _convert.plain(value, path)
    try:
        step = _convert.convert(value)
    except TypeError:
        raise EncodeError(
            f"{path}: an object of type {type(value).__name__} is not MessagePack"
        ) from None
    return _plain(step, path)


def _key(key: Any, path: str) -> Any:
    """A key is carried like a value, and stays hashable."""
    key = _plain(key, f"{path} (a key)")
    return tuple(key) if isinstance(key, list) else key

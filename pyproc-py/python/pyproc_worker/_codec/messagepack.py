"""Bodies in MessagePack, by msgspec or msgpack, whichever is installed.

Results are converted as for JSON (`results`), but bytes stay bytes, NaN and infinities are
values, and keys are converted like values. Timestamps in requests become aware datetimes; other
extension types are refused.
"""

import functools
import sys
from typing import Any, Callable, NamedTuple

from pyproc_worker._codec.results import Library, MessagePackBuilder, encode, with_buffer
from pyproc_worker._errors import InvalidRequest

_MISSING = "a body of MessagePack: this worker needs `pip install msgspec` (or msgpack) to read it"


def loads(payload: Any) -> Any:
    """Decodes `payload`. Raises `InvalidRequest`."""
    read = _library().read
    try:
        return read(payload)
    except RecursionError:
        reason = "the body is nested too deeply to be read"
    except Exception as error:  # each library has its own types
        reason = f"the body is no MessagePack: {error}"
    raise InvalidRequest(reason)


def dumps(value: Any, maximum: int = sys.maxsize) -> bytes:
    """Encodes `value` in MessagePack. See `results.encode`."""
    return encode(_library().plain, MessagePackBuilder, value, maximum)


class _Library(NamedTuple):
    read: Callable[[Any], Any]
    plain: Library


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

    read = msgspec.msgpack.Decoder(ext_hook=_refuse_extension).decode
    plain = msgspec.msgpack.Encoder()
    large = with_buffer(plain.encode_into)
    return _Library(read, Library(plain.encode, large, large))


def _msgpack() -> _Library:
    import msgpack  # type: ignore[import-untyped,unused-ignore]

    read = functools.partial(
        msgpack.unpackb, strict_map_key=False, timestamp=3, ext_hook=_refuse_extension
    )
    return _Library(read, Library(*[msgpack.packb] * 3))


def _refuse_extension(code: int, data: Any) -> Any:
    raise ValueError(f"extension type {code}")

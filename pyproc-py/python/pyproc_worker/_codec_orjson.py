"""The codec on orjson."""

from typing import Any

import orjson

from pyproc_worker._codec import StandardCodec, encode_plain
from pyproc_worker._convert import convert
from pyproc_worker._frames import Bytes
from pyproc_worker._messages import Message, message_of

_OPTIONS = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME

_DIGITS_AS_ZEROS = bytes(0x30 if 0x30 <= byte <= 0x39 else 0x2E for byte in range(256))
_LONG_NUMBER = b"0" * 19  # the shortest integers beyond 64 bits


class OrjsonCodec:
    """See `Codec`."""

    name = "orjson"

    def __init__(self) -> None:
        self._standard = StandardCodec()
        self.quick_body = self.decode_body

    def decode(self, frame: Bytes) -> Message:
        if _has_long_number(frame):
            return self._standard.decode(frame)
        try:
            return message_of(orjson.loads(frame))
        except orjson.JSONDecodeError:
            return self._standard.decode(frame)

    def decode_body(self, payload: Bytes) -> Any:
        if _has_long_number(payload):
            return self._standard.decode_body(payload)
        try:
            return orjson.loads(payload)
        except orjson.JSONDecodeError:
            return self._standard.decode_body(payload)

    def encode(self, value: Any) -> bytes:
        try:
            encoded = orjson.dumps(value, convert, _OPTIONS)
        except Exception:
            return encode_plain(value)
        if b"null" in encoded:  # None, or else NaN or an infinity, which orjson writes so too
            return self._standard.encode(value)
        return encoded


codec = OrjsonCodec


def _has_long_number(document: Bytes) -> bool:
    """Whether there may be an integer that orjson would make a float."""
    return _LONG_NUMBER in document.translate(_DIGITS_AS_ZEROS)

"""The codec on msgspec: fast, since it reads a request into a typed object at once."""

import re
from typing import Annotated, Any, Optional

import msgspec

from pyproc_worker._codec import StandardCodec, encode_plain
from pyproc_worker._convert import convert
from pyproc_worker._frames import Bytes
from pyproc_worker._messages import MAX_ID, Message, check_headers


class Envelope(msgspec.Struct, gc=False):
    """All keys of a plain request, and `type`, which says that it is none."""

    id: Annotated[int, msgspec.Meta(ge=0, le=MAX_ID)] = 0
    method: str = ""
    body: Any = None
    headers: Optional[dict[str, str]] = None
    type: Any = None


class MsgspecCodec:
    """See `Codec`."""

    name = "msgspec"

    def __init__(self) -> None:
        self._standard = StandardCodec()
        self._read = msgspec.json.Decoder(Envelope).decode
        self.quick_body = msgspec.json.Decoder().decode
        self._write = msgspec.json.Encoder(enc_hook=convert).encode
        self._write_binary = msgspec.msgpack.Encoder(enc_hook=convert).encode

    def decode(self, frame: Bytes) -> Message:
        try:
            if not frame.isascii():
                str(frame, "utf-8")  # msgspec skips the values of unknown keys without a look
            envelope = self._read(frame)
            if envelope.method and envelope.type is None:
                if envelope.headers is not None:
                    check_headers(envelope.headers)
                return envelope
        except (msgspec.MsgspecError, ValueError, RecursionError):
            pass
        return self._standard.decode(frame)

    def decode_body(self, payload: Bytes) -> Any:
        try:
            return self.quick_body(payload)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return self._standard.decode_body(payload)

    def encode(self, value: Any) -> bytes:
        try:
            encoded = self._write(value)
        except Exception:
            return encode_plain(value)
        # Not `in`, which takes three times as long: it looks for a number first.
        if encoded.find(b"null") >= 0 and self._may_be_non_finite(value):
            return encode_plain(value)
        return encoded

    def _may_be_non_finite(self, value: Any) -> bool:
        """NaN and infinities are written as null: tells them from None by their binary form.

        It may find bytes within a string, so that a yes is to be checked.
        """
        try:
            return _NON_FINITE.search(self._write_binary(value)) is not None
        except Exception:
            return True


codec = MsgspecCodec

_NON_FINITE = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]")

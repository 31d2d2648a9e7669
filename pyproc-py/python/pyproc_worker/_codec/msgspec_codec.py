"""The codec on msgspec: fast, as it decodes a request directly into a typed object."""

from typing import Annotated, Any, Optional

import msgspec

from pyproc_worker._codec.frames import Bytes
from pyproc_worker._codec.json_codec import StandardCodec, encoder, write
from pyproc_worker._codec.messages import MAX_ID, Message, check_headers
from pyproc_worker._codec.results import Library, with_buffer


class Envelope(msgspec.Struct, gc=False):
    """All keys of a request, and `type`, which other messages have."""

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
        plain = msgspec.json.Encoder()
        self.encode = encoder(Library(plain.encode, with_buffer(plain.encode_into), write))

    def decode(self, frame: Bytes) -> Message:
        try:
            if not frame.isascii():
                str(frame, "utf-8")  # msgspec does not check the values of unknown keys
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

"""The messages of version 2 that a worker receives. See SPEC-V2.md of pyproc-protocol."""

import struct
from typing import NamedTuple, NoReturn, Optional, Union

from pyproc_worker._calls.current import TRACE_SIZE
from pyproc_worker._codec.frames import Bytes
from pyproc_worker._codec.messages import MAX_HEADERS, MAX_ID, Cancellation, Ignored, check_headers
from pyproc_worker._errors import FROZEN, BrokenFrame

REQUEST, RESPONSE, ERROR, CANCEL, PING, PONG, DRAIN = 0x01, 0x02, 0x03, 0x04, 0x08, 0x09, 0x0A
NAMES = {
    REQUEST: "request",
    RESPONSE: "response",
    ERROR: "error",
    CANCEL: "cancel",
    PING: "ping",
    PONG: "pong",
    DRAIN: "drain",
}
FIRST_SKIPPABLE = 0x10

JSON, MESSAGEPACK, RAW = 0, 1, 2  # codecs

NAME, TRACE, DEADLINE, HEADERS = 0x01, 0x02, 0x04, 0x08  # flags of a request
TIMES = 0x01  # a flag of an answer
MUST_UNDERSTAND = 0x0F
WANTS_TIMES = 0x10  # a flag of a request that may be ignored
_KNOWN_FLAGS = {REQUEST: NAME | TRACE | DEADLINE | HEADERS, RESPONSE: TIMES, ERROR: TIMES}

HEADER = struct.Struct(">BBBxQ")
"""Kind, flags, codec, id."""

FRAME = struct.Struct(">I" + HEADER.format[1:])
"""The length prefix and the header."""

INDEXED = struct.Struct(HEADER.format + "H")
"""The header and the index of a method."""

_DEADLINE_SIZE = 8

PAYLOAD_OF_INDEXED = {
    0: INDEXED.size,
    TRACE: INDEXED.size + TRACE_SIZE,
    DEADLINE: INDEXED.size + _DEADLINE_SIZE,
    TRACE | DEADLINE: INDEXED.size + TRACE_SIZE + _DEADLINE_SIZE,
}
"""The offset of a request's payload by its flags, for requests without variable parts before it."""


class BinaryRequest(NamedTuple):
    """A call."""

    id: int
    method: Union[int, str]
    """The index in the table of this connection's hello, or the name."""
    codec: int
    payload: Bytes
    wants_times: bool = False
    trace: Optional[bytes] = None
    """Trace id, span id and flags, encoded."""
    deadline_ns: Optional[int] = None
    """Nanoseconds until the deadline, at the time of sending."""
    headers: Optional[dict[str, str]] = None


class Ping(NamedTuple):
    """The client checks that the worker is alive. The pong has the same id."""

    id: int


class Drain:
    """The client sends no more requests."""


BinaryMessage = Union[BinaryRequest, Cancellation, Ping, Drain, Ignored]


def read_message(frame: Bytes) -> BinaryMessage:
    """Decodes a frame's body. Raises `BrokenFrame` if a client may not send such a message."""
    parts = _Parts(frame)
    kind, flags, codec, message_id = HEADER.unpack(parts.take(HEADER.size, "header"))
    if kind >= FIRST_SKIPPABLE:
        return Ignored()
    if kind not in NAMES:
        raise BrokenFrame(f"messages of kind 0x{kind:02x} are unknown: {FROZEN}")
    unknown = flags & MUST_UNDERSTAND & ~_KNOWN_FLAGS.get(kind, 0)
    if unknown:
        raise BrokenFrame(f"the flags 0x{unknown:02x} of a {NAMES[kind]} are unknown: {FROZEN}")
    if kind == REQUEST:
        return _request(message_id, flags, codec, parts)
    if kind == CANCEL:
        parts.text(parts.left, "reason")
        return Cancellation(message_id)
    if kind == PING:
        parts.end(kind)
        return Ping(message_id)
    if kind == DRAIN:
        parts.end(kind)
        return Drain()
    _refuse_answer(kind, flags, parts)


def _request(request_id: int, flags: int, codec: int, parts: "_Parts") -> BinaryRequest:
    if not 1 <= request_id <= MAX_ID:
        raise BrokenFrame(f"a request cannot have id {request_id}; ids go from 1 to 2^53 - 1")
    method: Union[int, str]
    if flags & NAME:
        method = parts.text(parts.integer(2, "method"), "method")
    else:
        method = parts.integer(2, "method")
    return BinaryRequest(
        request_id,
        method,
        codec,
        trace=bytes(parts.take(TRACE_SIZE, "trace context")) if flags & TRACE else None,
        deadline_ns=parts.integer(8, "deadline") if flags & DEADLINE else None,
        headers=_headers(parts) if flags & HEADERS else None,
        payload=parts.take(parts.left, "payload"),
        wants_times=bool(flags & WANTS_TIMES),
    )


def _headers(parts: "_Parts") -> dict[str, str]:
    count = parts.integer(2, "headers")
    if count > MAX_HEADERS:
        raise BrokenFrame(f"{count} headers, more than the maximum of {MAX_HEADERS}")
    headers: dict[str, str] = {}
    for _ in range(count):
        name = parts.text(parts.integer(2, "headers"), "headers")
        if name in headers:
            raise BrokenFrame(f"the header {name!r} occurs twice")
        headers[name] = parts.text(parts.integer(2, "headers"), "headers")
    check_headers(headers)
    return headers


def _refuse_answer(kind: int, flags: int, parts: "_Parts") -> NoReturn:
    """Raises the error for a message that only a worker sends."""
    if kind == PONG:
        parts.end(kind)
    if flags & TIMES:
        parts.take(16, "times")
    if kind == ERROR:
        parts.text(parts.integer(2, "type"), "type")
        parts.text(parts.integer(4, "message"), "message")
        parts.text(parts.left, "traceback")
    raise BrokenFrame(f"expected a request, got a {NAMES[kind]}")


class _Parts:
    """Decodes a frame from front to back."""

    def __init__(self, frame: Bytes) -> None:
        self._frame = frame
        self._offset = 0

    @property
    def left(self) -> int:
        return len(self._frame) - self._offset

    def take(self, size: int, part: str) -> Bytes:
        if size > self.left:
            raise BrokenFrame(
                f"the frame of {len(self._frame)} bytes ends within its {part}, "
                f"which begins at byte {self._offset}"
            )
        start, self._offset = self._offset, self._offset + size
        return self._frame[start : self._offset]

    def integer(self, size: int, part: str) -> int:
        return int.from_bytes(self.take(size, part), "big")

    def text(self, size: int, part: str) -> str:
        try:
            return self.take(size, part).decode()
        except UnicodeDecodeError:
            raise BrokenFrame(f"the {part} is not UTF-8") from None

    def end(self, kind: int) -> None:
        if self.left:
            raise BrokenFrame(f"a {NAMES[kind]} is followed by {self.left} bytes")

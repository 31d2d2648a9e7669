"""Decodes messages and bodies and encodes results, by the standard library's json.

Both codecs give the same messages, results and errors: msgspec's codec passes a document that
msgspec refuses on to this one. Integers are exact up to Python's limit of 4,300 digits. NaN and
infinities are refused.
"""

import functools
import json
import re
import sys
from typing import Any, Callable, Protocol

from pyproc_worker._codec.envelope import members
from pyproc_worker._codec.frames import Bytes
from pyproc_worker._codec.messages import (
    Ignored,
    Message,
    Unreadable,
    kind_of,
    message_of,
    request_of,
)
from pyproc_worker._codec.results import JsonBuilder, Library, encode
from pyproc_worker._errors import BrokenFrame, InvalidRequest


class Codec(Protocol):
    """What the worker needs of a JSON library."""

    name: str

    quick_body: Callable[..., Any]
    """A fast `decode_body`. It may raise any exception; `decode_body` then decides."""

    def decode(self, frame: Bytes) -> Message:
        """Decodes a frame's body. Raises `BrokenFrame` if it is not a message."""

    def decode_body(self, payload: Bytes) -> Any:
        """Decodes a payload of version 2. Raises `InvalidRequest` if it is not JSON."""

    encode: Callable[..., bytes]
    """Encodes a value as JSON in UTF-8, up to a number of bytes. See `results.encode`."""


class StandardCodec:
    """The codec on json of the standard library."""

    name = "json"

    def __init__(self) -> None:
        self.quick_body = self.decode_body
        self._scan = json.JSONDecoder(parse_constant=_refuse_constant).raw_decode
        self.encode = encoder(STANDARD)

    def decode(self, frame: Bytes) -> Message:
        try:
            document = self._document(frame)
            is_readable = not _has_lone_surrogate(frame, document)
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise _no_json(error) from None
        except (RecursionError, ValueError):  # ValueError: an integer of too many digits
            is_readable = False
        return (
            message_of(document) if is_readable else self._with_care(members(str(frame, "utf-8")))
        )

    def _with_care(self, found: dict[str, str]) -> Message:
        """The message with these members. Only the necessary ones are decoded."""
        try:
            return self._message(found)
        except UnicodeEncodeError:
            raise BrokenFrame("a key or a text of the message has a lone surrogate") from None

    def _message(self, found: dict[str, str]) -> Message:
        "".join(found).encode()
        kind = self._envelope(found, "type")
        if kind is None:
            return self._request(found)
        kind_of(kind).encode()
        if kind not in ("request", "cancellation"):
            return Ignored()
        written = found.get("payload", "null")
        payload = {} if written == "null" else members(written)
        if kind == "request":
            return self._request(payload)
        return message_of({"type": kind, "payload": {"id": self._envelope(payload, "id")}})

    def _request(self, found: dict[str, str]) -> Message:
        "".join(found).encode()
        envelope = {key: self._envelope(found, key) for key in ("id", "method", "headers")}
        request = request_of(envelope)
        request.method.encode()
        try:
            request.body = self.decode_body(found.get("body", "null").encode())
        except InvalidRequest as error:
            return Unreadable(request.id, request.method, str(error))
        return request

    def _envelope(self, found: dict[str, str], key: str) -> Any:
        try:
            return self._scan(found.get(key, "null"))[0]
        except (RecursionError, ValueError) as error:
            raise BrokenFrame(f"the message's {key} cannot be read: {error}") from None

    def decode_body(self, payload: Bytes) -> Any:
        try:
            body = self._document(payload)
            is_readable = not _has_lone_surrogate(payload, body)
        except RecursionError:
            raise InvalidRequest("the body is nested too deeply to be read") from None
        except (BrokenFrame, ValueError) as error:
            raise InvalidRequest(f"the body is no JSON that can be read: {error}") from None
        if not is_readable:
            raise InvalidRequest("the body has a string with a lone surrogate")
        return body

    def _document(self, frame: Bytes) -> Any:
        text = str(frame, "utf-8")
        document, end = self._scan(text)
        if end != len(text) and text[end:].strip(" \t\n\r"):
            raise _no_json(f"extra data after {end} characters")
        return document


def write(value: Any) -> bytes:
    return _dumps(value).encode()


_dumps = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def encoder(library: Library) -> Callable[..., bytes]:
    """A codec's `encode`."""
    return functools.partial(_encode, library)


def _encode(library: Library, value: Any, maximum: int = sys.maxsize) -> bytes:
    return encode(library, JsonBuilder, value, maximum)


STANDARD = Library(write, write, write)
encode_bounded = encoder(STANDARD)
"""The native core calls it for results that it cannot encode by itself."""


_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")


def _has_lone_surrogate(frame: Bytes, value: Any) -> bool:
    """Whether a value decoded from `frame` cannot be encoded in UTF-8."""
    if not _SURROGATE_ESCAPE.search(frame):
        return False
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _refuse_constant(name: str) -> Any:
    raise _no_json(f"{name} is no JSON value")


def _no_json(reason: object) -> BrokenFrame:
    return BrokenFrame(f"a frame that is no JSON: {reason}")

"""Runs a request's function and encodes the answer: one writer for each version and codec.

Each answer is a whole frame. `answer` is on the hot path: every Python call in it slows down all
requests.
"""

import struct
from typing import Any, Callable, NamedTuple, Optional, Protocol, Union

from pyproc_worker import _log
from pyproc_worker._calls.deferred import Deferred
from pyproc_worker._calls.times import Stopwatch
from pyproc_worker._codec import binary, messagepack
from pyproc_worker._codec.convert import BINARY
from pyproc_worker._codec.frames import prefix
from pyproc_worker._codec.json_codec import Codec
from pyproc_worker._codec.results import raw, too_large
from pyproc_worker._errors import WORKERS_OWN, error_document, error_parts
from pyproc_worker._functions.registry import Exposed
from pyproc_worker._system.fork import Forks, leave

_TOO_LONG = "an error too long for a frame"
_BINARY = BINARY
_PASSED_ON = (SystemExit, KeyboardInterrupt, Deferred)
_HEADER = binary.HEADER.size
_RESPONSE = binary.RESPONSE


class Runnable(NamedTuple):
    """A callable that replaces an exposed function in one call."""

    name: str
    call: Callable[[Any], Any]


Callee = Union[Exposed, Runnable]


class Writer(Protocol):
    """Answers the requests of one version and codec."""

    wants_times: bool

    def answer(self, request_id: int, exposed: Callee, argument: Any) -> bytes:
        """Runs a plain function and returns its answer.

        Raises only `SystemExit`, `KeyboardInterrupt` and `Deferred`.
        """

    def read(self, argument: Any) -> Any:
        """Decodes the body of a request. Raises `InvalidRequest`."""

    def success(self, request_id: int, result: Any, watch: Optional[Stopwatch] = None) -> bytes:
        """Encodes a result. Raises `EncodeError`, and exceptions of the user's objects."""

    def failure(
        self,
        request_id: int,
        method: str,
        error: BaseException,
        watch: Optional[Stopwatch] = None,
    ) -> bytes:
        """Encodes an error. Never raises. In a forked process, it ends the process."""


class JsonWriter:
    """Version 1. Its arguments are decoded bodies."""

    wants_times = False

    def __init__(self, codec: Codec, maximum: int, details: bool = False) -> None:
        self._encode = codec.encode
        self._maximum = maximum
        self._details = details

    def answer(self, request_id: int, exposed: Callee, argument: Any) -> bytes:
        try:
            encoded = self._encode(exposed.call(argument), self._maximum)
            body = b'{"id":%d,"ok":true,"body":%b}' % (request_id, encoded)
            size = len(body)
            if size > self._maximum:
                raise too_large(self._maximum)
            return prefix(size) + body
        except _PASSED_ON:
            raise
        except BaseException as error:
            return self.failure(request_id, exposed.name, error)

    def read(self, argument: Any) -> Any:
        return argument

    def success(self, request_id: int, result: Any, watch: Optional[Stopwatch] = None) -> bytes:
        encoded = self._encode(result, self._maximum)
        body = b'{"id":%d,"ok":true,"body":%b}' % (request_id, encoded)
        size = len(body)
        if size > self._maximum:
            raise too_large(self._maximum)
        return prefix(size) + body

    def failure(
        self,
        request_id: int,
        method: str,
        error: BaseException,
        watch: Optional[Stopwatch] = None,
    ) -> bytes:
        if Forks.is_child:
            leave(error)
        if not self._details and not isinstance(error, WORKERS_OWN):
            _log.error(f"error in {method!r}", error)  # the client gets no traceback
        body = self._encode(error_document(request_id, error, self._details))
        if len(body) > self._maximum:
            body = b'{"id":%d,"ok":false,"error":"%b"}' % (request_id, _TOO_LONG.encode())
        return prefix(len(body)) + body


class BinaryWriter:
    """Version 2 with one codec."""

    wants_times = False

    def __init__(
        self,
        codec: int,
        decode: Callable[[Any], Any],
        encode: Callable[..., bytes],
        maximum: int,
        quick_decode: Optional[Callable[[Any], Any]] = None,
    ) -> None:
        self.read = decode
        self._quick_read = quick_decode or decode
        self._codec = codec
        self._head = _RESPONSE << 24 | codec << 8  # four bytes of the header at once
        self._encode = encode
        self._maximum = maximum

    def answer(self, request_id: int, exposed: Callee, argument: Any) -> bytes:
        try:
            try:
                body = self._quick_read(argument)
            except Exception:
                body = self.read(argument)
            result = exposed.call(body)
            if isinstance(result, _BINARY):
                return self.success(request_id, result)
            payload = self._encode(result, self._maximum)
            size = _HEADER + len(payload)
            if size > self._maximum:
                raise too_large(self._maximum)
            return _pack_head(size, self._head, request_id) + payload
        except _PASSED_ON:
            raise
        except BaseException as error:
            return self.failure(request_id, exposed.name, error)

    def success(self, request_id: int, result: Any, watch: Optional[Stopwatch] = None) -> bytes:
        times = watch.packed() if watch else b""
        if isinstance(result, _BINARY):
            codec, payload = binary.RAW, raw(result, self._maximum)
        else:
            codec, payload = self._codec, self._encode(result, self._maximum)
        size = _HEADER + len(times) + len(payload)
        if size > self._maximum:
            raise too_large(self._maximum)
        flags = binary.TIMES if times else 0
        return _pack(size, _RESPONSE, flags, codec, request_id) + times + payload

    def failure(
        self,
        request_id: int,
        method: str,
        error: BaseException,
        watch: Optional[Stopwatch] = None,
    ) -> bytes:
        if Forks.is_child:
            leave(error)
        kind, message, trace = (part.encode() for part in error_parts(error))
        frame = self._error(request_id, watch, kind, message, trace)
        if len(frame) - 4 > self._maximum:
            frame = self._error(request_id, watch, b"", _TOO_LONG.encode(), b"")
        return frame

    def _error(
        self,
        request_id: int,
        watch: Optional[Stopwatch],
        kind: bytes,
        message: bytes,
        trace: bytes,
    ) -> bytes:
        times = watch.packed() if watch else b""
        parts = (times, _size_of_kind(len(kind)), kind, prefix(len(message)), message, trace)
        body = b"".join(parts)
        flags = binary.TIMES if times else 0
        return _pack(_HEADER + len(body), binary.ERROR, flags, 0, request_id) + body


class TimedWriter(BinaryWriter):
    """Version 2 for requests that ask for the function's times."""

    wants_times = True

    def answer(self, request_id: int, exposed: Callee, argument: Any) -> bytes:
        watch = Stopwatch()
        try:
            result = watch.run(exposed.call, self.read(argument))
            return self.success(request_id, result, watch)
        except _PASSED_ON:
            raise
        except BaseException as error:
            return self.failure(request_id, exposed.name, error, watch)


class Refusal:
    """Answers a request with an error without running a function."""

    wants_times = False

    def __init__(self, writer: Writer, error: Exception) -> None:
        self._writer = writer
        self._error = error
        self.read, self.success, self.failure = writer.read, writer.success, writer.failure

    def answer(self, request_id: int, exposed: Callee, argument: Any) -> bytes:
        return self._writer.failure(request_id, exposed.name, self._error)


def binary_writers(codec: Codec, maximum: int) -> dict[int, BinaryWriter]:
    """The writers of version 2, by the `writer_key` of a request."""
    writers = {}
    for flags, writer in ((0, BinaryWriter), (binary.WANTS_TIMES, TimedWriter)):
        json = writer(binary.JSON, codec.decode_body, codec.encode, maximum, codec.quick_body)
        packed = writer(binary.MESSAGEPACK, messagepack.loads, messagepack.dumps, maximum)
        raw = writer(binary.JSON, bytes, codec.encode, maximum)
        writers[writer_key(binary.JSON, flags)] = json
        writers[writer_key(binary.MESSAGEPACK, flags)] = packed
        writers[writer_key(binary.RAW, flags)] = raw
    return writers


def writer_key(codec: int, flags: int) -> int:
    """The key of the writer for a request."""
    return codec | (flags & binary.WANTS_TIMES) << 4


_pack = binary.FRAME.pack
_pack_head = struct.Struct(">IIQ").pack
_size_of_kind = struct.Struct(">H").pack

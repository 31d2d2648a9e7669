"""Decodes the messages that arrive on a connection: queues requests, handles the others."""

import struct
from typing import Any, Union

from pyproc_worker import _log
from pyproc_worker._calls.channels import open_channel
from pyproc_worker._calls.current import TRACE_SIZE
from pyproc_worker._codec import binary
from pyproc_worker._codec.frames import VERSION_1, Bytes, prefix
from pyproc_worker._codec.json_codec import Codec
from pyproc_worker._codec.messages import MAX_ID, Cancellation, Ignored, RequestLike, Unreadable
from pyproc_worker._errors import (
    BrokenFrame,
    EncodeError,
    InvalidRequest,
    MethodNotFound,
    cancelled_before_start,
    error_document,
)
from pyproc_worker._functions.hello import ERROR_DETAILS, METHOD, Hello, introduction, read_hello
from pyproc_worker._functions.registry import Exposed, functions
from pyproc_worker._loop.answers import JsonWriter, Refusal, Writer, binary_writers, writer_key
from pyproc_worker._loop.concurrent import Concurrent
from pyproc_worker._loop.connection import Connection, Waiting
from pyproc_worker._loop.reporter import Reporter
from pyproc_worker._loop.turns import WithoutId

_EMPTY = binary.HEADER.size

DRAIN = binary.FRAME.pack(_EMPTY, binary.DRAIN, 0, 0, 0)
"""The frame that announces to a client of version 2 that the worker drains."""


class Receiver:
    """Handles messages of both versions."""

    def __init__(self, codec: Codec, maximum: int, concurrent: Concurrent) -> None:
        self.plain = JsonWriter(codec, maximum)
        """For clients that did not ask for details of errors."""
        self._detailed = JsonWriter(codec, maximum, details=True)
        self._binary = binary_writers(codec, maximum)
        self._codec = codec
        self._maximum = maximum
        self._concurrent = concurrent

    def receive(self, connection: Connection) -> None:
        """Reads and handles messages. Raises `OSError` if the client is gone."""
        batch = _Batch(connection, self._concurrent)
        try:
            take = self._take_cancellations if connection.refuses else self._take_frames
            take(connection.read(), batch)
            if connection.broken:
                raise connection.broken
        except BrokenFrame as error:
            connection.ended = True
            last_frame = self._codec.encode(error_document(0, error, False))
            connection.last_frame = prefix(len(last_frame)) + last_frame
        batch.finish()

    def _take_frames(self, frames: list[Bytes], batch: "_Batch") -> None:
        """Handles frames. On the hot path: common messages are decoded here."""
        connection, decode, writers = batch.connection, self._codec.decode, self._binary
        pending, table = connection.pending, connection.table
        for frame in frames:
            if frame[0] == VERSION_1:
                message: Any = decode(frame)
                exposed = functions.get(message.method)  # only a request has a method
                if exposed is None:
                    self._take_other(batch, message)
                    continue
                context = connection.context
                if message.headers:
                    context = (message.headers, None, connection.channel)
                writer: Writer = connection.writer
                waiting: Waiting = (message.id, exposed, message.body, writer, context)
            else:
                try:
                    kind, flags, codec, request_id, index = _read_indexed(frame)
                    start = _PAYLOAD_OF_INDEXED[flags & _MUST_UNDERSTAND]
                    writer = writers[codec | (flags & _WANTS_TIMES) << 4]  # its `writer_key`
                    exposed = table[index]
                except (struct.error, LookupError):
                    self._take_binary(batch, frame)
                    continue
                if kind != _REQUEST or start > len(frame) or not 0 < request_id <= MAX_ID:
                    self._take_binary(batch, frame)
                    continue
                context = connection.context
                if flags & _TRACE:
                    context = (None, bytes(frame[_TRACE_START:_TRACE_END]), connection.channel)
                waiting = (request_id, exposed, frame[start:], writer, context)
            if not exposed.concurrent:
                pending.append(waiting)
            elif waiting[0]:
                batch.calls.append((waiting, len(frame)))
            else:  # without ids, the client assigns answers by their order
                pending.append((0, WithoutId(exposed), *waiting[2:]))

    def _take_cancellations(self, frames: list[Bytes], batch: "_Batch") -> None:
        """While the worker drains: requests are ignored."""
        for frame in frames:
            if frame[0] == VERSION_1:
                message: Any = self._codec.decode(frame)
            else:
                message = _read_binary(batch.connection, frame)
            if isinstance(message, Cancellation):
                batch.cancel(message.id)

    # Version 1

    def _take_other(
        self, batch: "_Batch", message: Union[RequestLike, Unreadable, Ignored, Cancellation]
    ) -> None:
        connection = batch.connection
        if isinstance(message, Cancellation):
            batch.cancel(message.id)
        elif isinstance(message, Ignored):
            pass
        elif isinstance(message, Unreadable):
            self._take_unreadable(connection, message)
        elif message.method == METHOD:
            self._say_hello(connection, message)
        else:
            _refuse(connection, message.id, connection.writer, MethodNotFound(message.method))

    def _take_unreadable(self, connection: Connection, message: Unreadable) -> None:
        error: Exception = InvalidRequest(message.reason)
        if message.called == METHOD:
            self._greet(connection, message.id)
        elif message.called not in functions:
            error = MethodNotFound(message.called)
        _refuse(connection, message.id, connection.writer, error)

    def _greet(self, connection: Connection, request_id: int) -> None:
        if connection.hello_received:  # many of the long answers would exhaust the memory
            raise BrokenFrame("a second hello")
        if not request_id:
            raise BrokenFrame("a hello without an id")
        connection.hello_received = True

    def _say_hello(self, connection: Connection, request: RequestLike) -> None:
        self._greet(connection, request.id)
        try:
            hello = read_hello(request.body)
            introduced, answer = self._introduction(request.id, hello)
        except (InvalidRequest, EncodeError) as error:
            return _refuse(connection, request.id, connection.writer, error)
        connection.outgoing.keep(answer)
        connection.owner = hello.owner
        if ERROR_DETAILS in hello.features:
            connection.writer = self._detailed
        if hello.version == 2:
            connection.version = 2
            connection.table = [functions[known["name"]] for known in introduced["functions"]]
        if hello.has_telemetry:  # sent after the answer, which is queued
            reporter = Reporter(connection, self._maximum, self._concurrent.look_again)
            connection.takes_telemetry(open_channel(hello.features, reporter.send))
        _log.debug(f"hello from {hello.agent or 'an unknown client'}")

    def _introduction(self, request_id: int, hello: Hello) -> tuple[dict[str, Any], bytes]:
        for schemas in (True, False):  # without them if the answer is too large with them
            introduced = introduction(hello.features, schemas, hello.version)
            try:
                return introduced, self.plain.success(request_id, introduced)
            except EncodeError as error:
                reason = error
        raise reason

    # Version 2

    def _take_binary(self, batch: "_Batch", frame: Bytes) -> None:
        message = _read_binary(batch.connection, frame)
        if isinstance(message, binary.BinaryRequest):
            self._take_request(batch, message, len(frame))
        elif isinstance(message, Cancellation):
            batch.cancel(message.id)
        elif isinstance(message, binary.Ping):
            pong = binary.FRAME.pack(_EMPTY, binary.PONG, 0, 0, message.id)
            batch.connection.outgoing.keep(pong)

    def _take_request(self, batch: "_Batch", request: binary.BinaryRequest, size: int) -> None:
        connection = batch.connection
        flags = binary.WANTS_TIMES if request.wants_times else 0
        writer = self._binary.get(writer_key(request.codec, flags))
        if isinstance(request.method, str):
            exposed, name = functions.get(request.method), request.method
        else:
            table = connection.table[request.method : request.method + 1]
            exposed, name = (table[0] if table else None), f"#{request.method}"
        if exposed is None or writer is None:
            error: Exception = MethodNotFound(name)
            if exposed is not None:
                error = InvalidRequest(f"codec {request.codec} of the body is unknown")
            return _refuse(connection, request.id, self._binary[binary.JSON], error)
        context = connection.context
        if request.headers or request.trace:
            context = (request.headers, request.trace, connection.channel)
        waiting = (request.id, exposed, request.payload, writer, context)
        if exposed.concurrent:
            batch.calls.append((waiting, size))
        else:
            connection.pending.append(waiting)


def _refuse(connection: Connection, request_id: int, writer: Writer, error: Exception) -> None:
    """Queues an error as the answer: old clients rely on the order of answers."""
    connection.pending.append((request_id, _REFUSED, None, Refusal(writer, error), None))


def _read_binary(connection: Connection, frame: Bytes) -> binary.BinaryMessage:
    if connection.version != 2:
        first = frame[0]
        raise BrokenFrame(f"a frame that begins with byte 0x{first:02x}: no hello chose version 2")
    return binary.read_message(frame)


class _Batch:
    """The messages of one read, besides the queued requests."""

    def __init__(self, connection: Connection, concurrent: Concurrent) -> None:
        self.connection = connection
        self.calls: list[tuple[Waiting, int]] = []
        """Requests to start at once, with the sizes of their frames in bytes."""
        self._concurrent = concurrent
        self._cancelled: dict[int, int] = {}  # by id: the number of requests before it

    def cancel(self, request_id: int) -> None:
        if not request_id:  # it names no request
            return
        for waiting, _ in self.calls:
            if waiting[0] == request_id:
                self._refuse(waiting)
        self.calls = [call for call in self.calls if call[0][0] != request_id]
        self.connection.running.cancel(request_id)
        self._cancelled[request_id] = len(self.connection.pending)

    def finish(self) -> None:
        if self.calls:
            self._concurrent.submit(self.connection, self.calls)
        if self._cancelled:
            self._drop_cancelled()

    def _drop_cancelled(self) -> None:
        connection = self.connection
        waiting = list(connection.pending)
        connection.pending.clear()
        for position, request in enumerate(waiting):
            if position < self._cancelled.get(request[0], 0):
                self._refuse(request)
            else:
                connection.pending.append(request)

    def _refuse(self, request: Waiting) -> None:
        request_id, exposed, _, writer, _ = request
        failure = writer.failure(request_id, exposed.name, cancelled_before_start())
        self.connection.outgoing.keep(failure)


_REFUSED = Exposed("", lambda body: None)
_REFUSED.quick = True

_read_indexed = binary.INDEXED.unpack_from
_TRACE, _TRACE_START = binary.TRACE, binary.INDEXED.size
_TRACE_END = _TRACE_START + TRACE_SIZE
_PAYLOAD_OF_INDEXED = binary.PAYLOAD_OF_INDEXED
_REQUEST, _MUST_UNDERSTAND, _WANTS_TIMES = (
    binary.REQUEST,
    binary.MUST_UNDERSTAND,
    binary.WANTS_TIMES,
)

"""The worker's loop: one thread, any number of connections, one function at a time.

What has arrived on a connection is read at once, its requests run one after another, and
their answers leave in one write. A turn ends after fifty microseconds, so that the client
works on the first answers while the worker runs the next requests, and before a function that
was not quick when it last ran, so that no answer waits behind it.
Between turns the loop looks at all sockets, so a cancellation overtakes requests that wait.
"""

import logging
import os
import select
import socket
import time
from collections import deque
from typing import Optional, Union

from pyproc_worker import _hello
from pyproc_worker._codec import Codec
from pyproc_worker._connection import Connection
from pyproc_worker._errors import (
    WORKERS_OWN,
    BrokenFrame,
    Cancelled,
    EncodeError,
    InvalidRequest,
    error_document,
)
from pyproc_worker._frames import prefix
from pyproc_worker._messages import Cancellation, Ignored, RequestLike, Unreadable
from pyproc_worker._registry import functions, not_found
from pyproc_worker._settings import Settings
from pyproc_worker._termination import Termination

TURN = 0.00005  # seconds of functions after which answers are sent and sockets looked at
QUICK = 0.0001  # seconds within which a function lets earlier answers wait for it
FLUSH_LIMIT = 5.0  # seconds that clients have to read the last answers
IDLE_CHECK = 1000  # milliseconds between looks at what no socket tells

_GONE = select.POLLHUP | select.POLLERR | select.POLLNVAL

logger = logging.getLogger("pyproc_worker")


class Loop:
    """Serves the connections to one listening socket."""

    def __init__(
        self, listener: socket.socket, codec: Codec, settings: Settings, termination: Termination
    ) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._codec = codec
        self._settings = settings
        self._termination = termination
        self._connections: dict[int, Connection] = {}
        self._ready: deque[Connection] = deque()
        self._draining = False
        self._deaf = False
        self._flush_deadline = 0.0
        self._poll = select.poll()
        self._poll.register(listener, select.POLLIN)
        self._poll.register(termination, select.POLLIN)

    def serve(self) -> None:
        """Serves until SIGTERM, the owner's end or the parent's, then finishes what it has."""
        try:
            if self._is_orphan():
                self._drain()
            while not self._finished():
                self._look_at_sockets()
                self._run_functions()
        except SystemExit:  # of a function
            self._say_goodbye()
            raise
        finally:
            for connection in list(self._connections.values()):
                connection.close()

    # Sockets

    def _look_at_sockets(self) -> None:
        events = self._poll.poll(self._timeout())
        for fd, event in events:
            connection = self._connections.get(fd)
            if connection is not None:
                self._serve_connection(connection, event)
            elif fd == self._listener.fileno():
                self._accept()
            else:
                self._termination.clear()
        if self._deaf and not events:
            self._listen(True)
        if self._termination.requested or (not events and self._is_orphan()):
            self._drain()

    def _timeout(self) -> Optional[float]:
        """Milliseconds to wait for something to happen; None without end."""
        if self._ready:
            return 0
        if self._draining:
            return max(0.0, self._flush_deadline - time.monotonic()) * 1000
        return IDLE_CHECK if self._deaf or self._settings.parent_pid is not None else None

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:  # out of descriptors, most likely: try again later
            logger.error("cannot accept a connection: %s", error)
            return self._listen(False)
        connection = Connection(client, self._settings.max_frame_size)
        self._connections[connection.fd] = connection
        self._poll.register(client, 0)
        self._settle(connection)

    def _serve_connection(self, connection: Connection, event: int) -> None:
        try:
            if event & select.POLLIN:
                self._receive(connection)
            if event & _GONE:
                self._close(connection)
            else:
                self._settle(connection)
        except OSError:
            self._close(connection)

    def _settle(self, connection: Connection) -> None:
        """After anything has happened to a connection: what is to be done for it next."""
        connection.flush()
        if connection.finished:
            return self._close(connection)
        if connection.may_run and not connection.scheduled:
            connection.scheduled = True
            self._ready.append(connection)
        interest = connection.wanted_events(self._draining)
        if interest != connection.interest:
            connection.interest = interest
            self._poll.modify(connection.fd, interest)

    def _close(self, connection: Connection) -> None:
        del self._connections[connection.fd]
        self._poll.unregister(connection.fd)
        connection.close()
        if connection.owner:
            self._drain()
        if self._deaf:
            self._listen(True)

    def _listen(self, wanted: bool) -> None:
        self._deaf = not wanted
        self._poll.modify(self._listener, select.POLLIN if wanted and not self._draining else 0)

    # Messages

    def _receive(self, connection: Connection) -> None:
        decode, pending = self._codec.decode, connection.pending
        cancelled: dict[int, int] = {}  # ids, and how many requests came before
        try:
            for frame in connection.read():
                message = decode(frame)
                if message.method in functions:
                    pending.append(message)  # type: ignore[arg-type]  # no other has a method
                elif isinstance(message, Cancellation):
                    cancelled[message.id] = len(pending)
                else:
                    self._take_other(connection, message)
            if connection.broken:
                raise connection.broken
        except BrokenFrame as error:
            connection.ended = True
            connection.farewell = self._codec.encode(error_document(0, error, False))
        if cancelled:
            self._cancel(connection, cancelled)

    def _take_other(
        self, connection: Connection, message: Union[RequestLike, Unreadable, Ignored]
    ) -> None:
        """Takes what calls no function of the user's."""
        if isinstance(message, Ignored):
            return
        if isinstance(message, Unreadable):
            self._fail(connection, message.id, InvalidRequest(message.reason))
        elif message.method == _hello.METHOD:
            self._say_hello(connection, message)
        else:  # in its turn, since old clients may count on the order
            connection.pending.append(message)

    def _say_hello(self, connection: Connection, request: RequestLike) -> None:
        try:
            hello = _hello.read_hello(request.body)
            answer = self._introduction(request.id, hello.features)
        except (InvalidRequest, EncodeError) as error:
            return self._fail(connection, request.id, error)
        connection.send(answer)
        connection.details = _hello.ERROR_DETAILS in hello.features
        connection.owner = hello.owner
        logger.debug("hello from %s", hello.agent or "an unknown client")

    def _introduction(self, request_id: int, features: list[str]) -> bytes:
        try:
            return self._success(request_id, _hello.introduction(features))
        except EncodeError:  # too large, most likely: the schemas are what may be left out
            return self._success(request_id, _hello.introduction(features, schemas=False))

    def _cancel(self, connection: Connection, cancelled: dict[int, int]) -> None:
        waiting = list(connection.pending)
        connection.pending.clear()
        for position, request in enumerate(waiting):
            if position < cancelled.get(request.id, 0):
                self._fail(connection, request.id, Cancelled())
            else:
                connection.pending.append(request)

    # Functions

    def _run_functions(self) -> None:
        deadline = time.perf_counter() + TURN
        while self._ready:
            connection = self._ready.popleft()
            connection.scheduled = False
            if connection.may_run:
                self._take_turn(connection)
                self._flush_deadline = time.monotonic() + FLUSH_LIMIT
            if time.perf_counter() > deadline:
                break

    def _take_turn(self, connection: Connection) -> None:
        """Runs requests of a connection for about `TURN` seconds, then sends their answers.

        This is the hot path: each call of Python code here costs every request.
        """
        pending, outgoing = connection.pending, connection.outgoing
        success, clock = self._success, time.perf_counter
        started = now = clock()
        while pending and now - started < TURN:
            request = pending[0]
            function = functions.get(request.method) or not_found(request.method)
            if not function.quick and now > started:
                break
            pending.popleft()
            try:
                answer = success(request.id, function.call(request.body))
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:
                self._report(request.method, error, connection)
                self._fail(connection, request.id, error)
            else:
                outgoing += prefix(len(answer))
                outgoing += answer
            before, now = now, clock()
            function.quick = now - before < QUICK
        try:
            self._settle(connection)
        except OSError:
            self._close(connection)

    def _success(self, request_id: int, result: object) -> bytes:
        answer = b'{"id":%d,"ok":true,"body":%b}' % (request_id, self._codec.encode(result))
        if len(answer) > self._settings.max_frame_size:
            raise _too_large(len(answer), self._settings.max_frame_size)
        return answer

    def _fail(self, connection: Connection, request_id: int, error: BaseException) -> None:
        answer = self._codec.encode(error_document(request_id, error, connection.details))
        if len(answer) > self._settings.max_frame_size:
            answer = b'{"id":%d,"ok":false,"error":"an error too long for a frame"}' % request_id
        connection.send(answer)

    def _report(self, method: str, error: BaseException, connection: Connection) -> None:
        """Logs a failure that nobody else would see the traceback of."""
        if not connection.details and not isinstance(error, WORKERS_OWN):
            logger.error("error in %r", method, exc_info=error)

    # The end

    def _drain(self) -> None:
        """Takes no more than what has arrived already, then finishes."""
        if self._draining:
            return
        self._draining = True
        self._flush_deadline = time.monotonic() + FLUSH_LIMIT
        self._listen(False)
        for connection in list(self._connections.values()):
            self._serve_connection(connection, 0 if connection.ended else select.POLLIN)

    def _finished(self) -> bool:
        if not self._draining or self._ready:
            return False
        if time.monotonic() > self._flush_deadline:
            return True
        return not any(c.pending or c.outgoing for c in self._connections.values())

    def _say_goodbye(self) -> None:
        """Gives clients a bounded time to read the answers that are ready."""
        deadline = time.monotonic() + FLUSH_LIMIT
        for connection in list(self._connections.values()):
            connection.flush_before(deadline)

    def _is_orphan(self) -> bool:
        parent = self._settings.parent_pid
        return parent is not None and os.getppid() != parent


def _too_large(size: int, maximum: int) -> EncodeError:
    return EncodeError(f"result: a frame of {size} bytes, longer than the maximum of {maximum}")

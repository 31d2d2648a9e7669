"""Runs `async def` functions concurrently with plain ones, and sends their answers."""

import functools
import select
import threading
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Callable, Optional

from pyproc_worker._calls.cancel import call_with_event
from pyproc_worker._calls.current import Call, run_async
from pyproc_worker._calls.times import Stopwatch
from pyproc_worker._loop.connection import Connection, Waiting
from pyproc_worker._loop.in_flight import CallInFlight
from pyproc_worker._system.fork import Forks, leave

if TYPE_CHECKING:
    from pyproc_worker._calls.event_loop import EventLoopThread, Start, Token


class ConcurrentCall(CallInFlight):
    """A call whose function runs on the event loop."""

    __slots__ = ("_context", "connection", "method", "watch", "writer")

    def __init__(
        self,
        connection: Connection,
        waiting: Waiting,
        size: int,
        cancel: Callable[[CallInFlight], None],
    ) -> None:
        request_id, exposed, _, writer, context = waiting
        event = threading.Event() if exposed.cancellable else None
        super().__init__(request_id, event, cancel, size)
        self._context = context
        self.connection = connection
        self.method = exposed.name
        self.writer = writer
        self.watch = Stopwatch() if writer.wants_times else None

    def starter(self, start: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """`start`, wrapped with this call's event, context and stopwatch."""
        if self._event is not None:
            start = functools.partial(call_with_event, start, event=self._event)
        if self._context is not None:
            start = functools.partial(run_async, Call(self.method, *self._context), start)
        return start if self.watch is None else functools.partial(self.watch.run_async, start)


class Concurrent:
    """Calls on the event loop. Its thread sends their answers without waiting for the main thread.

    Connections that need more work then are put into `unsettled`, and the loop is woken.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self.unsettled: deque[Connection] = deque()
        self.end: Optional[BaseException] = None
        """The `SystemExit` or `KeyboardInterrupt` that ends the worker."""
        self._wake = wake
        self._thread: Optional[EventLoopThread] = None
        self._answered: dict[Connection, dict[ConcurrentCall, bytes]] = {}
        self._sending: Optional[Connection] = None
        """Its answers are being sent, or an asynchronous exception interrupted the sending."""

    @property
    def running(self) -> bool:
        """Whether calls are in flight."""
        return self._thread is not None and self._thread.running > 0

    def submit(self, connection: Connection, requests: list[tuple[Waiting, int]]) -> None:
        """Starts requests, each with the size of its frame in bytes."""
        thread = self._begun()
        begun: list[ConcurrentCall] = []
        calls: list[tuple[Token, Start, Any]] = []
        for waiting, size in requests:
            call = ConcurrentCall(connection, waiting, size, thread.cancel)
            try:
                body = call.writer.read(waiting[2])
            except Exception as error:
                connection.outgoing.keep(call.writer.failure(call.id, call.method, error))
            else:
                begun.append(call)
                connection.running.add(call)
                if not call.id:  # its answer must come next
                    connection.held = True
                calls.append((call, call.starter(waiting[1].call), body))
        try:
            if calls:
                thread.submit(calls)
        except Exception as error:  # for instance, no thread can be started
            for call in begun:
                connection.running.remove(call)
                connection.held = connection.held and bool(call.id)
                connection.outgoing.keep(call.writer.failure(call.id, call.method, error))

    def look_again(self, connection: Connection) -> None:
        """Makes the loop settle a connection. From any thread."""
        self.unsettled.append(connection)
        self._wake()

    def stop(self) -> None:
        """Cancels the calls in flight and ends the thread."""
        if self._thread is not None:
            self._thread.stop()

    def _begun(self) -> "EventLoopThread":
        if self._thread is None:
            # Only here, as it loads asyncio.
            from pyproc_worker._calls.event_loop import EventLoopThread

            self._thread = EventLoopThread(self._answer, self._flush)
        return self._thread

    # On the event loop's thread

    def _answer(self, call: Any, result: Any, error: Optional[BaseException]) -> None:
        if Forks.is_child:
            leave(error)
        if isinstance(error, (SystemExit, KeyboardInterrupt)):
            self._flush()  # the answers before
            self.end = self.end or error
            return self._wake()
        self._answered.setdefault(call.connection, {})[call] = _written(call, result, error)

    def _flush(self) -> None:
        """Sends the answers. After an asynchronous exception it resumes."""
        while self._answered:
            connection, answers = next(iter(self._answered.items()))
            is_lost = self._sending is connection
            self._sending = connection
            try:
                if is_lost:
                    connection.outgoing.cut_off()
                else:
                    connection.outgoing.send(b"".join(answers.values()))
            except OSError:
                is_lost = True
            self._have_left(connection, answers, is_lost)
            del self._answered[connection]
            self._sending = None

    def _have_left(
        self, connection: Connection, calls: Iterable[ConcurrentCall], is_lost: bool
    ) -> None:
        resumes = False
        for call in calls:
            connection.running.remove(call)
            resumes = resumes or not call.id
        if resumes:  # its answer is on its way, so the next may start
            connection.held = False
        is_watched = connection.interest == select.POLLIN and not connection.refuses
        if connection.outgoing or resumes or is_lost or not is_watched:
            self.look_again(connection)


def _written(call: ConcurrentCall, result: Any, error: Optional[BaseException]) -> bytes:
    if error is None:
        try:
            return call.writer.success(call.id, result, call.watch)
        except Exception as failure:
            error = failure
    return call.writer.failure(call.id, call.method, error, call.watch)

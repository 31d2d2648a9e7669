"""Runs plain functions, one at a time.

The requests of a connection run one after another, and their answers leave in one write. A turn
ends after 50 µs, so that the client handles the first answers while the worker runs the next
requests. It also ends before a function whose last call was not quick, so that no answer waits
for it.
"""

import contextlib
import functools
import threading
import time
from collections import deque
from contextvars import copy_context
from typing import Any, Callable, Optional

from pyproc_worker._calls.cancel import call_with_event
from pyproc_worker._calls.deferred import Deferred
from pyproc_worker._functions.registry import Exposed
from pyproc_worker._limits import QUICK, TURN
from pyproc_worker._loop.answers import Callee, Runnable
from pyproc_worker._loop.connection import Connection, Waiting
from pyproc_worker._loop.in_flight import CallInFlight
from pyproc_worker._loop.plain_calls import PlainCalls
from pyproc_worker._loop.watcher import Watcher
from pyproc_worker._system.async_exceptions import ends_worker
from pyproc_worker._system.fork import Forks, leave


class WithoutId(Exposed):
    """An `async def` function in a call without an id, whose answer must keep its order.

    It starts when all earlier requests of its connection are answered. Later ones wait for its
    answer.
    """

    __slots__ = ("exposed",)

    def __init__(self, exposed: Exposed) -> None:
        self.exposed = exposed
        self.name, self.function, self.call = exposed.name, exposed.function, exposed.call
        self.concurrent = self.quick = False
        self.cancellable = True  # excludes it from the hot path


class Continued(Exposed):
    """The rest of a call whose plain function returned an awaitable."""

    __slots__ = ()

    def __init__(self, exposed: Exposed, deferred: Deferred) -> None:
        self.name, self.function, self.call = exposed.name, exposed.function, deferred.start
        self.concurrent, self.cancellable, self.quick = True, False, False


class Turns:
    """The connections with requests to run."""

    def __init__(
        self,
        settle: Callable[[Connection], None],
        look: Callable[[], None],
        wake: Callable[[], None],
        submit: Callable[[Connection, list[tuple[Waiting, int]]], None],
    ) -> None:
        self.ready: deque[Connection] = deque()
        self.calls = PlainCalls()
        self._turn: Optional[tuple[Connection, list[Any]]] = None
        """The current connection, and its answers. The last may be the request that runs."""
        self._watched: Optional[tuple[Watcher, Connection, CallInFlight]] = None
        """The running function with a `cancel_event`."""
        self._settle = settle
        """Called with a connection whose answers were sent."""
        self._look, self._wake = look, wake  # see `Watcher`
        self._submit = submit
        """Starts requests of `async def` functions."""

    def schedule(self, connection: Connection) -> None:
        """Queues a connection with requests to run."""
        if not connection.scheduled:
            connection.scheduled = True
            self.ready.append(connection)

    def run(self) -> bool:
        """Runs functions for about `TURN` seconds; returns whether there were any."""
        if not self.ready:
            return False
        deadline = time.perf_counter() + TURN
        while self.ready:
            connection = self.ready.popleft()
            connection.scheduled = False
            if connection.may_run:
                self._take_turn(connection)
            if time.perf_counter() > deadline:
                break
        return True

    def _take_turn(self, connection: Connection) -> None:
        """Runs requests of a connection for about `TURN` seconds, then sends their answers."""
        answers: list[Any] = []
        self._turn = connection, answers
        try:
            self._answer(connection, answers)
        except (SystemExit, KeyboardInterrupt):  # the earlier answers still leave
            connection.outgoing.keep(b"".join(it for it in answers if isinstance(it, bytes)))
            raise
        self._send(connection, answers)

    def finish(self, interruption: BaseException) -> None:
        """Finishes a turn that an asynchronous exception interrupted. May be repeated."""
        self._stop_watching()
        self.calls.end()
        if self._turn is None:
            return
        connection, answers = self._turn
        if answers and not isinstance(answers[-1], bytes):
            waiting = request_id, exposed, _, writer, _ = answers[-1]
            if connection.pending and connection.pending[0] is waiting:  # it has not run
                answers.pop()
            else:
                answers[-1] = writer.failure(request_id, exposed.name, interruption)
        if not connection.uncertain:
            self._send(connection, answers)
        self._turn = None

    def _send(self, connection: Connection, answers: list[bytes]) -> None:
        connection.uncertain = True
        self._deliver(connection, answers)
        self._turn = None
        connection.uncertain = False
        self._settle(connection)

    def _deliver(self, connection: Connection, answers: list[bytes]) -> None:
        if Forks.is_child:
            leave()
        with contextlib.suppress(OSError):  # the client is gone: `settle` closes the connection
            connection.outgoing.send(b"".join(answers))

    def _answer(self, connection: Connection, answers: list[Any]) -> None:
        pending, clock = connection.pending, time.perf_counter
        started = now = clock()
        own = copy_context()
        while pending and now - started < TURN:
            waiting = pending[0]
            request_id, exposed, argument, writer, context = waiting
            if not exposed.quick and now > started:
                break
            if isinstance(exposed, WithoutId):
                if not answers:  # else the answers are sent first
                    connection.uncertain = True
                    pending.popleft()
                    call = (request_id, exposed.exposed, argument, writer, context)
                    self._submit(connection, [(call, 0)])
                    connection.uncertain = False
                break
            answers.append(waiting)
            try:
                pending.popleft()
                if exposed.cancellable:
                    answer = self._answer_watched(connection, waiting)
                elif context is None:
                    if own:  # a call or the script has set a variable in it
                        own = copy_context()
                    answer = own.run(writer.answer, request_id, exposed, argument)
                else:
                    callee = self.calls.begin(exposed, context)
                    answer = copy_context().run(writer.answer, request_id, callee, argument)
                    self.calls.end()
            except Deferred as deferred:
                self.calls.end()
                connection.uncertain = True
                answers.pop()
                self._deliver(connection, answers)
                answers.clear()
                call = (request_id, Continued(exposed, deferred), argument, writer, context)
                self._submit(connection, [(call, 0)])
                connection.uncertain = False
                break
            except BaseException as error:  # not of the function, whose errors are answered
                if ends_worker(error):
                    raise
                self.calls.end()
                answer = writer.failure(request_id, exposed.name, error)
            answers[-1] = answer
            if exposed.cancellable:
                break
            before, now = now, clock()
            exposed.quick = now - before < QUICK

    def _answer_watched(self, connection: Connection, waiting: Waiting) -> bytes:
        """Runs a function with a `cancel_event`."""
        request_id, exposed, argument, writer, context = waiting
        callee: Callee = exposed if context is None else self.calls.begin(exposed, context)
        event = threading.Event()
        call = functools.partial(call_with_event, callee.call, event=event)
        listening = Runnable(callee.name, call)
        running = CallInFlight(request_id, event)
        watch = Watcher(self._look, self._wake)
        self._watched = watch, connection, running
        try:
            connection.running.add(running)
            watch.start()
            return copy_context().run(writer.answer, request_id, listening, argument)
        finally:
            self._stop_watching()
            self.calls.end()

    def _stop_watching(self) -> None:
        if self._watched is not None:
            watch, connection, running = self._watched
            watch.stop()
            connection.running.remove(running)
            self._watched = None

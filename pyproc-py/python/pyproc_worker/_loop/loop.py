"""The worker's loop: any number of connections, and one plain function at a time.

Received bytes are decoded at once (`receiver`), then requests run for a short time (`turns`).
Between turns the loop polls all sockets, so that a cancellation overtakes queued requests. `async
def` functions run on a thread of their own (`concurrent`).

This core is for installations without the native one, and frozen: it speaks versions 1 and 2 of
the protocol. Later additions are in `pyproc-protocol`, and so in the native core only. The hello
negotiates them: an unknown feature is not granted; an unknown version, kind of message or flag is
refused with the text `FROZEN` of `_errors`.

The state here belongs to one thread at a time: the serving thread or, while that runs a function
with a `cancel_event`, the thread that polls the sockets for it (`watcher`).
"""

import _socket
import contextlib
import functools
import itertools
import operator
import os
import select
import socket
import time
from collections.abc import Iterator
from typing import Any, Callable, Optional

from pyproc_worker import _log
from pyproc_worker._calls import channels, current
from pyproc_worker._codec.json_codec import Codec
from pyproc_worker._limits import BURST, FLUSH, IDLE_CHECK
from pyproc_worker._loop.concurrent import Concurrent
from pyproc_worker._loop.connection import Connection
from pyproc_worker._loop.receiver import DRAIN, Receiver
from pyproc_worker._loop.spin import Events, Spin
from pyproc_worker._loop.turns import Turns
from pyproc_worker._settings import Settings
from pyproc_worker._system import unpatched
from pyproc_worker._system.async_exceptions import ends_worker, log_async_exception
from pyproc_worker._system.fork import Forks, leave
from pyproc_worker._system.peers import Refusals, allowed_users, turn_away, user_of
from pyproc_worker._system.termination import Termination

_GONE = select.POLLHUP | select.POLLERR | select.POLLNVAL


class Loop:
    """Serves the connections to one listening socket."""

    def __init__(
        self, listener: socket.socket, codec: Codec, settings: Settings, termination: Termination
    ) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._clients = _clients_of(listener)
        self._accepted: list[_socket.socket] = []
        """Clients whose user has not been checked yet."""
        self._settings = settings
        self._termination = termination
        self._concurrent = Concurrent(termination.wake)
        self._receiver = Receiver(codec, settings.max_frame_size, self._concurrent)
        self._turns = Turns(
            self._settle_or_close, self._watch, termination.wake, self._concurrent.submit
        )
        self._allowed = allowed_users(settings)
        self._refusals = Refusals()
        self._connections: dict[int, Connection] = {}
        self._draining = False
        self._accept_paused = False
        self._flush_deadline = 0.0
        self._interruption: Optional[BaseException] = None
        """An asynchronous exception, which may have interrupted any step."""
        self._ran = False  # calls were in flight at the last check of a draining worker
        self._poll = unpatched.poll()
        self._poll.register(listener, select.POLLIN)
        self._poll.register(termination, select.POLLIN)
        self._spin = Spin(self._poll, settings.spin_us)
        self._wait_with_greenlets = unpatched.wait_with_greenlets()

    def serve(self) -> None:
        """Serves until SIGTERM or the end of the owner or the parent, then drains."""
        Forks.is_child = False
        Forks.in_child.append(self._abandon)
        current.find_plain_call = self._turns.calls.find
        try:
            # Nested, as another one may come while the first is handled.
            self._until_done(lambda: self._until_done(self._serve))
        except BaseException as error:
            if Forks.is_child:
                leave(error)
            if isinstance(error, SystemExit):  # of a function
                self._flush_all()
            raise
        finally:
            current.find_plain_call = None
            Forks.in_child.remove(self._abandon)
            for connection in list(self._connections.values()):
                connection.close()
            self._concurrent.stop()

    def _until_done(self, serve: Callable[[], None]) -> None:
        """Serves again after asynchronous exceptions."""
        while True:
            try:
                return serve()
            except BaseException as error:
                if Forks.is_child or ends_worker(error):
                    raise
                self._interruption = error

    def _serve(self) -> None:
        if self._interruption is not None:
            self._recover(self._interruption)
            self._interruption = None
        if self._is_orphan():
            self._drain()
        while not self._finished():
            self._step()
        if time.monotonic() < self._flush_deadline:  # the clients still read
            self._flush_all()

    def _step(self) -> None:
        self._handle(self._wait())
        if self._concurrent.end is not None:
            raise self._concurrent.end
        if self._turns.run():
            self._flush_deadline = time.monotonic() + FLUSH

    def _recover(self, interruption: BaseException) -> None:
        """Repeats the steps that an asynchronous exception may have interrupted.

        Another one may interrupt this, which is then repeated.
        """
        log_async_exception(interruption)
        self._turns.finish(interruption)
        self._turns.ready.clear()
        for connection in list(self._connections.values()):
            if connection.uncertain or connection.closed:
                self._close(connection)
                continue
            connection.scheduled = False
            connection.interest = 0
            self._poll.register(connection.fd, 0)  # it may not be registered yet
            self._settle_or_close(connection)
        self._admit_accepted()
        if self._draining:
            self._refuse_more()

    # Sockets

    def _wait(self) -> Events:
        timeout = self._timeout()
        if self._wait_with_greenlets is None or timeout == 0:
            return self._spin.wait(timeout, not self._concurrent.running)
        interests = [(fd, connection.interest) for fd, connection in self._connections.items()]
        interests.append((self._termination.fileno(), select.POLLIN))
        if not (self._accept_paused or self._draining):
            interests.append((self._listener.fileno(), select.POLLIN))
        self._wait_with_greenlets(interests, timeout)
        return self._spin.wait(0, False)

    def _handle(self, events: Events) -> None:
        for fd, event in events:
            connection = self._connections.get(fd)
            if connection is not None:
                self._serve_connection(connection, event)
            elif fd == self._listener.fileno():
                self._accept()
            else:
                self._termination.clear()
        while self._concurrent.unsettled:
            self._settle_or_close(self._concurrent.unsettled.popleft())
        if self._accept_paused and not events:
            self._listen(True)
        if self._termination.requested or (not events and self._is_orphan()):
            self._drain()

    def _watch(self) -> None:
        """Polls the sockets while a function runs."""
        self._handle(self._poll.poll(IDLE_CHECK * 1000))

    def _timeout(self) -> Optional[float]:
        """Milliseconds to wait for events; None without limit."""
        if self._turns.ready:
            return 0
        if self._draining:
            return max(0.0, self._flush_deadline - time.monotonic()) * 1000
        checks = self._accept_paused or self._settings.parent_pid is not None
        return IDLE_CHECK * 1000 if checks else None

    def _accept(self) -> None:
        for _ in range(BURST):
            try:
                self._accepted.extend(itertools.islice(self._clients, 1))
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # most likely out of descriptors: retried later
                _log.error(f"cannot accept a connection: {error}")
                return self._listen(False)
            self._admit_accepted()

    def _admit_accepted(self) -> None:
        """Idempotent: an asynchronous exception may interrupt it, and `_recover` repeats it."""
        while self._accepted:
            client = self._accepted[0]
            if client.fileno() not in self._connections:
                self._admit(client)
            del self._accepted[0]

    def _admit(self, client: _socket.socket) -> None:
        try:
            uid = user_of(client)
        except OSError:  # it has disconnected
            return client.close()
        if uid not in self._allowed:
            turn_away(client, uid)
            return self._refusals.add(uid)
        connection = Connection(client, self._settings.max_frame_size, self._receiver.plain)
        self._connections[connection.fd] = connection
        self._poll.register(client, 0)
        self._settle(connection)

    def _serve_connection(self, connection: Connection, event: int) -> None:
        try:
            if event & select.POLLIN:
                connection.uncertain = True
                self._receiver.receive(connection)
                connection.uncertain = False
            if event & _GONE:
                self._close(connection)
            else:
                self._settle(connection)
        except OSError:
            self._close(connection)

    def _settle_or_close(self, connection: Connection) -> None:
        try:
            if not connection.closed:
                self._settle(connection)
        except OSError:
            self._close(connection)

    def _settle(self, connection: Connection) -> None:
        """Decides, after an event of a connection, what happens next: send, run, wait, close."""
        # While the interest is 0, the event loop's thread asks for another `_settle`.
        known, connection.interest = connection.interest, 0
        connection.flush()
        if connection.finished:
            return self._close(connection)
        if connection.may_run:
            self._turns.schedule(connection)
        interest = connection.wanted_events()
        if interest != known:
            self._poll.modify(connection.fd, interest)
        connection.interest = interest

    def _close(self, connection: Connection) -> None:
        with contextlib.suppress(KeyError):  # an asynchronous exception came before
            self._poll.unregister(connection.fd)
        connection.close()
        if connection.owner:
            self._drain()
        if self._accept_paused:
            self._listen(True)
        self._connections.pop(connection.fd, None)  # last, as `_recover` looks there

    def _listen(self, wanted: bool) -> None:
        self._accept_paused = not wanted
        self._poll.modify(self._listener, select.POLLIN if wanted and not self._draining else 0)

    # The end

    def _drain(self) -> None:
        """Accepts only requests that have arrived already, and ends when they are answered."""
        if self._draining:
            return
        self._draining = True
        self._refuse_more()

    def _refuse_more(self) -> None:
        """Idempotent: a client ignores a second drain."""
        self._flush_deadline = time.monotonic() + FLUSH
        self._listen(False)
        channels.drain()
        for connection in list(self._connections.values()):
            if connection.closed:
                continue
            self._serve_connection(connection, 0 if connection.ended else select.POLLIN)
            connection.refuses = True  # before another thread can send the drain
            if connection.version == 2 and not connection.closed:
                connection.outgoing.keep(DRAIN)
                self._settle_or_close(connection)

    def _finished(self) -> bool:
        if not self._draining or self._turns.ready:
            return False
        connections = self._connections.values()
        ran, self._ran = self._ran, any(connection.running for connection in connections)
        if ran or self._ran:  # the time to read an answer begins when the call ends
            self._flush_deadline = time.monotonic() + FLUSH
        if self._ran:
            return False
        if time.monotonic() > self._flush_deadline:
            return True
        return not any(connection.pending or connection.outgoing for connection in connections)

    def _flush_all(self) -> None:
        """Gives clients a limited time to read the answers."""
        channels.drain()
        deadline = time.monotonic() + FLUSH
        for connection in list(self._connections.values()):
            connection.outgoing.finish_before(deadline)

    def _is_orphan(self) -> bool:
        parent = self._settings.parent_pid
        return parent is not None and os.getppid() != parent

    def _abandon(self) -> None:
        """In a forked process: the clients belong to the parent."""
        for connection in self._connections.values():
            connection.abandon()


def _clients_of(listener: socket.socket) -> Iterator[_socket.socket]:
    """Accepts a client each time it is advanced.

    `list.extend` advances it in C throughout, so an asynchronous exception comes before or after.
    `socket.accept` is Python code: an exception within it leaks the client's descriptor.
    """
    accept: Any = listener._accept  # type: ignore[attr-defined]
    accepted = itertools.starmap(accept, itertools.repeat(()))
    of_descriptor = functools.partial(_socket.socket, -1, -1, -1)
    return map(of_descriptor, map(operator.itemgetter(0), accepted))

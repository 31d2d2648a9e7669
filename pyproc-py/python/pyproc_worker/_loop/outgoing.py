"""The frames that leave on one socket. The loop and the event loop's thread both send.

Telemetry may be sent by any thread, and wherever Python happens to run a destructor or a handler
of signals: also while the same thread is within a method here. So it's only offered then, and
leaves with what that method sends.
"""

import _socket
import contextlib
import time

from pyproc_worker._codec.frames import Bytes
from pyproc_worker._system import unpatched


class Outgoing:
    """Sends at once what the client takes, and keeps the rest. Frames stay whole and in order."""

    def __init__(self, sock: _socket.socket) -> None:
        self._socket = sock
        self._lock = unpatched.Lock()
        self._waiting = bytearray()
        self._offered = bytearray()  # what is done with it at once needs no lock
        self._sending = False  # also where an exception from outside cut that off
        self._closed = False

    def __len__(self) -> int:
        """Bytes that the client has not taken yet."""
        return len(self._waiting)

    def keep(self, frames: bytes) -> None:
        """Lets frames wait for the next `flush`; it does nothing once this is closed."""
        with self._lock:
            if not self._closed:
                self._waiting += frames
        if self._offered:
            self._send_offered()

    def send(self, frames: bytes) -> None:
        """Raises `OSError` if the client is gone; it does nothing once this is closed."""
        with self._lock:
            if not self._closed:
                self._send(frames)
        if self._offered:
            self._send_offered()

    def offer(self, frame: bytes, limit: int) -> bool:
        """Sends a frame at once or lets it wait; says whether it does either.

        It does not if more than `limit` bytes would wait. Raises nothing.
        """
        waiting = len(self._waiting) + len(self._offered)
        if self._closed or (waiting and waiting + len(frame) > limit):
            return False
        self._offered.extend(frame)
        self._send_offered()
        return True

    def flush(self) -> None:
        """Sends what waits, as far as the client takes it. Raises `OSError` if it is gone."""
        with self._lock:
            if self._waiting or self._sending:
                self._flush()
        if self._offered:
            self._send_offered()

    def cut_off(self) -> None:
        """Nobody knows how much was sent: all that follows raises `OSError`."""
        self._sending = True

    def finish_before(self, deadline: float) -> None:
        """Waits for the client to take all, until `deadline` of the monotonic clock.

        Nothing is sent afterwards.
        """
        with self._lock, contextlib.suppress(OSError):
            self._take_offered()
            self._closed = True
            self._begin()
            self._socket.settimeout(max(0.0, deadline - time.monotonic()))
            self._socket.sendall(self._waiting)

    def close(self) -> None:
        """Forgets what waits, and closes the socket."""
        with self._lock:
            self._closed = True
            self._waiting.clear()
            self._offered.clear()
            self._socket.close()

    def abandon(self) -> None:
        """In a forked process: nothing is sent from now on."""
        self._lock = unpatched.Lock()  # the old one may be held by a thread that isn't here
        self._closed = True

    def _send(self, frames: bytes) -> None:
        if self._offered:
            self._take_offered()
        if self._waiting:
            self._waiting += frames
            return self._flush()
        self._begin()
        sent = self._try_to_send(frames)
        if sent < len(frames):
            self._waiting += memoryview(frames)[sent:]
        self._sending = False

    def _take_offered(self) -> None:
        taken = self._offered[:]
        del self._offered[: len(taken)]  # not what was offered since
        self._waiting += taken

    def _send_offered(self) -> None:
        """Sends what was offered, unless somebody else has the lock, who does it then."""
        while self._offered and not self._closed and not self._lock.locked():
            try:
                with self._lock:  # which no exception from outside leaves locked
                    self._take_offered()
                    self._flush()
            except OSError:  # the client is gone, which the loop sees too
                return

    def _flush(self) -> None:
        self._begin()
        del self._waiting[: self._try_to_send(self._waiting)]
        self._sending = False

    def _begin(self) -> None:
        if self._sending:
            raise ConnectionAbortedError("an exception came while frames were sent")
        self._sending = True

    def _try_to_send(self, data: Bytes) -> int:
        try:
            return self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            return 0

"""The outgoing frames of one socket. The loop and the event loop's thread both send.

Telemetry may be sent by any thread, and wherever Python runs a destructor or a signal handler: also
while the same thread is within a method here. Such frames are only offered, and that method sends
them.
"""

import _socket
import contextlib
import time

from pyproc_worker._codec.frames import Bytes
from pyproc_worker._system import unpatched


class Outgoing:
    """Sends at once what fits into the socket, and buffers the rest. Frames keep their order."""

    def __init__(self, sock: _socket.socket) -> None:
        self._socket = sock
        self._lock = unpatched.Lock()
        self._waiting = bytearray()
        self._offered = bytearray()  # each access is one atomic operation
        self._sending = False  # stays set if an asynchronous exception interrupts it
        self._closed = False

    def __len__(self) -> int:
        """Buffered bytes."""
        return len(self._waiting)

    def keep(self, frames: bytes) -> None:
        """Buffers frames until the next `flush`. Does nothing after `close`."""
        with self._lock:
            if not self._closed:
                self._waiting += frames
        if self._offered:
            self._send_offered()

    def send(self, frames: bytes) -> None:
        """Sends frames. Raises `OSError` if the client is gone. Does nothing after `close`."""
        with self._lock:
            if not self._closed:
                self._send(frames)
        if self._offered:
            self._send_offered()

    def offer(self, frame: bytes, limit: int) -> bool:
        """Sends or buffers a frame; returns whether it was accepted.

        It is refused if more than `limit` bytes would be buffered. Never raises.
        """
        waiting = len(self._waiting) + len(self._offered)
        if self._closed or (waiting and waiting + len(frame) > limit):
            return False
        self._offered.extend(frame)
        self._send_offered()
        return True

    def flush(self) -> None:
        """Sends buffered bytes that fit into the socket. Raises `OSError` if the client is gone."""
        with self._lock:
            if self._waiting or self._sending:
                self._flush()
        if self._offered:
            self._send_offered()

    def cut_off(self) -> None:
        """It is unknown how much was sent: every later send raises `OSError`."""
        self._sending = True

    def finish_before(self, deadline: float) -> None:
        """Sends everything, until `deadline` of the monotonic clock at most.

        Nothing is sent afterwards.
        """
        with self._lock, contextlib.suppress(OSError):
            self._take_offered()
            self._closed = True
            self._begin()
            self._socket.settimeout(max(0.0, deadline - time.monotonic()))
            self._socket.sendall(self._waiting)

    def close(self) -> None:
        """Drops buffered bytes and closes the socket."""
        with self._lock:
            self._closed = True
            self._waiting.clear()
            self._offered.clear()
            self._socket.close()

    def abandon(self) -> None:
        """In a forked process: nothing is sent from now on."""
        self._lock = unpatched.Lock()  # a thread of the parent may hold the old one
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
        del self._offered[: len(taken)]  # frames offered meanwhile stay
        self._waiting += taken

    def _send_offered(self) -> None:
        """Sends offered frames. If the lock is held, its holder sends them."""
        while self._offered and not self._closed and not self._lock.locked():
            try:
                with self._lock:  # released also after an asynchronous exception
                    self._take_offered()
                    self._flush()
            except OSError:  # the client is gone: the loop notices it, too
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

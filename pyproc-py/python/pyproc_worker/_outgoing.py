"""The frames that leave on one socket. The loop and the event loop's thread both send."""

import contextlib
import socket
import threading
import time

from pyproc_worker._frames import Bytes


class Outgoing:
    """Sends at once what the client takes, and keeps the rest. Frames stay whole and in order."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._lock = threading.Lock()
        self._waiting = bytearray()
        self._closed = False

    def __len__(self) -> int:
        """Bytes that the client has not taken yet."""
        return len(self._waiting)

    def keep(self, frames: bytes) -> None:
        """Lets frames wait for the next `flush`; it does nothing once this is closed."""
        with self._lock:
            if not self._closed:
                self._waiting += frames

    def send(self, frames: bytes) -> None:
        """Raises `OSError` if the client is gone; it does nothing once this is closed."""
        with self._lock:
            if self._closed:
                return
            if self._waiting:
                self._waiting += frames
                return self._flush()
            sent = self._try_to_send(frames)
            if sent < len(frames):
                self._waiting += memoryview(frames)[sent:]

    def flush(self) -> None:
        """Sends what waits, as far as the client takes it. Raises `OSError` if it is gone."""
        with self._lock:
            if self._waiting:
                self._flush()

    def flush_before(self, deadline: float) -> None:
        """Waits for the client to take all, until `deadline` of the monotonic clock."""
        with self._lock, contextlib.suppress(OSError):
            self._socket.settimeout(max(0.0, deadline - time.monotonic()))
            self._socket.sendall(self._waiting)

    def close(self) -> None:
        """Forgets what waits, and closes the socket."""
        with self._lock:
            self._closed = True
            self._waiting.clear()
            self._socket.close()

    def abandon(self) -> None:
        """In a forked process: nothing is sent from now on."""
        self._lock = threading.Lock()  # the old one may be held by a thread that isn't here
        self._closed = True

    def _flush(self) -> None:
        del self._waiting[: self._try_to_send(self._waiting)]

    def _try_to_send(self, data: Bytes) -> int:
        try:
            return self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            return 0

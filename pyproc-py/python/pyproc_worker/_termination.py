"""SIGTERM as a request that the loop notices, also while it waits for sockets."""

import contextlib
import signal
import socket
import threading
from types import FrameType, TracebackType
from typing import Any, Optional


class Termination:
    """Catches SIGTERM while it is entered; its descriptor becomes readable with a signal.

    In a thread other than the main one, and when the script handles SIGTERM itself, it
    never happens.
    """

    def __init__(self) -> None:
        self.requested = False
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._old_wakeup = -1
        self._catches = False

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return self._reader.fileno()

    def clear(self) -> None:
        """Makes the descriptor wait for the next signal."""
        with contextlib.suppress(BlockingIOError):
            self._reader.recv(4096)

    def __enter__(self) -> "Termination":
        if threading.current_thread() is threading.main_thread():
            self._old_wakeup = signal.set_wakeup_fd(
                self._writer.fileno(), warn_on_full_buffer=False
            )
            self._catches = signal.getsignal(signal.SIGTERM) in (signal.SIG_DFL, signal.SIG_IGN)
        if self._catches:
            signal.signal(signal.SIGTERM, self._on_signal)
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.set_wakeup_fd(self._old_wakeup)
        if self._catches:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._reader.close()
        self._writer.close()

    def _on_signal(self, number: int, frame: Optional[FrameType]) -> Any:
        self.requested = True

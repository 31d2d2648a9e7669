"""SIGTERM as a request that wakes the loop while it polls sockets."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType, TracebackType
    from typing import Any


class Termination:
    """Handles SIGTERM while it is entered: its descriptor becomes readable.

    It does nothing in threads other than the main one, and if the script handles SIGTERM itself.
    Processes that functions fork do not inherit it: SIGTERM ends them.
    """

    def __init__(self) -> None:
        self.requested = False
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._in_main = False
        self._old_wakeup = -1
        self._old_handler: Any = None
        self._catches = False

    def fileno(self) -> int:
        """The descriptor to poll."""
        return self._reader.fileno()

    def wake(self) -> None:
        """Makes the descriptor readable, which wakes the loop. From any thread."""
        with contextlib.suppress(OSError):  # full: it is readable; closed: no loop polls it
            self._writer.send(b"\0")

    def request(self) -> None:
        """Asks the loop to end, as SIGTERM does. From any thread."""
        self.requested = True
        self.wake()

    def clear(self) -> None:
        """Makes the descriptor unreadable until the next signal."""
        with contextlib.suppress(BlockingIOError):
            self._reader.recv(4096)

    def __enter__(self) -> Termination:
        try:
            self._old_wakeup = signal.set_wakeup_fd(
                self._writer.fileno(), warn_on_full_buffer=False
            )
        except ValueError:  # not the main thread
            return self
        self._in_main = True
        self._old_handler = signal.getsignal(signal.SIGTERM)
        self._catches = self._old_handler in (signal.SIG_DFL, signal.SIG_IGN)
        if self._catches:
            signal.signal(signal.SIGTERM, self._on_signal)
            _forks.guarded = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._in_main:
            signal.set_wakeup_fd(self._old_wakeup)
        if self._catches:
            _forks.guarded = False
            signal.signal(signal.SIGTERM, self._old_handler)
        self._reader.close()
        self._writer.close()

    def _on_signal(self, number: int, frame: FrameType | None) -> Any:
        self.request()  # wakes again: the loop may have checked too early


class _Forks:
    """Restores SIGTERM's default action in processes that are forked while it is handled.

    Python would lose a signal that arrives in a new process before that, so SIGTERM is blocked
    during the fork.
    """

    def __init__(self) -> None:
        self.guarded = False
        self._thread = threading.local()
        os.register_at_fork(  # cannot be undone, so registered once
            before=self._block,
            after_in_parent=self._unblock,
            after_in_child=self._reset,
        )

    def _block(self) -> None:
        if self.guarded:
            self._thread.mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])

    def _unblock(self) -> None:
        mask = self._thread.__dict__.pop("mask", None)
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _reset(self) -> None:
        if self.guarded:
            self.guarded = False
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._unblock()


_forks = _Forks()

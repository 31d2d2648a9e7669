"""A thread that polls the sockets while a function with a `cancel_event` runs."""

from typing import Callable

from pyproc_worker._system import unpatched
from pyproc_worker._system.fork import Forks


class Watcher:
    """Polls until `stop`. Until then the starting thread must not touch the sockets."""

    def __init__(self, look: Callable[[], None], wake: Callable[[], None]) -> None:
        self._look = look
        """Polls the sockets once and handles the events."""
        self._wake = wake
        """Interrupts the poll."""
        self._looking = unpatched.Lock()
        self._is_over = False

    def start(self) -> None:
        """Raises `RuntimeError` if the system refuses another thread."""
        unpatched.Thread(self._run, "pyproc-watch").start()

    def stop(self) -> None:
        """Waits for the current poll to end. Idempotent."""
        self._is_over = True
        if not Forks.is_child:  # it has no such thread, but perhaps a locked lock
            self._wake()
            with self._looking:
                pass

    def _run(self) -> None:
        while True:
            with self._looking:
                if self._is_over:
                    return
                self._look()

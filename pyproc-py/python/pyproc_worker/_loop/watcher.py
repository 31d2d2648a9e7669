"""Another thread looks at the sockets while a function runs that can be cancelled."""

from typing import Callable

from pyproc_worker._system import unpatched
from pyproc_worker._system.fork import Forks


class Watch:
    """Until `stop`, the thread that began this does not touch the sockets."""

    def __init__(self, look: Callable[[], None], wake: Callable[[], None]) -> None:
        self._look = look
        """Waits until something happens on the sockets, and sees to it."""
        self._wake = wake
        """Ends such a wait."""
        self._looking = unpatched.Lock()
        self._is_over = False

    def start(self) -> None:
        """Raises `RuntimeError` if the system has no room for another thread."""
        unpatched.Thread(self._run, "pyproc-watch").start()

    def stop(self) -> None:
        """Waits for the last look. May be called again."""
        self._is_over = True
        if not Forks.is_child:  # which has no such thread, but perhaps its lock
            self._wake()
            with self._looking:
                pass

    def _run(self) -> None:
        while True:
            with self._looking:
                if self._is_over:
                    return
                self._look()

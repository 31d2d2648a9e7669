"""Watches the pool's process for a worker that is not its child: a wrapper is in between.

`uv run`, `conda run` or `nsys profile` run Python as their own child. So the worker's parent is the
wrapper, and the system does not signal the end of the pool's process.
"""

from __future__ import annotations

import contextlib
import os
import signal

from pyproc_worker import _log
from pyproc_worker._system import unpatched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pyproc_worker._settings import Settings
    from pyproc_worker._system.termination import Termination

CHECK = 1.0  # seconds between checks
LONGEST_END = 10.0  # seconds that the worker has to finish its calls
ENDED = (b"Z", b"X")  # states of ended processes that are not reaped yet


@contextlib.contextmanager
def watching(settings: Settings, termination: Termination) -> Iterator[None]:
    """While it is entered, a worker in a wrapper ends with the pool's process.

    For a child of the pool's process it does nothing: the cores check their parent.
    """
    pool, wrapper = settings.parent_pid, os.getppid()
    if pool is None or pool == wrapper:
        yield
        return
    settings.parent_pid = None  # so that the cores do not check it
    if not _descends_from(pool):
        _log.error(
            f"process {pool}, which PYPROC_PARENT_PID names, is gone or did not start this worker: "
            "the worker ends. Unset it in a container that has process ids of its own"
        )
        termination.request()
        yield
        return
    over = unpatched.Lock()  # released at the end
    over.acquire()
    unpatched.Thread(lambda: _watch(pool, wrapper, termination, over), "pyproc-parent").start()
    try:
        yield
    finally:
        over.release()


def _watch(pool: int, wrapper: int, termination: Termination, over: Any) -> None:
    while os.getppid() == wrapper and _lives(pool):
        if over.acquire(timeout=CHECK):
            return
    termination.request()
    if not over.acquire(timeout=LONGEST_END):
        # Without a wrapper, the system kills the worker at once.
        os.kill(os.getpid(), signal.SIGKILL)


def _descends_from(ancestor: int) -> bool:
    """Whether the process is an ancestor of this one.

    Without `/proc`: whether it is alive.
    """
    pid = os.getppid()
    while pid not in (0, 1, ancestor):
        status = _status(pid)
        if status is None:
            return _lives(ancestor)
        pid = status[1]
    return pid == ancestor


def _lives(pid: int) -> bool:
    status = _status(pid)
    if status is not None:
        return status[0] not in ENDED
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # alive, but of another user
        return True
    return True


def _status(pid: int) -> tuple[bytes, int] | None:
    """A process's state and parent; None if `/proc` is missing or hides the process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            state, parent = file.read().rpartition(b")")[2].split()[:2]
    except (OSError, ValueError):
        return None
    return state, int(parent)

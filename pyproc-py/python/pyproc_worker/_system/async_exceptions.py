"""Exceptions that no function raised: they came between calls, and the worker goes on.

The handler of a signal raises them, such as of a timer that a function left behind, or another
thread injects them (`PyThreadState_SetAsyncExc`).
"""

from pyproc_worker import _log


def ends_worker(error: BaseException) -> bool:
    """Whether an exception ends the worker, whoever raised it."""
    return isinstance(error, (SystemExit, KeyboardInterrupt))


def log_stray(error: BaseException) -> None:
    """Says that an exception came, and that the worker goes on."""
    _log.error("a signal's handler or another thread raised this between calls", error)

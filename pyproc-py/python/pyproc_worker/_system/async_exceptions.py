"""Asynchronous exceptions: no function raises them, and the worker keeps serving.

A signal handler raises them between calls, for instance of a timer that a function has left
behind, or another thread does (`PyThreadState_SetAsyncExc`).
"""

from pyproc_worker import _log


def ends_worker(error: BaseException) -> bool:
    """Whether an exception ends the worker, wherever it was raised."""
    return isinstance(error, (SystemExit, KeyboardInterrupt))


def log_async_exception(error: BaseException) -> None:
    """Logs an asynchronous exception. The worker keeps serving."""
    _log.error("a signal handler or another thread raised this between calls", error)

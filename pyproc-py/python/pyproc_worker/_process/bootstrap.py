"""Prepares a process before its script is loaded, if the environment makes it a worker.

The import of the package calls it.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os

from pyproc_worker import _log
from pyproc_worker._system.import_hooks import when_loaded


class _Begun:
    has = False


def begin(is_worker: bool = False) -> None:
    """Idempotent. With `is_worker`, the process is a worker whatever the environment contains."""
    if _Begun.has or not (is_worker or "PYPROC_SOCKET_PATH" in os.environ):
        return
    _Begun.has = True
    _show_stacks_of_crashes()
    when_loaded("logging", _prepare_logging)


def _show_stacks_of_crashes() -> None:
    """Enables `faulthandler`, unless ``PYTHONFAULTHANDLER`` is 0: Python itself would enable it
    for any text."""
    if os.environ.get("PYTHONFAULTHANDLER") == "0":
        faulthandler.disable()
    elif not faulthandler.is_enabled():
        with contextlib.suppress(Exception):  # stderr is missing or not a file
            faulthandler.enable()


def _prepare_logging() -> None:
    _log.prepare_early((os.environ.get("PYPROC_LOG_LEVEL") or "").upper())

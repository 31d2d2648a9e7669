"""What a worker needs before its script is loaded: whoever imports the package gets it, if the
environment says that this process is to be a worker."""

from __future__ import annotations

import contextlib
import faulthandler
import os

from pyproc_worker import _log
from pyproc_worker._system.import_hooks import when_loaded


class _Begun:
    has = False


def begin(is_worker: bool = False) -> None:
    """Only the first time counts. `is_worker` says that it is one whatever the environment says."""
    if _Begun.has or not (is_worker or "PYPROC_SOCKET_PATH" in os.environ):
        return
    _Begun.has = True
    _show_stacks_of_crashes()
    when_loaded("logging", _prepare_logging)


def _show_stacks_of_crashes() -> None:
    """By `faulthandler`, unless it is on or ``PYTHONFAULTHANDLER`` is 0, which Python itself takes
    for any other text."""
    if os.environ.get("PYTHONFAULTHANDLER") == "0":
        faulthandler.disable()
    elif not faulthandler.is_enabled():
        with contextlib.suppress(Exception):  # there is no stderr, or it is no file
            faulthandler.enable()


def _prepare_logging() -> None:
    _log.prepare_early((os.environ.get("PYPROC_LOG_LEVEL") or "").upper())

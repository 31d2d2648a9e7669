"""Starts a worker: settings, logging, socket, loop."""

import contextlib
import gc
import io
import logging
import os
import sys
from typing import Any, Optional

from pyproc_worker._codec import choose_codec
from pyproc_worker._listener import listening
from pyproc_worker._loop import Loop
from pyproc_worker._settings import Settings
from pyproc_worker._termination import Termination

INTERRUPTED = 130  # the exit code of a process that SIGINT ended

KEPT_MEMORY = 16 * 1024 * 1024  # bytes

logger = logging.getLogger("pyproc_worker")


class Runs:
    """Whether workers ran in this process, and whether they may: `pyproc-worker` asks and says."""

    allowed = True
    started = False
    refusal: Optional[Exception] = None
    """Why a worker could not start: a setting or the socket's path is at fault."""


def run_worker(socket_path: Optional[str] = None) -> None:
    """Serves the exposed functions on a Unix socket until the worker is to end.

    `socket_path` is by default what the environment variable ``PYPROC_SOCKET_PATH`` says.

    It returns after SIGTERM, when the client that owns the worker leaves, or when its
    parent process (``PYPROC_PARENT_PID``) is gone: requests that had arrived are answered
    first. Ctrl-C ends the process with exit code 130. `sys.exit` in a function ends the
    worker with its code. Objects that exist by now are kept out of garbage collection
    (`gc.freeze`), which shortens its pauses.

    Raises `ValueError` without a path, for one that is too long, and for an environment
    variable that makes no sense; `FileExistsError` if the path is a file that is no socket, and
    other kinds of `OSError` if it cannot be listened at.
    """
    Runs.started = True
    if not Runs.allowed:
        return
    try:
        with contextlib.ExitStack() as resources:
            try:
                loop = _start(socket_path, resources)
            except (ImportError, OSError, ValueError) as error:
                Runs.refusal = error
                raise
            loop.serve()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _start(socket_path: Optional[str], resources: contextlib.ExitStack) -> Loop:
    """A loop that is ready to serve; what it needs is closed with `resources`."""
    path = socket_path or os.environ.get("PYPROC_SOCKET_PATH")
    if not path:
        raise ValueError("no socket path: give run_worker() one, or set PYPROC_SOCKET_PATH")
    settings = Settings.from_environment()
    codec = choose_codec(settings.codec)
    _set_up_output(settings.log_level)
    listener = resources.enter_context(listening(path))
    termination = resources.enter_context(Termination())
    logger.info("serving on %s, JSON by %s", path, codec.name)
    _prepare_memory()
    return Loop(listener, codec, settings, termination)


def _prepare_memory() -> None:
    """Keeps what the script built out of garbage collection, and freed memory in the process.

    glibc returns freed memory to the system at once, and each large message then pays for page
    faults, until a large block has been freed: it then keeps up to twice that much.
    """
    gc.collect()
    gc.freeze()
    bytes(KEPT_MEMORY // 2)


def _set_up_output(log_level: str) -> None:
    """A crash must not lose lines in a pipe's buffer, and logs of ours need a way out."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)
    if not logging.getLogger().handlers:
        known: Any = logging.getLevelName(log_level)
        if not isinstance(known, int):
            raise ValueError(f"PYPROC_LOG_LEVEL is {log_level!r}, which is no level of logging")
        logging.basicConfig(level=known, stream=sys.stderr)

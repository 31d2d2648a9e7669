"""The native core; `Loop` in `_loop.loop` does the same in Python."""

import socket
from typing import Any

from pyproc_worker._settings import Settings
from pyproc_worker._system.termination import Termination

JSON: str
"""What reads and writes JSON, for the log."""

def serve(listener: socket.socket, settings: Settings, termination: Termination) -> None:
    """Serves the exposed functions until the worker is to end.

    Raises `SystemExit` and `KeyboardInterrupt` of functions, and `OSError` if the system refuses
    what a worker needs.
    """

def loads(document: bytes) -> Any:
    """The value that a JSON document is. Raises `InvalidRequest`. For tests."""

def dumps(value: Any) -> bytes:
    """A result as JSON. Raises `EncodeError`. For tests."""

"""The native core; `Loop` in `_loop.loop` does the same in Python."""

import socket
from typing import Any

from pyproc_worker._settings import Settings
from pyproc_worker._system.termination import Termination

JSON: str
"""The JSON library, for the log."""

def serve(listener: socket.socket, settings: Settings, termination: Termination) -> None:
    """Serves the exposed functions until the worker ends.

    Raises `SystemExit` and `KeyboardInterrupt` of functions, and `OSError` if a system call fails.
    """

def loads(document: bytes) -> Any:
    """Decodes a JSON document. Raises `InvalidRequest`. For tests."""

def dumps(value: Any) -> bytes:
    """Encodes a result as JSON. Raises `EncodeError`. For tests."""

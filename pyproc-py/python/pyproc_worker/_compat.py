"""`Worker`, `FramedConnection` and `logger`, for scripts that were written for the Go original."""

from __future__ import annotations

import logging
import os
import socket
import struct

from pyproc_worker import _log
from pyproc_worker._process.run import run_worker
from pyproc_worker._settings import codec_of_type
from pyproc_worker.codec import Codec, get_codec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LENGTH = struct.Struct(">I")


class FramedConnection:
    """Frames on a blocking socket, for a client of the script's own."""

    def __init__(self, conn: socket.socket, codec: Codec | None = None) -> None:
        self.conn = conn
        self.codec = codec or get_codec("auto")

    def read_message(self) -> bytes | None:
        """The next frame's body; None at the end.

        Raises `RuntimeError` if the stream ends within a frame.
        """
        prefix = self._read(_LENGTH.size)
        if prefix is None:
            return None
        body = self._read(*_LENGTH.unpack(prefix))
        if body is None:
            raise RuntimeError("Failed to read complete message")
        return body

    def write_message(self, data: bytes) -> None:
        """Sends a frame."""
        self.conn.sendall(_LENGTH.pack(len(data)) + data)

    def _read(self, size: int) -> bytes | None:
        data = bytearray()
        while len(data) < size:
            piece = self.conn.recv(size - len(data))
            if not piece and data:
                raise RuntimeError("Failed to read complete message")
            if not piece:
                return None
            data += piece
        return bytes(data)


class Worker:
    """`run_worker` as an object: `Worker(path).start()`."""

    def __init__(self, socket_path: str, codec_type: str = "auto") -> None:
        codec_of_type(codec_type)  # raises for an unknown type
        self.socket_path = socket_path
        self.codec_type = codec_type

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in ("_handle_connection", "_process_request", "_handle_cancellation"):
            if name in vars(cls):
                raise TypeError(
                    f"{cls.__name__}.{name} would never be called, as this version of "
                    "pyproc-worker serves clients in another way: put what it does into a "
                    "decorator of the exposed functions"
                )

    def start(self) -> None:
        """Serves, as `run_worker` does."""
        run_worker(self.socket_path, self.codec_type)


def make_logger() -> logging.Logger:
    """The package's logger, with a handler for records before `run_worker`."""
    _log.set_up((os.environ.get("PYPROC_LOG_LEVEL") or "").upper())
    return logging.getLogger(_log.NAME)

"""The socket file on which a worker listens."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

BACKLOG = 128
LONGEST_PATH = 107 if sys.platform == "linux" else 103  # bytes that fit into sun_path


@contextlib.contextmanager
def listening(path: str) -> Iterator[socket.socket]:
    """A socket that listens at `path`; the file is removed at the end, if it's still ours.

    Raises `ValueError` if the path is too long for a socket, `FileExistsError` if there is
    something there that is no socket. A socket that is there already is replaced.
    A process that was forked meanwhile leaves the file alone.
    """
    size = len(os.fsencode(path))
    if size > LONGEST_PATH:
        raise ValueError(
            f"the socket path {path!r} has {size} bytes; the system's limit is {LONGEST_PATH}"
        )
    _remove_socket(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        try:
            listener.bind(path)
        except OSError as error:  # which does not name the path
            raise OSError(error.errno, os.strerror(error.errno or 0), path) from None
        identity, owner = _identity(path), os.getpid()
        try:
            listener.listen(BACKLOG)
            yield listener
        finally:
            with contextlib.suppress(OSError):
                if os.getpid() == owner and _identity(path) == identity:
                    os.unlink(path)


def _remove_socket(path: str) -> None:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(f"{path!r} exists and is no socket; move it or choose another path")
    os.unlink(path)


def _identity(path: str) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_dev, status.st_ino

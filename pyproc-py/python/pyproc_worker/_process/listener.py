"""The socket file on which a worker listens."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

BACKLOG = 2**31 - 1  # the system reduces it to its limit
LONGEST_PATH = 107 if sys.platform == "linux" else 103  # bytes that fit into sun_path
LONGEST_WAIT = 2.0  # seconds that a worker waits for others that start in the same directory

_open: set[socket.socket] = set()


@contextlib.contextmanager
def listening(path: str, mode: int) -> Iterator[socket.socket]:
    """Opens a socket that listens at `path`. At the end, its file is removed if it is still there.

    The file has `mode` from its creation on, whatever the umask. A stale socket is replaced.
    Processes that are forked meanwhile do not inherit the socket.

    Raises `ValueError` if the path is too long for a socket, `FileExistsError` if the file is not a
    socket, and another `OSError` if a process listens there.
    """
    size = len(os.fsencode(path))
    if size > LONGEST_PATH:
        raise ValueError(
            f"the socket path {path!r} has {size} bytes; the system's limit is {LONGEST_PATH}"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        with _locked(os.path.dirname(path) or "."):
            _remove_stale(path)
            _bind(listener, path, mode)
            listener.listen(BACKLOG)  # until then other workers take it for stale
        identity, owner = _identity(path), os.getpid()
        _open.add(listener)
        try:
            yield listener
        finally:
            _open.discard(listener)
            with contextlib.suppress(OSError):
                if os.getpid() == owner and _identity(path) == identity:
                    os.unlink(path)


@contextlib.contextmanager
def _locked(folder: str) -> Iterator[None]:
    """Locks `folder`, so that workers check and bind paths in it one after another.

    Any user that may read a directory can lock it. So the wait is limited, and a directory that
    cannot be locked is used nevertheless.
    """
    with contextlib.ExitStack() as opened:
        with contextlib.suppress(OSError):
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            opened.callback(os.close, fd)
            _lock(fd)
        yield


def _lock(fd: int) -> None:
    deadline = time.monotonic() + LONGEST_WAIT
    while time.monotonic() < deadline:
        with contextlib.suppress(BlockingIOError):
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(0.001)


def _remove_stale(path: str) -> None:
    """Removes a socket on which no process listens, and nothing else."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(
            f"{path!r} exists and is not a socket; move it or choose another path"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a queue of connections may be full
        refusal = probe.connect_ex(path)
    if refusal in (0, errno.EAGAIN):
        text = "a process listens on this socket; end it, or choose another path"
        raise OSError(errno.EADDRINUSE, text, path)
    if refusal not in (errno.ECONNREFUSED, errno.ENOENT):
        raise OSError(refusal, os.strerror(refusal), path)  # its owner is unknown
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _bind(listener: socket.socket, path: str, mode: int) -> None:
    # A later `chmod` could be redirected to another file. The umask belongs to the process, whose
    # threads may create files meanwhile: it is changed only if it would reduce the mode.
    mask = None
    if _umask_spares(mode):
        os.fchmod(
            listener.fileno(), mode
        )  # on Linux, the file gets the socket's mode without the umask
    else:
        mask = os.umask(0o777 & ~mode)
    try:
        listener.bind(path)
    except OSError as error:  # its message does not name the path
        raise OSError(error.errno, os.strerror(error.errno or 0), path) from None
    finally:
        if mask is not None:
            os.umask(mask)


def _umask_spares(mode: int) -> bool:
    """Whether the umask keeps all bits of a mode; False if it cannot be read."""
    with contextlib.suppress(OSError), open("/proc/self/status") as status:
        for line in status:
            if line.startswith("Umask:"):
                return not int(line.split()[1], 8) & mode
    return False


def _identity(path: str) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_dev, status.st_ino


def _close_in_child() -> None:
    """In a forked process: without this, the socket would stay open after the parent's end."""
    for listener in _open:
        status = os.fstat(listener.fileno())
        with open(os.devnull) as null, contextlib.suppress(FileNotFoundError):
            for fd in map(int, os.listdir("/dev/fd")):  # the native core has copies
                with contextlib.suppress(OSError):  # of the directory, closed by now
                    if os.path.samestat(os.fstat(fd), status):
                        os.dup2(null.fileno(), fd, inheritable=False)
    _open.clear()


os.register_at_fork(after_in_child=_close_in_child)  # cannot be undone, so registered once

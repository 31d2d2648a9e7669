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

BACKLOG = 2**31 - 1  # the system takes as much of it as it allows
LONGEST_PATH = 107 if sys.platform == "linux" else 103  # bytes that fit into sun_path
LONGEST_WAIT = 2.0  # seconds that a worker waits for others that start in the same directory

_open: set[socket.socket] = set()


@contextlib.contextmanager
def listening(path: str, mode: int) -> Iterator[socket.socket]:
    """A socket that listens at `path`; the file is removed at the end, if it's still ours.

    `mode` is the file's from its first moment on, whatever the umask. A socket that nobody
    listens on any more is replaced. A process that is forked meanwhile has no part in it.

    Raises `ValueError` if the path is too long for a socket, `FileExistsError` if there is
    something there that is no socket, and another `OSError` if a process listens there.
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
            listener.listen(BACKLOG)  # until then it looks like one that nobody listens on
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
    """Lets one worker after another look at a path in `folder` and take it.

    Whoever may read a directory can lock it. So nobody is waited for without end, and a
    directory that cannot be locked is used all the same.
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
    """Removes a socket that nobody listens on, and nothing else."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(f"{path!r} exists and is no socket; move it or choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a queue of connections may be full
        refusal = probe.connect_ex(path)
    if refusal in (0, errno.EAGAIN):
        text = "a process listens on this socket; end it, or choose another path"
        raise OSError(errno.EADDRINUSE, text, path)
    if refusal not in (errno.ECONNREFUSED, errno.ENOENT):
        raise OSError(refusal, os.strerror(refusal), path)  # whose it is, nobody can say
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _bind(listener: socket.socket, path: str, mode: int) -> None:
    # A later `chmod` could be led to another file. The mask is the process's, whose threads may
    # make files meanwhile: it's changed only where it would take something of the mode.
    mask = None
    if _umask_spares(mode):
        os.fchmod(listener.fileno(), mode)  # on Linux, the file's is the socket's less the mask
    else:
        mask = os.umask(0o777 & ~mode)
    try:
        listener.bind(path)
    except OSError as error:  # which does not name the path
        raise OSError(error.errno, os.strerror(error.errno or 0), path) from None
    finally:
        if mask is not None:
            os.umask(mask)


def _umask_spares(mode: int) -> bool:
    """Whether the umask takes nothing of a mode; False where only changing it would tell."""
    with contextlib.suppress(OSError), open("/proc/self/status") as status:
        for line in status:
            if line.startswith("Umask:"):
                return not int(line.split()[1], 8) & mode
    return False


def _identity(path: str) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_dev, status.st_ino


def _close_in_child() -> None:
    """In a process that was forked: it would listen, and never accept, when its parent is gone."""
    for listener in _open:
        status = os.fstat(listener.fileno())
        with open(os.devnull) as null, contextlib.suppress(FileNotFoundError):
            for fd in map(int, os.listdir("/dev/fd")):  # the native core has copies
                with contextlib.suppress(OSError):  # that of the directory is closed by now
                    if os.path.samestat(os.fstat(fd), status):
                        os.dup2(null.fileno(), fd, inheritable=False)
    _open.clear()


os.register_at_fork(after_in_child=_close_in_child)  # cannot be undone, hence one for all times

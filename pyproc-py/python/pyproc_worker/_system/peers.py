"""Users that may connect: the worker's own, root, and those in ``PYPROC_ALLOWED_UIDS``."""

from __future__ import annotations

import _socket
import contextlib
import os
import socket
import struct
import sys
import time

from pyproc_worker import _log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyproc_worker._settings import Settings

REFUSAL = (
    "user {uid} may not connect: the worker's PYPROC_ALLOWED_UIDS lists the users that may, "
    "besides its own and root"
)
"""The error for a client of another user."""

LOG_INTERVAL = 10.0  # seconds between two lines in the log

# The arguments of `getsockopt`, and the layout of its result.
if sys.platform == "linux":
    _ASKED, _ANSWER = (socket.SOL_SOCKET, socket.SO_PEERCRED), struct.Struct("=4xI4x")  # ucred
else:
    _ASKED, _ANSWER = (0, 1), struct.Struct("=4xI68x")  # SOL_LOCAL, LOCAL_PEERCRED: xucred


def allowed_users(settings: Settings) -> frozenset[int]:
    """The users that may connect."""
    return frozenset({0, os.geteuid(), *settings.allowed_uids})


def user_of(client: _socket.socket) -> int:
    """The user that connected."""
    (uid,) = _ANSWER.unpack(client.getsockopt(*_ASKED, _ANSWER.size))
    return int(uid)


def turn_away(client: _socket.socket, uid: int) -> None:
    """Closes a connection of this user. Sends the reason if that does not block."""
    import json  # only here, as the native core has its own

    reason = json.dumps({"id": 0, "ok": False, "error": REFUSAL.format(uid=uid)}).encode()
    with contextlib.suppress(OSError):
        client.send(len(reason).to_bytes(4, "big") + reason, socket.MSG_DONTWAIT)
    client.close()


class Refusals:
    """Logs refused connections, one line in each `LOG_INTERVAL` at most."""

    def __init__(self) -> None:
        self._count = 0
        self._silent_until = 0.0

    def add(self, uid: int, count: int = 1) -> None:
        """Counts refused connections. The last one was of this user."""
        self._count += count
        now = time.monotonic()
        if now < self._silent_until:
            return
        others = f", and {self._count - 1} more before it" if self._count > 1 else ""
        _log.warning(
            f"closed a connection of user {uid}{others}: PYPROC_ALLOWED_UIDS lists the users "
            "that may connect besides the worker's own and root"
        )
        self._count, self._silent_until = 0, now + LOG_INTERVAL

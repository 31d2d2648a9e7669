"""One client's connection: its socket, what it still wants, and what it has not read yet."""

import contextlib
import select
import socket
import time
from collections import deque
from typing import Optional

from pyproc_worker._errors import BrokenFrame
from pyproc_worker._frames import Bytes, FrameReader, prefix
from pyproc_worker._messages import RequestLike

READ_SIZE = 128 * 1024
BUFFER_LIMIT = 1024 * 1024
"""Bytes of requests not started, and of answers not read, beyond which reading pauses."""


class Connection:
    """A client's socket, which never blocks, and the buffers on both sides of it."""

    __slots__ = (
        "_backlog",
        "_frames",
        "_socket",
        "details",
        "ended",
        "farewell",
        "fd",
        "interest",
        "outgoing",
        "owner",
        "pending",
        "scheduled",
    )

    def __init__(self, sock: socket.socket, max_frame_size: int) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._frames = FrameReader(max_frame_size)
        self._backlog = 0
        self.fd = sock.fileno()
        self.pending: deque[RequestLike] = deque()
        """Requests that have not started."""
        self.outgoing = bytearray()
        """Frames that have not been sent."""
        self.farewell = b""
        """The last frame, to be sent after all answers."""
        self.ended = False
        """Nothing more will be read: the client finished, or broke the protocol."""
        self.details = False
        """The feature error-details is in force."""
        self.owner = False
        """The worker exits with this connection."""
        self.scheduled = False
        """It has its place among those whose requests are to be run."""
        self.interest = 0
        """The events that are waited for."""

    def read(self) -> list[Bytes]:
        """The bodies of the frames that have arrived. Raises `OSError` if the client is gone."""
        try:
            data = self._socket.recv(READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return []
        if not data:
            self.ended = True
            return []
        # An upper bound suffices: it falls to zero whenever all requests have started.
        self._backlog = self._backlog + len(data) if self.pending else len(data)
        return self._frames.feed(data)

    @property
    def broken(self) -> Optional[BrokenFrame]:
        """Why the stream of frames ended, if it is broken."""
        return self._frames.error

    def send(self, body: bytes) -> None:
        """Appends a frame to what goes out with the next `flush`."""
        self.outgoing += prefix(len(body))
        self.outgoing += body

    def flush(self) -> None:
        """Sends as much as the client takes. Raises `OSError` if it is gone."""
        if self.farewell and not self.pending:
            self.send(self.farewell)
            self.farewell = b""
        if not self.outgoing:
            return
        try:
            sent = self._socket.send(self.outgoing)
        except (BlockingIOError, InterruptedError):
            return
        del self.outgoing[:sent]

    def flush_before(self, deadline: float) -> None:
        """Waits for the client to read all answers, until `deadline` of the monotonic clock."""
        with contextlib.suppress(OSError):
            self._socket.settimeout(max(0.0, deadline - time.monotonic()))
            self._socket.sendall(self.outgoing)

    @property
    def may_run(self) -> bool:
        """Whether a request waits, and the client reads its answers."""
        return bool(self.pending) and len(self.outgoing) <= BUFFER_LIMIT

    @property
    def finished(self) -> bool:
        """Whether there's nothing left to do for this client."""
        return self.ended and not self.pending and not self.outgoing

    def wanted_events(self, draining: bool) -> int:
        """What to wait for: room for answers, and more requests unless too much waits already."""
        events = select.POLLOUT if self.outgoing else 0
        paused = len(self.outgoing) > BUFFER_LIMIT or (
            self.pending and self._backlog > BUFFER_LIMIT
        )
        if not (self.ended or draining or paused):
            events |= select.POLLIN
        return events

    def close(self) -> None:
        """Closes the socket and forgets what waits."""
        self.ended = True
        self.pending.clear()
        self.outgoing.clear()
        self._socket.close()

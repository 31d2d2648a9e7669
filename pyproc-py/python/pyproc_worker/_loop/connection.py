"""One client's connection: its socket, what it still wants, and what it has not read yet."""

import _socket
import select
from collections import deque
from typing import TYPE_CHECKING, Any, Optional

from pyproc_worker._calls.channels import Channel, close_channel
from pyproc_worker._codec.frames import Bytes, FrameReader
from pyproc_worker._errors import BrokenFrame
from pyproc_worker._functions.registry import Exposed
from pyproc_worker._limits import BUFFERED, READ_SIZE
from pyproc_worker._loop.answers import Writer
from pyproc_worker._loop.in_flight import Running
from pyproc_worker._loop.outgoing import Outgoing

if TYPE_CHECKING:
    from pyproc_worker._calls.current import Context

Waiting = tuple[int, Exposed, Any, Writer, "Optional[Context]"]
"""A request that has not started: its id, the function, the argument, who answers it, and what may
be known of the call."""


class Connection:
    """A client's socket, which never blocks, and the buffers on both sides of it."""

    __slots__ = (
        "_backlog",
        "_frames",
        "_socket",
        "channel",
        "closed",
        "context",
        "ended",
        "farewell",
        "fd",
        "greeted",
        "held",
        "interest",
        "outgoing",
        "owner",
        "pending",
        "refuses",
        "running",
        "scheduled",
        "table",
        "uncertain",
        "version",
        "writer",
    )

    def __init__(self, sock: _socket.socket, max_frame_size: int, writer: Writer) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._frames = FrameReader(max_frame_size)
        self._backlog = 0
        self.fd = sock.fileno()
        self.writer = writer
        """Answers requests of version 1."""
        self.pending: deque[Waiting] = deque()
        """Requests that have not started."""
        self.held = False
        """Those wait: a call without an id runs on the event loop."""
        self.running = Running()
        """Requests that can be cancelled while they run."""
        self.outgoing = Outgoing(sock)
        self.farewell = b""
        """The last frame, to be sent after all answers."""
        self.ended = False
        """Nothing more will be read: the client finished, or broke the protocol."""
        self.closed = False
        self.refuses = False
        """The worker drains: what is read from now on is not run, but may cancel what runs."""
        self.channel: Optional[Channel] = None
        """Takes telemetry to the client, if it asked for any."""
        self.context: Optional[Context] = None
        """What is known of each call, if the client takes telemetry."""
        self.greeted = False
        """The client said hello."""
        self.version = 1
        """The highest version in force."""
        self.table: list[Exposed] = []
        """The functions by their indexes in version 2."""
        self.owner = False
        """The worker exits with this connection."""
        self.scheduled = False
        """It has its place among those whose requests are to be run."""
        self.interest = 0
        """The events that are waited for."""
        self.uncertain = False
        """The loop does what can't be finished where an exception from outside cuts it off: the
        connection is closed then."""

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

    def takes_telemetry(self, channel: Channel) -> None:
        """From now on calls know of the channel."""
        self.channel = channel
        self.context = (None, None, channel)

    def flush(self) -> None:
        """Sends as much as the client takes. Raises `OSError` if it is gone."""
        if self.farewell and not self.pending and not self.running:
            self.outgoing.send(self.farewell)
            self.farewell = b""
        else:
            self.outgoing.flush()

    @property
    def may_run(self) -> bool:
        """Whether a request can start, and the client reads its answers."""
        return bool(self.pending) and not self.held and len(self.outgoing) <= BUFFERED

    @property
    def finished(self) -> bool:
        """Whether there's nothing left to do for this client."""
        # The last call may have been answered since `flush` saw it run.
        left = self.farewell or self.pending or self.running or self.outgoing
        return self.ended and not left

    def wanted_events(self) -> int:
        """What to wait for: room for answers, and more requests unless too much waits already."""
        events = select.POLLOUT if self.outgoing else 0
        paused = (
            len(self.outgoing) > BUFFERED
            or (self.pending and self._backlog > BUFFERED)
            or self.running.too_many
        )
        if not (self.ended or paused):
            events |= select.POLLIN
        return events

    def close(self) -> None:
        """Closes the socket, forgets what waits, and cancels what runs."""
        self.closed = self.ended = True
        self.pending.clear()
        self.outgoing.close()  # first, so that nobody is told of what is cancelled now
        self.running.cancel_all()
        channel, self.channel, self.context = self.channel, None, None
        if channel is not None:
            close_channel(channel)

    def disown(self) -> None:
        """In a forked process: leaves it all to the parent, and takes no lock that it may hold."""
        self.pending.clear()
        self.running = Running()
        self.outgoing.abandon()

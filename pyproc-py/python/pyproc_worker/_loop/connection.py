"""One client's connection: its socket, its queued requests, its unsent answers."""

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
from pyproc_worker._loop.in_flight import InFlight
from pyproc_worker._loop.outgoing import Outgoing

if TYPE_CHECKING:
    from pyproc_worker._calls.current import Context

Waiting = tuple[int, Exposed, Any, Writer, "Optional[Context]"]
"""A queued request: its id, the function, the argument, the writer of its answer, its context."""


class Connection:
    """A client's non-blocking socket, and the buffers of both directions."""

    __slots__ = (
        "_backlog",
        "_frames",
        "_socket",
        "channel",
        "closed",
        "context",
        "ended",
        "fd",
        "held",
        "hello_received",
        "interest",
        "last_frame",
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
        """Queued requests."""
        self.held = False
        """`pending` waits until a call without an id has ended on the event loop."""
        self.running = InFlight()
        """Calls in flight that can be cancelled."""
        self.outgoing = Outgoing(sock)
        self.last_frame = b""
        """The last frame, to be sent after all answers."""
        self.ended = False
        """Nothing more is read: the client has finished, or violated the protocol."""
        self.closed = False
        self.refuses = False
        """The worker drains: from now on only cancellations are handled."""
        self.channel: Optional[Channel] = None
        """The channel for telemetry, if the client asked for any."""
        self.context: Optional[Context] = None
        """The context of each call, if the client takes telemetry."""
        self.hello_received = False
        """The client has sent a hello."""
        self.version = 1
        """The negotiated version."""
        self.table: list[Exposed] = []
        """The functions, by their index in version 2."""
        self.owner = False
        """The worker ends when this connection is closed."""
        self.scheduled = False
        """It is in the queue of connections with requests to run."""
        self.interest = 0
        """The polled events."""
        self.uncertain = False
        """A step is in progress that cannot be resumed: if an asynchronous exception interrupts it,
        the connection is closed."""

    def read(self) -> list[Bytes]:
        """The bodies of the frames that have arrived. Raises `OSError` if the client is gone."""
        try:
            data = self._socket.recv(READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return []
        if not data:
            self.ended = True
            return []
        # An upper bound is enough: it is reset whenever all requests have started.
        self._backlog = self._backlog + len(data) if self.pending else len(data)
        return self._frames.feed(data)

    @property
    def broken(self) -> Optional[BrokenFrame]:
        """The error that ended the stream of frames, if any."""
        return self._frames.error

    def takes_telemetry(self, channel: Channel) -> None:
        """From now on calls have this channel."""
        self.channel = channel
        self.context = (None, None, channel)

    def flush(self) -> None:
        """Sends as much as fits into the socket. Raises `OSError` if the client is gone."""
        if self.last_frame and not self.pending and not self.running:
            self.outgoing.send(self.last_frame)
            self.last_frame = b""
        else:
            self.outgoing.flush()

    @property
    def may_run(self) -> bool:
        """Whether a request can start, and the client reads its answers."""
        return bool(self.pending) and not self.held and len(self.outgoing) <= BUFFERED

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do for this client."""
        # The last call may have ended since `flush`.
        left = self.last_frame or self.pending or self.running or self.outgoing
        return self.ended and not left

    def wanted_events(self) -> int:
        """The events to poll: room for answers, and requests unless too many bytes are buffered."""
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
        """Closes the socket, drops queued requests and cancels calls in flight."""
        self.closed = self.ended = True
        self.pending.clear()
        self.outgoing.close()  # first, so that no answers of cancelled calls are sent
        self.running.cancel_all()
        channel, self.channel, self.context = self.channel, None, None
        if channel is not None:
            close_channel(channel)

    def abandon(self) -> None:
        """In a forked process: drops everything, and takes no lock, as the parent may hold it."""
        self.pending.clear()
        self.running = InFlight()
        self.outgoing.abandon()

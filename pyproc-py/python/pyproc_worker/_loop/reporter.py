"""Sends telemetry on one connection of the core in Python."""

import select
from typing import TYPE_CHECKING, Callable

from pyproc_worker._calls.channels import TELEMETRY
from pyproc_worker._codec import binary
from pyproc_worker._limits import BUFFERED
from pyproc_worker._system.fork import Forks

if TYPE_CHECKING:
    from pyproc_worker._loop.connection import Connection


class Reporter:
    """The sender of a `Channel`."""

    def __init__(
        self,
        connection: "Connection",
        maximum: int,
        look_again: Callable[["Connection"], None],
    ) -> None:
        self._connection = connection
        self._maximum = maximum
        self._look_again = look_again

    def send(self, records: bytes) -> bool:
        """See `Channel.send`."""
        size = binary.HEADER.size + len(records)
        if size > self._maximum or Forks.is_child:
            return False
        connection = self._connection
        frame = binary.FRAME.pack(size, TELEMETRY, 0, binary.JSON, 0) + records
        if not connection.outgoing.offer(frame, BUFFERED):
            return False
        if connection.outgoing and not connection.interest & select.POLLOUT:
            self._look_again(connection)  # so that the loop polls for room
        return True

"""What the loop's thread and the event loop's thread do to one connection."""

import socket
from types import SimpleNamespace

import pytest
from pyproc_worker._functions.registry import Exposed
from pyproc_worker._loop import concurrent as concurrent_calls
from pyproc_worker._loop.connection import Connection
from pyproc_worker._loop.in_flight import InFlight


class Shared:
    """A connection that notes who writes whether its requests are held."""

    def __init__(self):
        self.written = []
        self.running = InFlight()

    held = property(lambda self: True, lambda self, held: self.written.append(held))


@pytest.mark.parametrize(("request_id", "written"), [(0, [True]), (1, [])])
def test_only_calls_without_an_id_hold_their_connection(request_id, written):
    # The event loop's thread writes it as well: a value read before would undo that.
    concurrent = concurrent_calls.Concurrent(wake=lambda: None)
    concurrent._thread = SimpleNamespace(submit=lambda calls: None, cancel=None)
    writer = SimpleNamespace(wants_times=False, read=lambda payload: payload)
    connection, exposed = Shared(), Exposed("f", lambda body: body)
    concurrent.submit(connection, [((request_id, exposed, b"1", writer, None), 1)])
    assert connection.written == written


def test_a_connection_is_not_finished_before_its_last_frame_is_sent():
    # The last call may be answered between a look at what runs and the next.
    ours, theirs = socket.socketpair()
    with theirs:
        connection = Connection(ours, 1024, SimpleNamespace())
        connection.ended, connection.last_frame = True, b"the end"
        assert not connection.finished
        connection.flush()
        assert connection.finished
        connection.close()
        assert theirs.recv(100) == b"the end"

"""What the loop's thread and the event loop's thread do to one connection."""

from types import SimpleNamespace

import pytest
from pyproc_worker import _concurrent
from pyproc_worker._registry import Exposed
from pyproc_worker._running import Running


class Shared:
    """A connection that notes who writes whether its requests are held."""

    def __init__(self):
        self.written = []
        self.running = Running()

    held = property(lambda self: True, lambda self, held: self.written.append(held))


@pytest.mark.parametrize(("request_id", "written"), [(0, [True]), (1, [])])
def test_only_calls_without_an_id_hold_their_connection(request_id, written):
    # The event loop's thread writes it as well: a value read before would undo that.
    concurrent = _concurrent.Concurrent(wake=lambda: None)
    concurrent._thread = SimpleNamespace(submit=lambda calls: None, cancel=None)
    writer = SimpleNamespace(wants_times=False, read=lambda payload: payload)
    connection, exposed = Shared(), Exposed("f", lambda body: body)
    concurrent.submit(connection, [((request_id, exposed, b"1", writer, None), 1)])
    assert connection.written == written

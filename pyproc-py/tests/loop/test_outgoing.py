"""What sends on a socket, by itself."""

import contextlib
import socket
import threading

import pytest
from pyproc_worker._loop.outgoing import Outgoing


@pytest.fixture
def outgoing():
    """What sends on one end of a pair of sockets, and the other end."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    yield Outgoing(ours), theirs
    for one in (ours, theirs):
        one.close()


def test_what_is_offered_while_somebody_sends_leaves_with_that(outgoing):
    outgoing, theirs = outgoing
    with outgoing._lock:
        assert [outgoing.offer(b"%x" % n, limit=10) for n in range(11)] == [True] * 10 + [False]
    outgoing.send(b"answer")
    assert theirs.recv(100) == b"0123456789answer"


def test_what_is_offered_between_two_looks_is_not_forgotten(outgoing):
    outgoing, theirs = outgoing

    class Interrupted:
        """A lock during whose holding something is offered."""

        def __init__(self):
            self.inner, self.is_first = threading.Lock(), True

        def acquire(self, blocking=True):
            return self.inner.acquire(blocking)

        def locked(self):
            return self.inner.locked()

        def release(self):
            if self.is_first:
                self.is_first = False
                assert outgoing.offer(b"offered", 100)
            self.inner.release()

        def __enter__(self):
            self.inner.acquire()

        def __exit__(self, *_):
            self.release()

    outgoing._lock = Interrupted()
    outgoing.send(b"answer")
    assert theirs.recv(100) == b"answeroffered"


def test_nothing_is_offered_to_who_has_finished(outgoing):
    outgoing, theirs = outgoing
    outgoing.keep(b"last")
    outgoing.finish_before(0)
    assert not outgoing.offer(b"late", 100)
    outgoing.send(b"later")
    theirs.setblocking(False)
    assert theirs.recv(100) == b"last"
    with contextlib.suppress(BlockingIOError):
        assert theirs.recv(100) == b""

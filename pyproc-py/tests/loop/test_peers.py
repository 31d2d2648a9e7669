"""Who may connect: a hostile local user tries."""

import contextlib
import json
import os
import socket

import pytest
from pyproc_worker import _log
from pyproc_worker._system import peers
from wire import PATIENCE, request

OK_1 = {"id": 1, "ok": True, "body": 1}
NOBODY = 65534

REFUSED = peers.REFUSAL.format(uid=NOBODY)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


class Visitor:
    """A process of another user that connects and calls `echo`."""

    def __init__(self, path, uid=NOBODY, times=1):
        self._outcome, writer = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                os.closerange(3, writer)  # a gate would stay open
                os.setuid(uid)
                os.write(writer, " ".join({call(path) for _ in range(times)}).encode())
            finally:
                os._exit(0)
        os.close(writer)

    def outcome(self):
        with open(self._outcome) as outcome:
            text = outcome.read()
        os.waitpid(self._pid, 0)
        return text


def call(path):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        try:
            client.connect(path)
            with contextlib.suppress(BrokenPipeError):
                client.sendall(request(1, "echo", 1))
            size = int.from_bytes(client.recv(4), "big")
            answer = json.loads(client.recv(size))
            return "answered" if answer == OK_1 else answer["error"]
        except PermissionError:
            return "forbidden"


@pytest.fixture
def open_folder(folder):
    """Others may look for the socket, too."""
    folder.chmod(0o755)
    return folder


@needs_root
def test_another_user_cannot_even_connect(start, open_folder):
    worker = start("os.umask(0)\n")
    assert Visitor(worker.path).outcome() == "forbidden"
    assert worker.connect().call("echo", 1) == OK_1


@needs_root
def test_the_mode_alone_lets_nobody_in_and_the_answer_and_the_log_say_so(start, open_folder):
    worker = start(PYPROC_SOCKET_MODE="0666")
    assert Visitor(worker.path, times=50).outcome() == REFUSED
    assert worker.connect().call("echo", 1) == OK_1
    worker.wait_for_log(f"closed a connection of user {NOBODY}")  # maybe: and so many before it
    worker.process.terminate()
    assert worker.exit_code() == 0
    assert worker.stderr().count("PYPROC_ALLOWED_UIDS") == 1


@needs_root
def test_a_user_that_the_setting_names_is_answered(start, open_folder):
    worker = start(PYPROC_SOCKET_MODE="0666", PYPROC_ALLOWED_UIDS=f"1, {NOBODY}")
    assert Visitor(worker.path).outcome() == "answered"
    assert Visitor(worker.path, uid=NOBODY - 1).outcome() == peers.REFUSAL.format(uid=NOBODY - 1)


@needs_root
def test_root_and_the_own_user_may_always(start, open_folder):
    open_folder.chmod(0o777)
    worker = start(
        # Afterwards it may not be able to read the interpreter's files.
        """
        import pyproc_worker._loop.loop
        from pyproc_worker._codec.choose import choose_codec
        choose_codec(None)
        """,
        serve=f"os.setuid({NOBODY})\nrun_worker()\n",
    )
    assert os.stat(worker.path).st_uid == NOBODY
    assert worker.connect().call("echo", 1) == OK_1
    assert Visitor(worker.path).outcome() == "answered"
    assert Visitor(worker.path, uid=NOBODY - 1).outcome() == "forbidden"


@needs_root
def test_another_user_is_refused_while_a_function_runs_too(start, open_folder, core):
    worker = start(PYPROC_SOCKET_MODE="0666")
    client, gate = worker.connect(), worker.gate()
    client.send(request(1, "gate", gate.body))
    entered = gate.entered()
    visitor = Visitor(worker.path)
    if core == "python":  # which accepts nobody meanwhile
        entered.close()
    assert visitor.outcome() == REFUSED
    entered.close()
    assert client.receive()["ok"]
    worker.wait_for_log(f"closed a connection of user {NOBODY}")


def test_refusals_are_logged_now_and_then_with_their_number(monkeypatch):
    now, lines = [100.0], []
    monkeypatch.setattr(peers.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(_log, "warning", lines.append)
    refusals = peers.Refusals()
    for uid in (7, 8, 9):
        refusals.add(uid)
    refusals.add(10, 3)
    now[0] += peers.LOG_INTERVAL
    refusals.add(11)
    assert [line.partition(":")[0] for line in lines] == [
        "closed a connection of user 7",
        "closed a connection of user 11, and 5 more before it",
    ]


def test_nobody_waits_for_a_visitor_that_has_left_or_does_not_read():
    ours, theirs = socket.socketpair()
    theirs.close()
    peers.turn_away(ours, NOBODY)
    assert ours.fileno() == -1
    ours, theirs = socket.socketpair()
    with theirs:
        with contextlib.suppress(BlockingIOError):
            while True:
                ours.send(b"x" * 65536, socket.MSG_DONTWAIT)
        peers.turn_away(ours, NOBODY)
    assert ours.fileno() == -1


def test_the_system_names_the_user_at_the_other_end():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert peers.user_of(ours) == os.geteuid()

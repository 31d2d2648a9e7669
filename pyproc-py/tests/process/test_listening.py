"""The socket's file: whose it is, and how many may wait to be accepted."""

import errno
import fcntl
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from pyproc_worker._process.listener import listening
from wire import PATIENCE, Client, request

OK_1 = {"id": 1, "ok": True, "body": 1}
SERVE = "import pyproc_worker; pyproc_worker.run_worker()"
REFUSED = "a process listens on this socket; end it, or choose another path"


def command(path, *arguments):
    arguments = arguments or ("-c", SERVE)
    environment = {**os.environ, "PYPROC_SOCKET_PATH": str(path)}
    return {"args": [sys.executable, *arguments], "env": environment, "text": True}


def run(path, *arguments):
    return subprocess.run(**command(path, *arguments), capture_output=True, timeout=PATIENCE)


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def test_a_second_worker_is_refused_and_the_first_goes_on(start):
    worker = start()
    second = run(worker.path)
    assert second.returncode == 1
    (line,) = second.stderr.splitlines()
    assert REFUSED in line
    assert worker.path in line
    assert worker.connect().call("echo", 1) == OK_1


def test_the_command_says_in_one_line_that_a_worker_is_there_already(start, folder):
    worker = start()
    (folder / "other.py").write_text("")
    second = run(worker.path, "-m", "pyproc_worker.cli", "run", str(folder / "other.py"))
    assert second.returncode == 2
    assert REFUSED in second.stderr
    assert second.stderr.count("\n") == 1
    assert worker.connect().call("echo", 1) == OK_1


@pytest.mark.parametrize(
    ("code", "warns"),
    [
        ("", True),
        ("pyproc_worker.expose(name='f')(lambda req: req)", False),
        ("pyproc_worker.expose(name='health')(lambda req: req)", False),
    ],
)
def test_a_worker_that_exposes_nothing_warns_of_that(folder, code, warns):
    path = folder / "s"
    script = f"import pyproc_worker\n{code}\npyproc_worker.run_worker()"
    with subprocess.Popen(**command(path, "-c", script), stderr=subprocess.PIPE) as worker:
        line = worker.stderr.readline()
        while "serving on" not in line:
            line = worker.stderr.readline()
        worker.terminate()
        rest = worker.stderr.read()
    assert ("WARNING" in rest and "the script exposes no function" in rest) is warns


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full queue looks like no listener")
def test_a_listener_that_is_too_busy_to_accept_is_not_taken_for_dead(folder):
    path = folder / "s"
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(path))
        busy.listen(0)
        waiting = fill_queue(path)
        result = run(path)
        for client in waiting:
            client.close()
    assert REFUSED in result.stderr
    assert path.exists()


def fill_queue(path):
    waiting = []
    while True:
        waiting.append(socket.socket(socket.AF_UNIX))
        waiting[-1].setblocking(False)
        if waiting[-1].connect_ex(str(path)) == errno.EAGAIN:
            return waiting


def test_what_cannot_be_asked_whether_it_lives_is_left_alone(folder):
    path = folder / "s"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(path))
        result = run(path)
    assert result.returncode == 1
    assert str(path) in result.stderr.splitlines()[-1]
    assert path.exists()


@pytest.mark.parametrize("stale", [True, False])
def test_of_workers_that_start_at_once_one_serves_and_the_others_are_refused(folder, stale):
    path = folder / "s"
    if stale:
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(path))
    workers = [subprocess.Popen(**command(path), stderr=subprocess.PIPE) for _ in range(6)]
    try:
        lines = [worker.stderr.readline() for worker in workers]
        serving = [worker for worker, line in zip(workers, lines) if "serving on" in line]
        assert len(serving) == 1, lines
        client = Client(str(path))
        assert client.call("health")["ok"]
        client.close()
        for worker, line in zip(workers, lines):
            if worker not in serving:
                assert REFUSED in line
                assert worker.wait(PATIENCE) == 1
        serving[0].terminate()
        assert serving[0].wait(PATIENCE) == 0
        assert not path.exists()
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
            worker.stderr.close()


def test_a_directory_that_somebody_keeps_locked_stops_no_start(start, folder):
    lock = os.open(folder, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert start().connect().call("echo", 1) == OK_1
    os.close(lock)


@pytest.mark.parametrize(
    ("umask", "setting", "expected"),
    [(0o000, None, 0o600), (0o177, None, 0o600), (0o777, "0660", 0o660), (0o022, "666", 0o666)],
)
def test_the_sockets_mode_is_what_the_setting_says_whatever_the_umask(
    start, umask, setting, expected
):
    environment = {} if setting is None else {"PYPROC_SOCKET_MODE": setting}
    worker = start(
        f"""
        os.umask({umask})

        @expose
        def umask(req):
            mask = os.umask(0)
            os.umask(mask)
            return mask
        """,
        **environment,
    )
    assert mode(worker.path) == expected
    assert worker.connect().call("umask")["body"] == umask


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only the umask sets the mode")
def test_files_that_threads_make_meanwhile_keep_their_mode(folder, monkeypatch):
    monkeypatch.setattr(os, "umask", None)  # it would be theirs, too
    with listening(str(folder / "s"), 0o600):
        assert mode(folder / "s") == 0o600


def test_nobody_can_connect_before_the_mode_is_set(folder, monkeypatch):
    path, modes = folder / "s", []

    def listen(listener, backlog):
        modes.append(mode(path))

    monkeypatch.setattr(socket.socket, "listen", listen)
    with listening(str(path), 0o600):
        assert modes == [0o600]


@pytest.fixture
def descriptors():
    """As many descriptors as the system lets this process and its workers have."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    yield float("inf") if limits[1] == resource.RLIM_INFINITY else limits[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def longest_queue():
    try:
        return int(Path("/proc/sys/net/core/somaxconn").read_text())
    except OSError:
        return 128


def test_a_burst_of_connections_is_not_refused(start, descriptors):
    count = min(4000, longest_queue())
    if descriptors < count + 200:
        pytest.skip(f"a process may have {descriptors} descriptors only")
    worker = start()
    worker.process.send_signal(signal.SIGSTOP)
    clients = [socket.socket(socket.AF_UNIX) for _ in range(count)]
    try:
        for client in clients:
            client.setblocking(False)
        assert {client.connect_ex(worker.path) for client in clients} == {0}
        worker.process.send_signal(signal.SIGCONT)
        for client in clients:
            client.settimeout(PATIENCE)
            client.sendall(request(1, "echo", 1))
        assert all(b'"ok":true' in client.recv(1000) for client in clients)
    finally:
        for client in clients:
            client.close()

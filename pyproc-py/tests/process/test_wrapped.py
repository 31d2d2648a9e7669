"""A wrapper between the pool's process and the worker, such as `uv run`: Python is its child."""

import os
import subprocess
import sys
import textwrap

import pytest
from wire import Client, request

WRAPPER = '"$@"; exit $?'

POOL = f"""
    import os, subprocess, sys
    wrapper = subprocess.Popen(
        ["sh", "-c", {WRAPPER!r}, "sh", sys.executable, *sys.argv[1:]],
        env={{**os.environ, "PYPROC_PARENT_PID": str(os.getpid())}},
    )
    print(wrapper.pid, flush=True)
    wrapper.wait()
"""

SCRIPT = """
    import os
    from pyproc_worker import expose, run_worker
    from pyproc_worker._process import wrapped

    wrapped.CHECK = 0.01
    wrapped.LONGEST_END = 0.1

    @expose
    def pids(req):
        return [os.getpid(), os.getppid()]

    @expose
    def hang(req):
        with open(req, "w") as gate:
            gate.write("hangs")
        with open(req) as gate:  # whose other end nobody opens
            gate.read()

    run_worker()
"""


class Wrapped:
    """A process in the pool's place, its wrapper, and the worker that the wrapper runs."""

    def __init__(self, folder, core):
        path = folder / "worker.py"
        path.write_text(textwrap.dedent(SCRIPT))
        self.socket = str(folder / "s")
        self.pool = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(POOL), str(path)],
            env={**os.environ, "PYPROC_SOCKET_PATH": self.socket, "PYPROC_WORKER_CORE": core},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.wrapper = int(self.pool.stdout.readline())
        assert "serving on" in self.pool.stdout.readline()
        self.client = Client(self.socket)
        self.pids = self.client.call("pids")["body"]

    def stop(self):
        self.client.close()
        for pid in (*self.pids, self.pool.pid):
            subprocess.run(["kill", "-9", str(pid)], stderr=subprocess.DEVNULL, check=False)
        self.pool.wait()
        self.pool.stdout.close()


@pytest.fixture
def wrapped(folder, core):
    wrapped = Wrapped(folder, core)
    yield wrapped
    wrapped.stop()


def test_a_worker_behind_a_wrapper_serves(wrapped):
    worker, parent = wrapped.pids
    assert parent == wrapped.wrapper
    assert worker not in (wrapped.wrapper, wrapped.pool.pid)
    assert wrapped.client.call("pids", id=2)["body"] == wrapped.pids


def test_it_ends_when_the_pools_process_was_killed(wrapped):
    wrapped.pool.kill()
    assert wrapped.client.is_at_end()


def test_it_ends_when_its_wrapper_was_killed(wrapped):
    os.kill(wrapped.wrapper, 9)
    assert wrapped.client.is_at_end()


def test_it_is_killed_when_it_does_not_end(wrapped, folder):
    gate = folder / "gate"
    os.mkfifo(gate)
    wrapped.client.send(request(2, "hang", str(gate)))
    assert gate.read_text() == "hangs"
    wrapped.pool.kill()
    assert wrapped.client.is_at_end()


def test_a_worker_that_no_such_process_started_ends_and_says_why(start):
    worker = start(PYPROC_PARENT_PID=str(os.getpid() + 1))
    assert worker.exit_code() == 0
    assert f"process {os.getpid() + 1}, which PYPROC_PARENT_PID names" in worker.stderr()

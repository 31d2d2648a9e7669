"""Which core serves, and how it waits."""

import os
import subprocess
import sys

import pytest
from conftest import FREE_THREADED
from pyproc_worker._limits import SPIN_MISSES, SPIN_REST
from pyproc_worker._loop.spin import Spin
from wire import PATIENCE

WITHOUT_NATIVE = "import sys; sys.modules['pyproc_worker._core'] = None\n"


def run(script, **environment):
    return subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def test_the_log_says_which_core_serves(start, core):
    start().wait_for_log(f", core: {core} (JSON by ")


def test_the_python_core_says_its_json_library(start, core):
    if core == "python":
        start(PYPROC_JSON="json").wait_for_log("core: python (JSON by json)")


@pytest.mark.skipif(not FREE_THREADED, reason="this interpreter always has its lock")
def test_a_free_threaded_interpreter_stays_so(start):
    told = """
        @expose
        def has_lock(req):
            return sys._is_gil_enabled()
    """
    assert start(told).connect().call("has_lock")["body"] is False


def test_without_a_native_core_the_other_serves(folder):
    script = WITHOUT_NATIVE + (
        "import logging, signal, pyproc_worker\n"
        "class End(logging.Handler):\n"
        "    def emit(self, record): print(record.getMessage()); signal.raise_signal(15)\n"
        "logging.basicConfig(level='INFO', handlers=[End()])\n"
        "pyproc_worker.run_worker()\n"
    )
    result = run(script, PYPROC_SOCKET_PATH=str(folder / "s"))
    assert result.returncode == 0, result.stderr
    assert "core: python" in result.stdout


def test_a_native_core_that_is_wanted_and_missing_is_reported(folder):
    script = WITHOUT_NATIVE + "import pyproc_worker; pyproc_worker.run_worker()\n"
    path = folder / "s"
    result = run(script, PYPROC_SOCKET_PATH=str(path), PYPROC_WORKER_CORE="native")
    assert result.returncode == 1
    assert "ImportError: PYPROC_WORKER_CORE is 'native'" in result.stderr
    assert not path.exists()


class Poll:
    """Has nothing for whoever only looks, unless told; each sleep ends with `wakes`."""

    def __init__(self):
        self.has, self.wakes = [], []
        self.looks, self.sleeps = 0, 0

    def poll(self, timeout):
        if timeout == 0:
            self.looks += 1
            return self.has
        self.sleeps += 1
        return self.wakes


EVENT = [(1, 1)]


def looks_of(poll, spin):
    """How often one wait looks."""
    before = poll.looks
    spin.wait(None, True)
    return poll.looks - before


def test_without_spinning_it_sleeps_at_once():
    poll = Poll()
    Spin(poll, 0).wait(None, True)
    assert (poll.looks, poll.sleeps) == (0, 1)


def test_what_comes_while_it_looks_is_caught():
    poll = Poll()
    poll.has = EVENT
    assert Spin(poll, 1_000_000).wait(None, True) == EVENT
    assert (poll.looks, poll.sleeps) == (1, 0)


def test_it_sleeps_after_it_looked_in_vain():
    poll = Poll()
    poll.wakes = EVENT
    assert Spin(poll, 100).wait(None, True) == EVENT
    assert poll.looks >= 1
    assert poll.sleeps == 1


@pytest.mark.parametrize(("timeout", "may_spin"), [(0, True), (None, False)])
def test_it_does_not_spin_when_it_must_not(timeout, may_spin):
    poll = Poll()
    Spin(poll, 100).wait(timeout, may_spin)
    assert poll.looks + poll.sleeps == 1


def test_after_misses_in_a_row_it_sleeps_for_some_messages():
    poll = Poll()
    poll.wakes, spin = EVENT, Spin(poll, 100)
    assert all(looks_of(poll, spin) > 0 for _ in range(SPIN_MISSES))
    assert all(looks_of(poll, spin) == 0 for _ in range(SPIN_REST))
    assert looks_of(poll, spin) > 0


def test_a_catch_starts_the_count_of_misses_anew():
    poll = Poll()
    spin = Spin(poll, 100)
    for _ in range(3):
        assert all(looks_of(poll, spin) > 0 for _ in range(SPIN_MISSES - 1))
        poll.has = EVENT
        assert looks_of(poll, spin) == 1
        poll.has = []


def test_while_nothing_comes_it_does_not_look_again():
    poll = Poll()
    spin = Spin(poll, 100)
    for _ in range(SPIN_MISSES):
        spin.wait(1000, True)
    assert all(looks_of(poll, spin) == 0 for _ in range(10 * SPIN_REST))


def test_a_spinning_worker_answers(start):
    worker = start(PYPROC_SPIN_US="200")
    clients = [worker.connect(version) for version in (1, 2)]
    for i in range(1, 101):
        for client in clients:
            assert client.call("echo", i, id=i) == {"id": i, "ok": True, "body": i}
    worker.process.terminate()
    assert worker.exit_code() == 0

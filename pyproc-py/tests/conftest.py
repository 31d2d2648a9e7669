import errno
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import textwrap
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from pyproc_worker import expose
from pyproc_worker._functions import registry
from pyproc_worker._settings import CODECS
from wire import PATIENCE, Client

CORES = os.environ.get("PYPROC_TEST_CORES")  # otherwise those that are there
if CORES is None:
    CORES = "python,native" if find_spec("pyproc_worker._core") else "python"

for name in [name for name in os.environ if name.startswith("PYPROC_")]:
    del os.environ[name]  # the user's own settings, which each worker would inherit

# Who runs tests in the background of a script ignores Ctrl-C, which each worker would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
THREADS_INHERIT_CONTEXT = bool(getattr(sys.flags, "thread_inherit_context", False))

each_version = pytest.mark.parametrize("version", [1, 2], indirect=True)
all_codecs = pytest.mark.parametrize("codec", CODECS)

COMMON = """
    import os, sys, time
    from pyproc_worker import expose, run_worker

    @expose
    def echo(req):
        return req

    @expose
    def gate(req):
        "Returns when the test opens the gate of this name; slow in any case."
        end = time.perf_counter() + 0.002
        with open(req["gate"]) as gate:
            gate.read()
        while time.perf_counter() < end:
            pass

    @expose
    def fail(req):
        raise ValueError(req)
"""

SERVE = """
    if __name__ == "__main__":
        run_worker()
"""


class Worker:
    """A worker process; its output is gathered by threads as it comes."""

    def __init__(self, folder, script, environment, version=1):
        self.folder = folder
        self.version = version
        self.path = str(folder / "worker.sock")
        script_path = folder / "worker.py"
        script_path.write_text(script)
        self.process = subprocess.Popen(
            [sys.executable, str(script_path)],
            env={**os.environ, "PYPROC_SOCKET_PATH": self.path, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.clients = []
        self.log = []
        self._logged = threading.Condition()
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()

    def wait_for_log(self, text):
        """Waits for a line on stderr that contains `text`."""
        with self._logged:
            found = self._logged.wait_for(lambda: text in self.stderr(), PATIENCE)
        assert found, self.stderr()
        return self

    def connect(self, version=None, **in_hello):
        client = Client(self.path, version or self.version, **in_hello)
        self.clients.append(client)
        return client

    def introduced(self, **in_hello):
        """A connection that asked for details of errors."""
        client = self.connect(**in_hello if self.version == 2 else {})
        if self.version == 1:
            client.say_hello(**in_hello)
        return client

    def gate(self, name="gate"):
        return Gate(self.folder / name)

    def exit_code(self):
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def stderr(self):
        return "".join(self.log)

    def stop(self):
        for client in self.clients:
            client.close()
        self.process.kill()
        self.process.wait()
        self._reader.join(PATIENCE)
        self.process.stdout.close()
        self.process.stderr.close()

    def _read_log(self):
        for line in self.process.stderr:
            with self._logged:
                self.log.append(line)
                self._logged.notify_all()


class Gate:
    """A pipe that the function `gate` reads: it returns once the gate is open."""

    def __init__(self, path):
        os.mkfifo(path)
        self.body = {"gate": str(path)}
        self._path = path

    def open(self):
        self.entered().close()

    def entered(self):
        """Waits until the function runs; it returns once the result is closed."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return open(os.open(self._path, os.O_WRONLY | os.O_NONBLOCK), "w")
            except OSError as error:
                if error.errno != errno.ENXIO or time.monotonic() > deadline:
                    raise
            time.sleep(0.001)


@pytest.fixture
def folder():
    """A directory with a path short enough for sockets."""
    path = Path(tempfile.mkdtemp(prefix="pw"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(params=CORES.split(","))
def core(request):
    """The core of the workers under test."""
    return request.param


def with_core(name):
    """Restricts a test to one core; it is skipped if that core is not under test."""
    return pytest.mark.parametrize(
        "core", [it for it in CORES.split(",") if it == name], indirect=True
    )


@pytest.fixture
def version(request):
    """The version that clients speak: 1, unless the test is one of `each_version`."""
    return getattr(request, "param", 1)


@pytest.fixture
def start(folder, core, version):
    """Starts a worker whose script is the common functions, some more, and run_worker()."""
    workers = []

    def start(more="", serve=SERVE, **environment):
        if core == "native" and environment.get("PYPROC_JSON", CODECS[0]) != CODECS[0]:
            pytest.skip("the native core has a codec of its own")
        environment = {"PYPROC_WORKER_CORE": core, **environment}
        script = textwrap.dedent(COMMON) + textwrap.dedent(more) + textwrap.dedent(serve)
        workers.append(Worker(folder, script, environment, version))
        return workers[-1].wait_for_log("serving on")

    yield start
    for worker in workers:
        worker.stop()


@pytest.fixture
def functions(monkeypatch):
    """The exposed functions of this process, none at first."""
    monkeypatch.setattr(registry, "functions", {})
    return registry.functions


@pytest.fixture
def call(functions):
    """Calls a function that `expose` has just taken."""

    def call(body):
        (exposed,) = functions.values()
        return exposed.call(body)

    return call


def run(code, **names):
    """Executes code that may use `expose`."""
    exec(textwrap.dedent(code), {"expose": expose, "__name__": __name__, **names})

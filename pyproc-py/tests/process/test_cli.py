import os
import subprocess
import sys

import pytest
from conftest import CORES
from wire import PATIENCE, Client

SCRIPT = '''
import dataclasses, sys
from pyproc_worker import expose, run_worker

@dataclasses.dataclass
class Pair:
    a: int
    b: "int" = 1

@expose
def add(pair: Pair) -> int:
    """Adds both.

    And more.
    """
    return pair.a + pair.b

@expose
def fail(req):
    raise ValueError("out of order")

@expose
async def double(x: int):
    return 2 * x

@expose
def unjson(req):
    return {"a": object()}
'''
GUARDED = SCRIPT + "if __name__ == '__main__':\n    run_worker()\n"
UNGUARDED = SCRIPT + "run_worker()\n"


@pytest.fixture(params=[SCRIPT, GUARDED, UNGUARDED], ids=["no-run", "guarded", "unguarded"])
def script(request, folder):
    path = folder / "script.py"
    path.write_text(request.param)
    return str(path)


def command(*arguments):
    return [sys.executable, "-m", "pyproc_worker", *arguments]


def run(*arguments, stdin=None, **environment):
    return subprocess.run(
        command(*arguments),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, **environment},
    )


def test_list_shows_the_functions_and_serves_nothing(script):
    result = run("list", script)
    assert result.returncode == 0, result.stderr
    add, double, fail, health, unjson = result.stdout.splitlines()
    assert add.startswith("add(pair: ")
    assert add.endswith(") -> int  Adds both.")
    assert double == "double(x: int)"
    assert fail == "fail(req)"
    assert health.startswith("health(req)  Shows that")
    assert unjson == "unjson(req)"


def test_call_prints_the_result(script):
    result = run("call", script, "add", '{"a": 41}')
    assert (result.returncode, result.stdout, result.stderr) == (0, "42\n", "")


def test_call_awaits_an_async_function(script):
    assert run("call", script, "double", "21").stdout == "42\n"


@pytest.mark.parametrize(
    ("function", "body", "message"),
    [
        ("fail", "null", "ValueError: out of order"),
        ("unjson", "null", "result.a: an object of type object is not JSON"),
    ],
)
def test_call_shows_an_exception_and_exits_with_1(script, function, body, message):
    result = run("call", script, function, body)
    assert (result.returncode, result.stdout) == (1, "")
    assert "Traceback" in result.stderr
    assert message in result.stderr


def test_call_says_in_one_line_what_is_wrong_with_the_body(script):
    result = run("call", script, "add", '{"a": "x"}')
    assert (result.returncode, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.endswith("InvalidRequest: field 'a' must be an integer, not a string")


def test_call_takes_its_body_from_a_file_or_from_stdin(script, folder):
    body = folder / "body.json"
    body.write_text('{"a": 41}')
    assert run("call", script, "add", f"@{body}").stdout == "42\n"
    assert run("call", script, "add", "-", stdin='{"a": 41}').stdout == "42\n"


def test_call_with_a_file_that_is_not_there_exits_with_2(script):
    result = run("call", script, "add", "@/no/such.json")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "[Errno 2] No such file or directory: '/no/such.json'\n"


def test_call_takes_and_gives_bytes(folder):
    path = folder / "script.py"
    path.write_text(
        "from pyproc_worker import expose\n"
        "@expose\n"
        "def turned(data: bytes) -> bytes:\n"
        "    assert type(data) is bytes\n"
        "    return memoryview(data)[::-1]\n"
        "@expose\n"
        "def size(req):\n"
        "    return len(req)\n"
    )
    image = folder / "image"
    image.write_bytes(bytes(range(256)))
    turned = subprocess.run(
        command("call", str(path), "turned", "--bytes", f"@{image}"),
        capture_output=True,
        timeout=PATIENCE,
    )
    assert (turned.stdout, turned.stderr) == (bytes(reversed(range(256))), b"")
    assert run("call", str(path), "size", "--bytes", f"@{image}").stdout == "256\n"
    assert run("call", str(path), "size", "--bytes", "\u00e9").stdout == "2\n"
    assert run("call", str(path), "size", "--bytes", "-", stdin="abc").stdout == "3\n"


def test_call_of_an_unknown_function_tells_the_known_ones(script):
    result = run("call", script, "nope", "1")
    assert (result.returncode, result.stdout) == (2, "")
    assert "'nope' is not exposed; known are: add, double, fail, health, unjson" in result.stderr


@pytest.mark.parametrize(
    "body",
    ["{", "", "nan", r'"\ud800"', "1" * 5000, '1} {"id":1', '1,"method":"fail"', "[" * 100_000],
)
def test_call_with_bad_json_exits_with_2(script, body):
    result = run("call", script, "add", body)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("the body ")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("form", ["run", "old", "old-option-first"])
def test_run_serves(script, folder, form):
    path = str(folder / "s")
    arguments = {
        "run": ["run", script, "--socket-path", path, "--log-level", "info"],
        "old": [script, "--socket-path", path],
        "old-option-first": ["--socket-path", path, script],
    }[form]
    worker = subprocess.Popen(command(*arguments), stderr=subprocess.PIPE, text=True)
    try:
        while "serving on" not in (line := worker.stderr.readline()):
            assert line, "the worker ended"
        client = Client(path)
        assert client.call("add", {"a": 1, "b": 2})["body"] == 3
        client.close()
        worker.terminate()
        assert worker.wait(PATIENCE) == 0
    finally:
        worker.kill()
        worker.communicate()


@pytest.fixture
def serve(folder):
    """Runs a script with the command `run`, and returns a client of it."""
    workers, clients = [], []

    def serve(script):
        path = folder / "script.py"
        path.write_text(script)
        socket = str(folder / "s")
        arguments = command("run", str(path), "--socket-path", socket)
        workers.append(subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True))
        while "serving on" not in (line := workers[-1].stderr.readline()):
            assert line, "the worker ended"
        clients.append(Client(socket))
        return clients[-1]

    yield serve
    for client in clients:
        client.close()
    for worker in workers:
        worker.terminate()
        worker.communicate(timeout=PATIENCE)


def test_functions_may_spawn_processes_that_import_the_script(serve):
    client = serve(
        "import multiprocessing\n"
        "from pyproc_worker import expose\n"
        "def square(x):\n"
        "    return x * x\n"
        "@expose\n"
        "def squares(req):\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        f"        return pool.map_async(square, req).get({PATIENCE / 2})\n"
    )
    assert client.call("squares", [1, 2, 3]) == {"id": 1, "ok": True, "body": [1, 4, 9]}


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"PYPROC_SOCKET_PATH": ""}, "no socket path"),
        ({"PYPROC_SOCKET_PATH": __file__}, "is not a socket"),
        ({"PYPROC_SOCKET_PATH": "/no/such/folder/s"}, "No such file or directory: '/no/such/f"),
        ({"PYPROC_JSON": "yaml"}, "PYPROC_JSON is 'yaml'"),
        ({"PYPROC_LOG_LEVEL": "loud"}, "PYPROC_LOG_LEVEL is 'LOUD'"),
        ({"PYPROC_MAX_FRAME_SIZE": "1"}, "PYPROC_MAX_FRAME_SIZE is '1'"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_bad_setting_is_reported_in_one_line(script, folder, environment, message):
    environment = {"PYPROC_SOCKET_PATH": str(folder / "s"), **environment}
    result = run("run", script, **environment)
    assert (result.returncode, result.stdout) == (2, "")
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_bad_setting_of_call_is_reported_in_one_line(script):
    result = run("call", script, "add", PYPROC_JSON="yaml")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "PYPROC_JSON is 'yaml'; it may be one of msgspec, json\n"


def test_an_error_of_the_script_itself_keeps_its_traceback(folder):
    path = folder / "script.py"
    path.write_text("raise ValueError('mine')\n")
    result = run("run", str(path), "--socket-path", str(folder / "s"))
    assert result.returncode == 1
    assert "Traceback" in result.stderr
    assert "ValueError: mine" in result.stderr


def test_a_missing_script_is_reported():
    result = run("list", "/no/such.py")
    assert result.returncode == 2
    assert "no script '/no/such.py'" in result.stderr


def test_the_doctor_says_which_core_serves():
    told = dict(line.split(maxsplit=1) for line in run("doctor").stdout.splitlines())
    if "native" in CORES:
        assert told["core"] == "native"
    else:
        assert told["core"].startswith("python (JSON by ")
    result = run("doctor", PYPROC_WORKER_CORE="python", PYPROC_JSON="json")
    assert "python (JSON by json), slower than the native one" in result.stdout


def test_the_doctor_tells_a_bad_setting_in_one_line():
    result = run("doctor", PYPROC_WORKER_CORE="fast")
    assert (result.returncode, len(result.stderr.splitlines())) == (2, 1)
    assert "PYPROC_WORKER_CORE is 'fast'" in result.stderr


@pytest.mark.parametrize("of", [[], ["run"], ["list"], ["call"]])
def test_help_says_what_a_command_does(of):
    result = run(*of, "--help")
    assert result.returncode == 0
    assert "SCRIPT" in result.stdout


def test_without_a_command_it_shows_the_usage():
    result = run()
    assert result.returncode == 2
    assert "usage" in result.stderr

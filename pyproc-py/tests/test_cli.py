import os
import subprocess
import sys

import pytest
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
    return [sys.executable, "-m", "pyproc_worker.cli", *arguments]


def run(*arguments):
    environment = {k: v for k, v in os.environ.items() if k != "PYPROC_SOCKET_PATH"}
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=PATIENCE, env=environment
    )


def test_list_shows_the_functions_and_serves_nothing(script):
    result = run("list", script)
    assert result.returncode == 0, result.stderr
    add, fail, health, unjson = result.stdout.splitlines()
    assert add.startswith("add(pair: ")
    assert add.endswith(") -> int  Adds both.")
    assert fail == "fail(req)"
    assert health.startswith("health(req: ")
    assert unjson == "unjson(req)"


def test_call_prints_the_result(script):
    result = run("call", script, "add", '{"a": 41}')
    assert (result.returncode, result.stdout, result.stderr) == (0, "42\n", "")


@pytest.mark.parametrize(
    ("function", "body", "message"),
    [
        ("fail", "null", "ValueError: out of order"),
        ("add", '{"a": "x"}', "field 'a' must be an integer, not a string"),
        ("unjson", "null", "result.a: an object of type object is not JSON"),
    ],
)
def test_call_shows_an_exception_and_exits_with_1(script, function, body, message):
    result = run("call", script, function, body)
    assert (result.returncode, result.stdout) == (1, "")
    assert "Traceback" in result.stderr
    assert message in result.stderr


def test_call_of_an_unknown_function_tells_the_known_ones(script):
    result = run("call", script, "nope", "1")
    assert (result.returncode, result.stdout) == (2, "")
    assert "'nope' is not exposed; known are: add, fail, health, unjson" in result.stderr


@pytest.mark.parametrize("body", ["{", "", "nan", '1} {"id":1', '1,"method":"fail"', "[" * 100_000])
def test_call_with_bad_json_exits_with_2(script, body):
    result = run("call", script, "add", body)
    assert (result.returncode, result.stdout) == (2, "")
    assert "the body cannot be read" in result.stderr


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


def test_a_missing_script_is_told():
    result = run("list", "/no/such.py")
    assert result.returncode == 2
    assert "no script '/no/such.py'" in result.stderr


@pytest.mark.parametrize("of", [[], ["run"], ["list"], ["call"]])
def test_help_says_what_a_command_does(of):
    result = run(*of, "--help")
    assert result.returncode == 0
    assert "SCRIPT" in result.stdout


def test_without_a_command_it_shows_the_usage():
    result = run()
    assert result.returncode == 2
    assert "usage" in result.stderr

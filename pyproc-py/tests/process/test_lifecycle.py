"""How a worker starts and how it ends."""

import os
import signal
import socket
import subprocess
import sys

import pytest
from conftest import each_version
from wire import PATIENCE, Client, request

OK_1 = {"id": 1, "ok": True, "body": 1}


def run_script(script, **environment):
    """Runs a script that is expected to end by itself."""
    return subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def last_line(result):
    return result.stderr.strip().splitlines()[-1]


def only_line(result):
    """Of a worker that did not start."""
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    return line


@each_version
def test_sigterm_finishes_what_has_arrived(start):
    worker = start()
    client, other, gate = worker.connect(), worker.connect(), worker.gate()
    client.send(request(1, "echo", 1), request(2, "gate", gate.body), request(3, "echo", 3))
    assert client.receive() == OK_1
    other.send(request(4, "echo", 4))
    worker.process.terminate()
    gate.open()
    assert client.receive_all(2)[3] == {"id": 3, "ok": True, "body": 3}
    assert other.receive() == {"id": 4, "ok": True, "body": 4}
    assert client.is_at_end()
    assert worker.exit_code() == 0
    assert not os.path.exists(worker.path)


@each_version
def test_sigterm_ends_an_idle_worker_at_once(start):
    worker = start()
    client = worker.connect()
    assert client.call("echo", 1) == OK_1
    worker.process.terminate()
    assert client.is_at_end()
    assert worker.exit_code() == 0


def test_sigterm_waits_a_bounded_time_for_a_client_that_does_not_read(start):
    worker = start()
    worker.connect().send(request(1, "echo", "x" * 2_000_000))
    assert worker.connect().call("echo", 1) == OK_1
    worker.process.terminate()
    assert worker.exit_code() == 0


def test_a_script_continues_after_sigterm(start):
    worker = start(serve="run_worker()\nprint('cleaned up')\nsys.exit(7)\n")
    worker.process.terminate()
    assert worker.process.stdout.readline() == "cleaned up\n"
    assert worker.exit_code() == 7


def test_a_handler_of_the_script_for_sigterm_is_left_alone(start):
    worker = start("import signal\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\n")
    worker.process.terminate()
    assert worker.exit_code() == 5


def test_a_signal_that_the_script_ignored_is_ignored_again_afterwards(start):
    worker = start(
        "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n",
        serve="run_worker()\nprint(signal.getsignal(signal.SIGTERM).name)\n",
    )
    worker.process.terminate()
    assert worker.process.stdout.readline() == "SIG_IGN\n"


@each_version
def test_sigterm_ends_a_process_that_a_function_forked(start):
    client = start(
        f"""
        import multiprocessing

        @expose
        def fork(req):
            child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
            child.start()
            child.terminate()
            child.join({PATIENCE / 4})
            code = child.exitcode
            child.kill()
            return code
        """
    ).connect()
    assert client.call("fork") == {"id": 1, "ok": True, "body": -signal.SIGTERM}
    assert client.call("echo", 1) == OK_1


FORKS = """
    def forked(come_back):
        "Forks, waits for the child, and gives its exit code."
        child = os.fork()
        if child == 0:
            return come_back()
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def raise_error():
        raise ValueError("of the child")

    WAYS = {"return": lambda: "the child", "raise": raise_error, "exit": lambda: sys.exit(5)}

    @expose
    def fork(way):
        return forked(WAYS[way])

    @expose
    def fork_cancellable(way, cancel_event):
        return forked(WAYS[way])

    @expose
    async def fork_async(way):
        return forked(WAYS[way])

    @expose
    def note(path):
        with open(path, "a") as file:
            file.write("x")
"""


@each_version
@pytest.mark.parametrize("method", ["fork", "fork_cancellable", "fork_async"])
@pytest.mark.parametrize(("way", "code"), [("return", 0), ("raise", 1), ("exit", 5)])
def test_a_forked_process_that_comes_back_ends_quietly(start, folder, method, way, code):
    worker = start(FORKS)
    client, notes = worker.introduced(), folder / "notes"
    client.send(request(1, method, way), request(2, "note", str(notes)), request(3, "echo", 3))
    answers = client.receive_all(3)
    assert answers[1] == {"id": 1, "ok": True, "body": code}
    assert answers[3] == {"id": 3, "ok": True, "body": 3}
    assert notes.read_text() == "x"
    assert client.call("echo", 1) == OK_1
    assert os.path.exists(worker.path)
    worker.process.terminate()
    assert worker.exit_code() == 0


@each_version
def test_an_exception_in_a_finalizer_does_not_become_the_calls(start):
    worker = start(
        """
        class Grumpy:
            def __del__(self):
                raise ValueError("of a finalizer")

        @expose
        def drop(req):
            Grumpy()
            return "fine"

        @expose
        def keep(req):
            return {"items": [1], "a": Grumpy().__class__.__name__}
        """
    )
    client = worker.introduced()
    assert client.call("drop") == {"id": 1, "ok": True, "body": "fine"}
    assert client.call("keep")["body"] == {"items": [1], "a": "Grumpy"}
    worker.wait_for_log("ValueError: of a finalizer")
    assert client.call("echo", 1) == OK_1


@each_version
def test_a_worker_may_run_in_another_thread(start, version):
    worker = start(
        serve="""
        import threading
        thread = threading.Thread(target=run_worker)
        thread.start()
        thread.join()
        print("it ended")
        """
    )
    owner = worker.introduced(owner=True)
    assert owner.call("echo", 1) == OK_1
    owner.close()
    assert worker.process.stdout.readline() == "it ended\n"
    assert worker.exit_code() == 0


def test_ctrl_c_exits_quietly(start):
    worker = start()
    assert worker.connect().call("echo", 1) == OK_1
    worker.process.send_signal(signal.SIGINT)
    assert worker.exit_code() == 130
    assert "Traceback" not in worker.stderr()
    assert not os.path.exists(worker.path)


EXIT = """
    @expose
    def leave(code):
        sys.exit(code)
"""


@each_version
def test_sys_exit_in_a_function_ends_the_worker_after_earlier_answers(start):
    worker = start(EXIT)
    client = worker.connect()
    client.send(request(1, "echo", 1), request(2, "leave", 3), request(3, "echo", 3))
    assert client.receive() == OK_1
    assert client.is_at_end()
    assert worker.exit_code() == 3


@each_version
def test_the_worker_exits_when_its_owner_leaves(start):
    worker = start()
    owner, other, gate = worker.introduced(owner=True), worker.connect(), worker.gate()
    other.send(request(1, "echo", 1), request(2, "gate", gate.body), request(3, "echo", 3))
    assert other.receive() == OK_1
    owner.close()
    gate.open()
    assert other.receive_all(2)[3] == {"id": 3, "ok": True, "body": 3}
    assert worker.exit_code() == 0


def test_the_worker_exits_when_its_owner_breaks_the_protocol(start):
    worker = start()
    owner = worker.connect()
    owner.say_hello(owner=True)
    owner.send(bytes(4))
    assert owner.receive()["id"] == 0
    assert worker.exit_code() == 0


def test_an_owner_that_is_gone_before_its_hello_was_read_counts(start):
    worker = start()
    other, owner, gate = worker.connect(), worker.connect(), worker.gate()
    other.send(request(1, "echo", 1), request(2, "gate", gate.body))
    assert other.receive() == OK_1
    owner.send(request(1, "pyproc.hello", {"versions": [1], "owner": True}))
    owner.close()
    gate.open()
    assert other.receive()["id"] == 2
    assert worker.exit_code() == 0


@each_version
def test_the_worker_stays_when_a_client_leaves_that_does_not_own_it(start):
    worker = start()
    client = worker.introduced()
    client.close()
    assert worker.connect().call("echo", 1) == OK_1


def test_a_worker_whose_parent_is_another_process_does_not_stay(start):
    worker = start(PYPROC_PARENT_PID=str(os.getpid() + 1))
    assert worker.exit_code() == 0


def test_a_worker_exits_when_its_parent_was_killed(folder):
    path = str(folder / "s")
    script = (
        "import os, subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c',"
        " 'import pyproc_worker; pyproc_worker.run_worker()'],"
        " env={**os.environ, 'PYPROC_PARENT_PID': str(os.getpid())}, stderr=subprocess.PIPE)\n"
        "child.stderr.readline()\n"
        "print('serving', flush=True)\n"
        "child.wait()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "PYPROC_SOCKET_PATH": path},
        stdout=subprocess.PIPE,
    )
    assert parent.stdout.readline() == b"serving\n"
    client = Client(path)
    assert client.call("health")["ok"]
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert client.is_at_end()
    client.close()


def test_what_functions_print_comes_out_at_once(start):
    worker = start(
        """
        @expose
        def say(req):
            print(req)
        """
    )
    assert worker.connect().call("say", "hello")["ok"]
    assert worker.process.stdout.readline() == "hello\n"


def test_nothing_of_ours_goes_to_stdout(start):
    worker = start()
    worker.connect().call("fail", "oh")
    worker.process.terminate()
    assert worker.exit_code() == 0
    assert worker.process.stdout.read() == ""


def test_the_scripts_own_logging_is_left_alone(folder):
    worker = run_script(
        "import logging, signal, pyproc_worker\n"
        "logging.basicConfig(format='mine %(message)s', level='INFO')\n"
        "class End(logging.Handler):\n"
        "    def emit(self, record): signal.raise_signal(signal.SIGTERM)\n"
        "logging.getLogger().addHandler(End())\n"
        "pyproc_worker.run_worker()\n",
        PYPROC_SOCKET_PATH=str(folder / "s"),
    )
    assert worker.returncode == 0
    assert worker.stderr.startswith("mine serving on ")


def test_the_log_level_is_set_by_the_environment(folder):
    worker = run_script(
        "import signal, sys, pyproc_worker\n"
        "sys.addaudithook(lambda event, _: event == 'socket.bind'"
        " and signal.raise_signal(signal.SIGINT))\n"
        "pyproc_worker.run_worker()\n",
        PYPROC_SOCKET_PATH=str(folder / "s"),
        PYPROC_LOG_LEVEL="error",
    )
    assert (worker.returncode, worker.stderr) == (130, "")


def test_settings_of_the_user_do_not_reach_the_workers_under_test():
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
         f"{__file__}::test_sigterm_ends_an_idle_worker_at_once"],
        env={**os.environ, "PYPROC_LOG_LEVEL": "WARNING", "PYPROC_JSON": "yaml"},
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout


SERVE = "import pyproc_worker; pyproc_worker.run_worker()"


def test_without_a_path_it_says_where_to_put_it():
    result = run_script(SERVE, PYPROC_SOCKET_PATH="")
    assert only_line(result).startswith("ValueError: no socket path")
    assert "PYPROC_SOCKET_PATH" in only_line(result)


def test_a_directory_that_does_not_exist_is_reported(folder):
    path = str(folder / "absent" / "s")
    result = run_script(SERVE, PYPROC_SOCKET_PATH=path)
    assert only_line(result) == (
        f"FileNotFoundError: [Errno 2] No such file or directory: {path!r}"
    )


CATCHES = """
import pyproc_worker
try:
    pyproc_worker.run_worker()
except ValueError as error:
    print(f"caught {error}")
"""


def test_a_script_may_catch_a_refusal_and_its_own_errors_keep_their_traceback():
    result = run_script(CATCHES + "raise ValueError('mine')", PYPROC_SOCKET_PATH="")
    assert result.stdout.startswith("caught no socket path")
    assert "Traceback" in result.stderr
    assert last_line(result) == "ValueError: mine"


HOOKED = """
import sys
sys.excepthook = lambda kind, error, trace: print("the hook's", kind.__name__, trace is not None)
"""


def test_a_hook_of_the_scripts_own_gets_a_refusal():
    result = run_script(HOOKED + SERVE, PYPROC_SOCKET_PATH="")
    assert (result.returncode, result.stdout) == (1, "the hook's ValueError True\n")


def test_a_path_that_is_too_long_is_refused_with_the_limit(folder):
    result = run_script(SERVE, PYPROC_SOCKET_PATH=str(folder / ("x" * 200)))
    assert only_line(result).startswith("ValueError")
    assert "limit is 10" in only_line(result)


def test_a_file_that_is_no_socket_is_not_deleted(folder):
    path = folder / "precious"
    path.write_text("data")
    result = run_script(SERVE, PYPROC_SOCKET_PATH=str(path))
    assert only_line(result).startswith("FileExistsError")
    assert path.read_text() == "data"


def test_a_stale_socket_is_replaced(start, folder):
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(folder / "worker.sock"))
    assert start().connect().call("echo", 1) == OK_1


def test_a_socket_that_another_worker_made_meanwhile_is_not_removed(start):
    worker = start()
    os.unlink(worker.path)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(worker.path)
        worker.process.terminate()
        assert worker.exit_code() == 0
        assert os.path.exists(worker.path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PYPROC_MAX_FRAME_SIZE", "10MB"),
        ("PYPROC_MAX_FRAME_SIZE", "100"),
        ("PYPROC_PARENT_PID", "-1"),
        ("PYPROC_JSON", "yaml"),
        ("PYPROC_LOG_LEVEL", "loud"),
        ("PYPROC_WORKER_CORE", "rust"),
        ("PYPROC_SPIN_US", "-1"),
        ("PYPROC_SPIN_US", "20us"),
        ("PYPROC_SOCKET_MODE", "rw-rw----"),
        ("PYPROC_SOCKET_MODE", "0o660"),
        ("PYPROC_SOCKET_MODE", "1660"),
        ("PYPROC_SOCKET_MODE", "0680"),
        ("PYPROC_SOCKET_MODE", "0066"),
        ("PYPROC_ALLOWED_UIDS", "www-data"),
        ("PYPROC_ALLOWED_UIDS", "1000,"),
        ("PYPROC_ALLOWED_UIDS", "-1"),
        ("PYPROC_ALLOWED_UIDS", "1" * 5000),
    ],
)
def test_a_variable_that_makes_no_sense_is_reported(folder, name, value):
    result = run_script(SERVE, PYPROC_SOCKET_PATH=str(folder / "s"), **{name: value})
    assert only_line(result).startswith(f"ValueError: {name} is ")

"""Processes of `multiprocessing` that a worker starts."""

import os
import signal

import pytest
from conftest import SERVE
from wire import PATIENCE, Client

OK_1 = {"id": 1, "ok": True, "body": 1}

PROCESSES = f"""
    import multiprocessing

    def child():
        pass

    @expose
    def run_child(method):
        process = multiprocessing.get_context(method).Process(target=child)
        process.start()
        process.join({PATIENCE / 2})
        code = process.exitcode
        process.kill()
        return code

    @expose
    def serve_elsewhere(method: str, path: str):
        context = multiprocessing.get_context(method)
        context.Process(target=run_worker, args=(path,)).start()
"""

each_method = pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
each_script = pytest.mark.parametrize(
    "serve",
    [
        SERVE,
        "run_worker()\n",
        "import threading\nt = threading.Thread(target=run_worker)\nt.start()\nt.join()\n",
    ],
    ids=["guarded", "unguarded", "unguarded-thread"],
)


@each_method
@each_script
def test_a_child_that_loads_the_main_module_does_not_become_a_worker(start, method, serve):
    worker = start(PROCESSES, serve=serve)
    client = worker.connect()
    assert client.call("run_child", method) == {"id": 1, "ok": True, "body": 0}
    assert client.call("echo", 1) == OK_1
    assert worker.connect().call("echo", 1) == OK_1
    assert worker.stderr().count("serving on") == 1


@each_method
@each_script
def test_a_child_whose_target_is_run_worker_serves(start, folder, method, serve):
    worker, path = start(PROCESSES, serve=serve), str(folder / "child.sock")
    client = worker.connect()
    assert client.call("serve_elsewhere", {"method": method, "path": path})["ok"]
    worker.wait_for_log(f"serving on {path}")
    owner = Client(path)
    owner.say_hello(owner=True)  # it ends with this connection
    assert owner.call("echo", 1) == OK_1
    owner.close()
    assert client.call("echo", 1) == OK_1


@pytest.mark.parametrize("how", ["os.fork", "multiprocessing"])
def test_a_child_that_outlives_a_worker_does_not_keep_its_socket(start, how):
    more = """
    import multiprocessing

    @expose
    def leave_child(how):
        if how == "multiprocessing":
            child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
            child.start()
            return child.pid
        child = os.fork()
        if child == 0:
            time.sleep(600)
        return child
    """
    worker = start(more)
    child = worker.connect().call("leave_child", how)["body"]
    try:
        worker.process.kill()
        worker.process.wait(PATIENCE)
        assert start().connect().call("echo", 1) == OK_1
    finally:
        os.kill(child, signal.SIGKILL)

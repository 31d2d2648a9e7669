"""Scripts in which gevent or eventlet has patched threads, sockets and their like."""

import importlib.util
import signal
import threading
import time

import pytest
from pyproc_worker._system import unpatched
from reports import Taker
from wire import PATIENCE, cancellation, request

PATCHES = {
    "gevent": "from gevent import monkey; monkey.patch_all()",
    "gevent, but for threads": "from gevent import monkey; monkey.patch_all(thread=False)",
    "eventlet": "import warnings; warnings.simplefilter('ignore')\nimport eventlet; eventlet.monkey_patch()",
}

SCRIPT = """
    import asyncio, threading
    from pyproc_worker import telemetry

    hits = telemetry.counter("hits_total", "Calls.")

    @expose
    async def sleep_and_tell(req):
        await asyncio.sleep(0.001)
        return req

    @expose
    async def in_an_executor(req):
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, lambda: req)

    @expose
    async def fail_async(req):
        raise ValueError(req)

    @expose
    def hit(req):
        hits.inc()

    @expose
    def compute(path, cancel_event):
        open(path, "w").close()
        while not cancel_event.is_set():
            pass
        return "stopped"

    @expose
    def wait(path, cancel_event):
        open(path, "w").close()
        return cancel_event.wait(60)

    @expose
    def in_a_thread(req):
        results = []
        thread = threading.Thread(target=lambda: results.append(req))
        thread.start()
        thread.join()
        return results
"""


def start_patched(start, folder, library, more=SCRIPT, **environment):
    """A worker whose script is patched before it loads anything else."""
    name = library.partition(",")[0]
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    (folder / "patched").mkdir()
    (folder / "patched" / "sitecustomize.py").write_text(PATCHES[library])
    environment["PYTHONPATH"] = str(folder / "patched")
    worker = start(more, **environment)
    return worker.wait_for_log(f"beside the greenlets of {name}")


def there(path):
    """Waits for a file."""
    deadline = time.monotonic() + PATIENCE
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.fixture(params=PATCHES)
def library(request):
    return request.param


def test_async_functions_are_answered(start, folder, library):
    client = start_patched(start, folder, library).connect()
    client.send(*(request(i, "sleep_and_tell", i) for i in range(1, 51)))
    answers = client.receive_all(50)
    assert answers == {i: {"id": i, "ok": True, "body": i} for i in range(1, 51)}
    assert client.call("in_an_executor", 1)["body"] == 1
    assert client.call("fail_async", "oh")["error"] == "oh"
    assert client.call("echo", 2)["body"] == 2
    assert client.call("in_a_thread", 3)["body"] == [3]


def test_metrics_are_reported_and_functions_go_on(start, folder, library):
    taker = Taker(start_patched(start, folder, library), "metrics")
    for count in (1, 2):  # after a report, too
        taker.result("hit")
        taker.wait_for_metric("hits_total", lambda series, count=count: series["value"] == count)
    assert taker.result("sleep_and_tell", 1) == 1


def test_logs_and_lines_are_reported_in_order(start, folder, library):
    taker = Taker(
        start_patched(
            start,
            folder,
            library,
            """
            import logging

            @expose
            async def say(req):
                logging.error("one")
                print("two")
            """,
        ),
        "logs",
    )
    taker.result("say")
    texts = [record.get("message") for record in taker.records]
    assert [text for text in texts if text in ("one", "two")] == ["one", "two"]


def test_a_function_that_computes_sees_its_cancellation(start, folder, library):
    client = start_patched(start, folder, library).connect()
    client.send(request(1, "compute", str(folder / "runs")))
    there(folder / "runs")
    client.send(cancellation(1))
    assert client.receive()["body"] == "stopped"


def test_a_function_that_waits_sees_its_cancellation(start, folder):
    pytest.importorskip("gevent", "26.8", reason="older ones wake no waiter from another thread")
    client = start_patched(start, folder, "gevent").connect()
    client.send(request(1, "wait", str(folder / "runs")))
    there(folder / "runs")
    client.send(cancellation(1))
    assert client.receive()["body"] is True


@pytest.mark.parametrize(
    ("library", "spawn"), [("gevent", "gevent.spawn"), ("eventlet", "eventlet.spawn")]
)
def test_greenlets_run_while_the_worker_waits(start, folder, library, spawn):
    start_patched(
        start,
        folder,
        library,
        f"""
        import {library}

        def later():
            for count in range(3):
                time.sleep(0.001)
                open("{folder}/" + str(count), "w").close()

        {spawn}(later)
        """,
    )
    there(folder / "2")


def test_sigterm_ends_the_worker_in_order(start, folder, library):
    worker = start_patched(start, folder, library)
    assert worker.connect().call("sleep_and_tell", 1)["ok"]
    worker.process.send_signal(signal.SIGTERM)
    assert worker.exit_code() == 0


def test_a_script_may_patch_after_it_has_loaded_the_package(start):
    pytest.importorskip("gevent")
    taker = Taker(start("\n    " + PATCHES["gevent"] + SCRIPT), "metrics")
    assert taker.result("sleep_and_tell", 1) == 1
    taker.result("hit")
    taker.wait_for_metric("hits_total")


def test_without_patches_the_start_says_nothing_of_greenlets(start):
    assert "greenlets" not in start().stderr()
    assert unpatched.patched_by() is None
    assert unpatched.wait_with_greenlets() is None


def test_a_real_thread_is_waited_for_but_not_in_a_forked_process(monkeypatch):
    monkeypatch.setattr(unpatched, "patched_by", lambda: "gevent")
    gate = threading.Event()
    thread = unpatched.Thread(gate.wait, "name")
    thread.start()
    thread.join(0.001)
    monkeypatch.setattr(unpatched.os, "getpid", lambda: -1)
    thread.join()
    monkeypatch.undo()
    gate.set()
    thread.join()

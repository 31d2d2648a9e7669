"""`async def` functions behind plain wrappers, and what becomes of the wrappers' signatures."""

import json
import subprocess
import sys
import textwrap

import pytest
from conftest import each_version
from reporting import ask, result
from wire import PATIENCE, cancellation, request

WRAPPED = """
    import asyncio, contextvars, functools
    from pyproc_worker import current_call

    def timed(f):
        @functools.wraps(f)
        def wrapper(*args, **kwargs):
            return f(*args, **kwargs)
        return wrapper

    def with_db(f):
        @functools.wraps(f)
        def wrapper(req):
            return f(req, "db")
        return wrapper

    def cached(f):
        known = {}
        @functools.wraps(f)
        def wrapper(req):
            return known[req] if req in known else f(req, known)
        return wrapper

    def running(f):
        @functools.wraps(f)
        def wrapper(*args, **kwargs):
            return asyncio.run(f(*args, **kwargs))
        return wrapper

    @expose
    @timed
    async def a(req): return 1

    @expose
    @with_db
    def b(req, db): return [req, db]

    @expose
    @timed
    @timed
    async def fails(req): raise ValueError(req)

    @expose
    @cached
    async def once(req, known):
        known[req] = "known"
        return "new"

    @expose
    @running
    async def runs_itself(req): return [req]

    @expose
    @timed
    async def loop_and_task(req):
        return id(asyncio.get_running_loop())

    met = 0

    @expose
    @timed
    async def meet(req):
        "Returns once two calls are under way."
        global met
        met += 1
        while met < 2:
            await asyncio.sleep(0.001)
        return met

    @expose
    @timed
    async def sleep(req, cancel_event=None):
        await asyncio.sleep(3600)

    tenant = contextvars.ContextVar("tenant", default=None)

    def for_tenant(f):
        @functools.wraps(f)
        def wrapper(req):
            tenant.set(req)
            return f(req)
        return wrapper

    @expose
    @for_tenant
    async def whose(req):
        call = current_call()
        return [tenant.get(), call and call.headers]

    @expose
    def forgotten(req):
        async def result(): ...
        return {"x": result()}
"""


@each_version
def test_an_async_function_behind_a_plain_wrapper_is_awaited(start):
    client = start(WRAPPED).introduced()
    assert [client.call("a", id=2)["body"], client.call("a", id=3)["body"]] == [1, 1]
    for id in (4, 5):
        answer = client.call("fails", "oh", id=id)
        assert (answer["error"], answer["headers"]["pyproc-error-type"]) == ("oh", "ValueError")
    assert [client.call("once", "x", id=id)["body"] for id in (6, 7)] == ["new", "known"]
    assert client.call("runs_itself", 1, id=8)["body"] == [1]
    assert client.call("runs_itself", 2, id=9)["body"] == [2]
    assert client.call("b", {"x": 1}, id=10)["body"] == [{"x": 1}, "db"]


@each_version
def test_such_calls_share_one_event_loop_and_run_at_once(start):
    client = start(WRAPPED).introduced()
    loops = {client.call("loop_and_task", id=id)["body"] for id in (2, 3, 4)}
    assert len(loops) == 1
    client.send(request(5, "meet"), request(6, "meet"))
    assert {answer["body"] for answer in client.receive_all(2).values()} == {2}


@each_version
def test_what_the_wrapper_sets_in_the_context_is_seen_from_the_first_call_on(start):
    client = start(WRAPPED).introduced()
    assert [client.call("whose", name, id=ord(name))["body"][0] for name in "abc"] == list("abc")


@pytest.mark.parametrize("version", [2], indirect=True)
def test_the_first_such_call_is_the_current_one_still(start):
    client = start(WRAPPED).connect()
    for name in "ab":
        assert result(ask(client, "whose", name, headers={"x": name})) == [name, {"x": name}]


@each_version
def test_the_first_such_call_is_cancelled_as_others_are(start):
    client = start(WRAPPED).introduced()
    for id in (2, 3):
        client.send(request(id, "sleep"), request(10 + id, "echo", 1))
        assert client.receive()["id"] == 10 + id
        client.send(cancellation(id))
        answer = client.receive()
        assert (answer["id"], answer["headers"]["pyproc-error-type"]) == (
            id,
            "pyproc_worker.Cancelled",
        )


def test_requests_without_ids_are_answered_in_order(start):
    client = start(WRAPPED).connect()
    client.send(
        *(request(0, *call) for call in [("echo", 0), ("a",), ("echo", 2), ("a",), ("echo", 4)])
    )
    assert [client.receive()["body"] for _ in range(5)] == [0, 1, 2, 1, 4]


def test_the_function_counts_as_concurrent_once_that_is_known(start):
    worker = start(WRAPPED)

    def listed():
        hello = worker.connect().say_hello(versions=[1, 2])
        return {f["name"] for f in hello["body"]["functions"] if f.get("concurrent")}

    assert "a" not in listed()
    worker.connect().call("a")
    assert "a" in listed()


def test_a_coroutine_within_a_result_says_that_it_is_to_be_awaited(start):
    client = start(WRAPPED).introduced()
    assert (
        "result.x: a coroutine is not awaited: `await` it"
        in client.call("forgotten", id=2)["error"]
    )


@pytest.mark.parametrize(("function", "wanted"), [("a", 1), ("runs_itself", [None])])
def test_the_command_awaits_it_too(tmp_path, function, wanted):
    script = tmp_path / "script.py"
    script.write_text("from pyproc_worker import expose\n" + textwrap.dedent(WRAPPED))
    command = [sys.executable, "-m", "pyproc_worker.cli", "call", str(script), function]
    result = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert json.loads(result.stdout) == wanted, result.stderr

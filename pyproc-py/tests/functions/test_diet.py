"""What a small worker does without, so that many of them fit into memory."""

import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pyproc_worker._functions.parameters import plan
from pyproc_worker._functions.untyped import takes_a_dict, takes_whole_body

LARGE = {
    "asyncio", "dataclasses", "datetime", "decimal", "inspect", "logging", "pathlib",
    "traceback", "uuid",
}  # fmt: skip
LARGE_FOR_THE_NATIVE_CORE = LARGE | {"json", "re", "typing"}


def test_a_small_worker_loads_no_large_module(start, core):
    client = start(
        """
        @expose
        def loaded(req):
            "Names of modules."
            return list(sys.modules)
        """,
        **({"PYPROC_JSON": "json"} if core == "python" else {}),
    ).introduced()
    unwanted = LARGE if core == "python" else LARGE_FOR_THE_NATIVE_CORE
    assert unwanted.isdisjoint(client.call("loaded", id=2)["body"])


# Above a bare interpreter. Pages of files count once for all workers, so they are left out.
MIB = {"native": 4, "python": 7}


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
@pytest.mark.skipif(sys.version_info >= (3, 14), reason="its interpreter takes 1 MiB more")
def test_a_small_worker_takes_little_memory(start, core):
    worker = start()
    client = worker.introduced()
    for id in range(2, 100):
        assert client.call("echo", {"a": id}, id=id)["ok"]
    bare = [sys.executable, "-c", "print(open('/proc/self/status').read())"]
    without = anonymous(subprocess.run(bare, capture_output=True, text=True, check=True).stdout)
    with_us = anonymous(Path(f"/proc/{worker.process.pid}/status").read_text())
    assert with_us - without <= MIB[core] * 1024


def anonymous(status):
    """KiB of memory that a process shares with no other."""
    return int(re.search(r"RssAnon:\s+(\d+) kB", status).group(1))


def test_what_needs_large_modules_loads_them(start, core):
    client = start(
        """
        @expose
        def hinted(n: int):
            import datetime
            return [n, datetime.date(2026, 1, 2)]
        """,
        **({"PYPROC_JSON": "json"} if core == "python" else {}),
    ).introduced()
    assert client.call("hinted", 7, id=2)["body"] == [7, "2026-01-02"]
    assert client.call("fail", "oh", id=3)["headers"]["pyproc-error-traceback"]


@pytest.mark.parametrize(
    "setup", ["", "import logging\n", "import logging; logging.basicConfig(level='INFO')\n"]
)
def test_log_lines_are_the_same_with_and_without_logging(start, setup):
    worker = start(setup)
    worker.wait_for_log("INFO:pyproc_worker:serving on /")
    worker.connect().call("fail", "oh")
    worker.wait_for_log("ERROR:pyproc_worker:error in 'fail'\nTraceback (most recent call last):\n")
    worker.wait_for_log("\nValueError: oh\n")


def test_logging_that_a_function_loads_carries_the_later_lines(start):
    worker = start(
        """
        @expose
        def load(req):
            import logging
        """
    )
    client = worker.connect()
    client.call("load")
    client.call("fail", "oh")
    worker.wait_for_log("ERROR:pyproc_worker:error in 'fail'\nTraceback")


def whole(req): ...
def with_default(req, verbose=False): ...
def optional(req=None): ...
def keywords(req, *, verbose=False): ...
def returning(req) -> int: ...
def variadic(req, *rest, **others): ...


@pytest.mark.parametrize("function", [whole, with_default, optional, keywords, variadic, returning])
def test_simple_functions_are_recognized(function):
    assert takes_whole_body(function)
    assert plan(function).call is function


def of_dict(data: dict) -> dict: ...
def of_request(req: "dict", verbose=False): ...


@pytest.mark.parametrize("function", [of_dict, of_request])
def test_functions_that_take_a_dict_are_recognized(function):
    assert takes_a_dict(function)
    assert plan(function).schema == {"type": "object"}


def of_one_of_two(data: dict, verbose=False): ...
def of_more(data: dict, **others): ...
def of_two_hints(req: dict, verbose: bool = False): ...


@pytest.mark.parametrize("function", [of_one_of_two, of_more, of_two_hints])
def test_others_with_a_dict_are_to_be_looked_at(function):
    assert not takes_a_dict(function)


def nothing(): ...
def two(a, b): ...
def keyword_only(*, a): ...
def hinted(req: int): ...
def cancellable(req, cancel_event): ...
def cancellable_keyword(req, *, cancel_event=None): ...
def rest_only(*req): ...
def others_only(**req): ...
def generator(req):
    yield req


async def coroutine(req): ...
async def stream(req):
    yield req


@functools.wraps(hinted)
def wrapper(req): ...


class Callable:
    def __call__(self, req): ...


@pytest.mark.parametrize(
    "function",
    [
        nothing, two, keyword_only, hinted, cancellable, cancellable_keyword, rest_only,
        others_only, generator, coroutine, stream, wrapper, Callable(), Callable, len,
        functools.partial(whole), Callable().__call__,
    ],
)  # fmt: skip
def test_all_others_are_to_be_looked_at(function):
    assert not takes_whole_body(function)

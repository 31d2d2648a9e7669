"""A worker of the package `pyproc_worker`, as a user would write it."""

import os
import time
from pathlib import Path

from pyproc_worker import expose, run_worker


class NoSuchModel(Exception):
    pass


@expose
def predict(req):
    return {"result": req["value"] * 2}


@expose
def add(a: int, b: int = 1) -> int:
    return a + b


@expose
def fail(req):
    raise NoSuchModel(f"no model named {req['name']}")


@expose
def odd_result(req):
    return {"items": [1, {"model": object()}]}


@expose
def wait_for_file(req):
    while not Path(req).exists():
        time.sleep(0.001)
    return "seen"


@expose
def leave_mark(req):
    """Appends a line to the file named by the body: proof that it ran."""
    with open(req, "a") as file:
        file.write("ran\n")


@expose
def chatter(req):
    print("x" * 100_000)
    os.write(1, b"\0\1\2\3 bytes that look like a frame")
    return "said"


if __name__ == "__main__":
    run_worker()

"""What only workers of ours can do, for the tests of each of their loops."""

import asyncio
import time
from pathlib import Path

from pyproc_worker import expose, run_worker

together = 0
everybody = None


@expose
async def meet(req):
    """Returns when `req` calls of it run at the same time."""
    global together, everybody
    everybody = everybody or asyncio.Event()
    together += 1
    if together == req:
        everybody.set()
    await everybody.wait()
    return together


@expose
async def until_cancelled(req):
    """Leaves a file when it is cancelled."""
    Path(req, "runs").touch()
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        Path(req, "cancelled").touch()
        raise


@expose
def until_told(req, cancel_event):
    """The same for a plain function, which looks at its event."""
    Path(req, "runs").touch()
    cancel_event.wait()
    Path(req, "cancelled").touch()


@expose
async def fail_later(req):
    await asyncio.sleep(0)
    raise LookupError(req)


@expose
def hold(req):
    Path(req, "runs").touch()
    while not Path(req, "open").exists():
        time.sleep(0.001)
    return "held"


@expose
def echo(req):
    return req


@expose
def backwards(req):
    return bytes(reversed(req))


@expose
def length(req):
    return len(req)


@expose
async def slow_bytes(req):
    return memoryview(b"ab" * req)


@expose
def keys(req):
    """In the order in which they came."""
    return list(req)


@expose
def with_keys(req):
    """An object with these keys."""
    return {key: 1 for key in req}


if __name__ == "__main__":
    run_worker()

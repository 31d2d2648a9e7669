"""Functions that answer with what they were given, beside ones that hang or end their worker.

Every request is `{"token": int, "seconds": float}`; `token` names the call, and `seconds` is how long a hang lasts.
"""

import asyncio
import ctypes
import os
import resource
import signal
import time

from pyproc_worker import expose, run_worker

ADDRESS_SPACE = 4 << 30


@expose
def echo(req):
    return req


@expose
def slow(req):
    time.sleep(0.003)
    return req


@expose
async def later(req):
    await asyncio.sleep(0.002)
    return req


@expose
def raises(req):
    raise ValueError(f"token {req['token']}")


@expose
def eats_memory(req):
    bytearray(2 * ADDRESS_SPACE)


@expose
def exits(req):
    os._exit(3)


@expose
def crashes(req):
    os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(60)


@expose
def loops(req):
    end = time.monotonic() + req["seconds"]
    while time.monotonic() < end:
        pass
    return req


@expose
def sleeps(req):
    time.sleep(req["seconds"])
    return req


@expose
def holds_the_lock(req):
    """Sleeps in C without releasing the interpreter lock."""
    ctypes.PyDLL(None).usleep(int(req["seconds"] * 1e6))
    return req


@expose
async def blocks_the_loop(req):
    time.sleep(req["seconds"])
    return req


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    run_worker()

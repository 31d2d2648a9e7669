"""Functions that say something in every way that Python has."""

import asyncio
import contextvars
import json
import logging
import os
import signal
import sys
import threading
import traceback

from pyproc_worker import current_call, expose, run_worker

log = logging.getLogger("shop")
log.setLevel(logging.INFO)


def speak(where):
    log.info("%s: logged", where, extra={"nested": {"n": 1}, "level": "mine"})
    print(f"{where}: printed")
    print(f"{where}: to stderr", file=sys.stderr)
    try:
        raise KeyError(f"{where}: raised")
    except KeyError:
        log.exception("%s: caught", where)
        traceback.print_exc()


@expose
def plain(where):
    speak(where)


@expose
def fails(where):
    speak(where)
    raise ValueError(where)


@expose
async def concurrent(where):
    await asyncio.sleep(0)
    speak(where)


@expose
async def fails_concurrently(where):
    await asyncio.sleep(0)
    speak(where)
    raise ValueError(where)


@expose
def threaded(where):
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(speak, where))
    thread.start()
    thread.join()


@expose
async def to_thread(where):
    await asyncio.to_thread(speak, where)


@expose
def outside(where):
    """In a thread that knows nothing of the call."""
    thread = threading.Thread(target=contextvars.Context().run, args=(speak, where))
    thread.start()
    thread.join()


@expose
def json_lines(where):
    """As structlog and python-json-logger write them."""
    print(
        json.dumps(
            {
                "event": f"{where}: of structlog",
                "level": "warning",
                "logger": "till",
                "timestamp": "2024-01-15T10:30:45.5Z",
                "sku": {"id": "a-1"},
            }
        )
    )
    print(
        json.dumps({"message": f"{where}: of a formatter", "levelname": "ERROR", "name": "till"}),
        file=sys.stderr,
    )


@expose
def request_id(where):
    log.info("%s: logged", where)
    return current_call().baggage.get("request_id")


@expose
def dies(where):
    speak(where)
    os.write(2, f"{where}: straight to stderr\n".encode())
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    run_worker()

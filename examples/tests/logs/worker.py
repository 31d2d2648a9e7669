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
import warnings

from loguru import logger
from pyproc_worker import current_call, expose, run_worker

log = logging.getLogger("shop")
log.setLevel(logging.INFO)
log.info("import: logged")
logging.getLogger("library").error("import: failed")
logging.getLogger("library").info("import: not heard")

alone = logging.getLogger("alone")
alone.propagate = False
alone.addHandler(logging.StreamHandler())


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
def of_loguru(where):
    """By the sink that loguru has from its import on, and then by one that writes JSON."""
    logger.warning(f"{where}: low")
    try:
        raise KeyError(f"{where}: raised")
    except KeyError as error:
        error.__notes__ = ["first note", "second\nnote"]
        logger.exception(f"{where}: caught")
        logger.remove()
        logger.add(sys.stdout, serialize=True)
        logger.bind(sku="a-1").exception(f"{where}: caught again")


@expose
def of_libraries(where):
    warnings.warn(f"{where}: old", stacklevel=1)
    alone.warning("%s: alone", where, extra={"sku": "a-1"})
    print(f"W0101 12:00:00.000000 123 model.cc:17] {where}: of glog", file=sys.stderr)
    line = f"2026-01-01 12:00:00.123456 [E:onnxruntime:, a.cc:17 Run] {where}: of onnxruntime"
    print(f"\x1b[1;31m{line}\x1b[m", file=sys.stderr)
    for percent in range(101):
        print(f"\r{where}: {percent}%", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


@expose
def of_libraries_below(where):
    """The same, past Python."""
    lines = [
        f"W0101 12:00:00.000000 123 model.cc:17] {where}: of glog",
        f"/srv/a.py:17: UserWarning: {where}: old\n  f()",
        "".join(f"\r{where}: {percent}%" for percent in range(101)),
        f"terminate called after throwing an instance of '{where}: E'\n  what():  no",
    ]
    os.write(2, "\n".join(lines).encode() + b"\n")
    os.write(2, b"free(): invalid pointer\n")
    os.kill(os.getpid(), signal.SIGSEGV)


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

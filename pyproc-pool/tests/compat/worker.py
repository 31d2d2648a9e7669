"""What the scenarios call, written with no more than the first release of the package offers."""

import logging
import os
import sys
import threading
import time

from pyproc_worker import expose, run_worker


@expose
def echo(req):
    return req


@expose
def fail(req):
    raise ValueError(req)


@expose
def größe(req):
    return len(req)


@expose
def hold(req):
    """Runs until the file `req` exists, and says so with a file beside it."""
    open(f"{req}.{os.getpid()}", "w").close()
    while not os.path.exists(req):
        time.sleep(0.001)
    return os.getpid()


def nested(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


def circular():
    value = []
    value.append(value)
    return value


ODD = {
    "no JSON": lambda: [1, 2j],
    "circular": circular,
    "a key that is no text": lambda: {(1, 2): 3},
    "bytes": lambda: {"data": b"\xff"},
    "nested": lambda: nested(100_000),
    "a huge number": lambda: 1 << 100_000,
    "NaN": lambda: [float("nan"), float("-inf")],
    "a lone surrogate": lambda: "\ud800",
    "too large": lambda: "x" * (11 << 20),
}


@expose
def odd(req):
    """A result that cannot be sent."""
    return ODD[req]()


@expose
def mark(req):
    """Adds a byte to the file `req`."""
    with open(req, "a") as file:
        file.write("x")


@expose
def log(req):
    """Logs a warning, and an error with its traceback."""
    logging.getLogger("shop.cart").warning(req)
    try:
        raise KeyError(req)
    except KeyError:
        logging.getLogger("shop.cart").exception("no")


def end_with_stdin():
    os.read(0, 1)
    os._exit(0)


if "--end-with-stdin" in sys.argv:
    threading.Thread(target=end_with_stdin, daemon=True).start()
run_worker()

"""What the scenarios call, written with no more than the first release of the package offers."""

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


def end_with_stdin():
    os.read(0, 1)
    os._exit(0)


if "--end-with-stdin" in sys.argv:
    threading.Thread(target=end_with_stdin, daemon=True).start()
run_worker()

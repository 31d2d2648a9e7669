"""A worker that a wrapper runs as a child."""

import atexit
import os
import signal
import sys
import time

from pyproc_worker import expose, run_worker

if len(sys.argv) > 1:
    sys.exit("no such model")


@expose
def pids(req):
    return [os.getpid(), os.getppid()]


@expose
def note_the_end(req):
    """Makes the file once the worker ends in order."""
    atexit.register(lambda: open(req, "w").close())


@expose
def kill(req):
    os.kill(os.getpid(), signal.SIGKILL)


@expose
def hang(req):
    open(req, "w").close()
    while True:
        time.sleep(60)


if __name__ == "__main__":
    run_worker()

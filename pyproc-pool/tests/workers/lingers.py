"""A worker that, once it takes no more requests, waits for its client to hang up, as version 2 allows."""

import os
import time

from pyproc_worker import expose, run_worker
from pyproc_worker._loop.loop import Loop

Loop._finished = lambda self: self._draining and not self._connections


@expose
def wait_for_file(req):
    while not os.path.exists(req):
        time.sleep(0.001)
    return "seen"


if __name__ == "__main__":
    run_worker()

"""A script with all the names that the original's newest worker offers."""

import os
import sys
import threading
import time

from pyproc_worker import FramedConnection, Worker, expose, health, logger, run_worker
from pyproc_worker.cancellation import (
    CancellableOperation,
    CancellationError,
    CancellationManager,
    make_cancellable,
)
from pyproc_worker.codec import get_codec
from pyproc_worker.tracing import get_tracing, trace_method

logger.info("%s %s", Worker.__name__, FramedConnection.__name__)


@expose
@trace_method
def traced(req):
    codec = get_codec("auto")
    with get_tracing().trace_request({"method": "inner"}):
        return codec.decode(codec.encode(req))


@expose
@make_cancellable
def made_cancellable(req, cancel_event):
    with CancellationManager().track_request(1):
        return req


@expose
def healthy(req):
    return health(req)["status"]


@expose
def operate(req, cancel_event=None):
    """Runs until it is cancelled, and says so with a file beside `req`."""
    open(f"{req}.{os.getpid()}", "w").close()
    try:
        with CancellableOperation(cancel_event, check_interval=1) as operation:
            while True:
                operation.check()
                time.sleep(0.001)
    except CancellationError as error:
        assert error.request_id == 0
        raise


def end_with_stdin():
    os.read(0, 1)
    os._exit(0)


if __name__ == "__main__":
    if "--end-with-stdin" in sys.argv:
        threading.Thread(target=end_with_stdin, daemon=True).start()
    run_worker(os.environ["PYPROC_SOCKET_PATH"], codec_type="auto")

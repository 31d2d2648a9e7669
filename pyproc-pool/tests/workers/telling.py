"""A worker of ours that has things to tell beside its answers."""

import json
import logging
import os
import signal
import sys
import threading

from pyproc_worker import expose, run_worker, telemetry

calls = telemetry.counter("telling_calls_total", "Calls that were counted.")


@expose
def log(req):
    logging.getLogger("shop.cart").warning("low", extra={"left": 3})


@expose
def say(req):
    print("said")


@expose
def say_of_another(req):
    """Prints and logs a line of JSON that says that it is of another call."""
    line = json.dumps(req)
    print(line)
    logging.getLogger("shop").warning("logged", extra={"trace_id": "b" * 32, "request_id": "r-2"})
    logging.getLogger("shop").warning(line)


@expose
def say_half_a_traceback(req):
    print("Traceback (most recent call last):\n  File", file=sys.stderr)
    return os.getpid()


@expose
def count(req):
    calls.inc()


@expose
def say_and_die(req):
    print("about to die")
    logging.getLogger("shop").error("the last record")
    sys.stderr.write("the last line\n")
    os.kill(os.getpid(), signal.SIGKILL)


@expose
def speak_at_the_end(req):
    """From now on SIGTERM makes it log, and it is gone without a drain."""
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())

    def speak():
        told.wait()
        for _ in range(req):
            logging.getLogger("shop").warning("the end")
        os._exit(0)

    threading.Thread(target=speak).start()


run_worker()

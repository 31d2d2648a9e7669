"""A worker of the package, for the tests with real processes."""

import os
import time

from pyproc_worker import expose, run_worker


@expose
def price(req):
    return {"price": req["count"] * 2}


@expose
def fail(req):
    raise KeyError(req["name"])


@expose
def die(req):
    os._exit(7)


@expose
def forever(req):
    while True:
        time.sleep(60)


run_worker()

"""A worker that counts."""

import asyncio
import os

from pyproc_worker import expose, run_worker, telemetry

sold = telemetry.counter("shop_sold_total", "Things sold.")
shelves = telemetry.gauge("shop_shelves", "Shelves that a process looks after.")
shelves.set(3)
customers = telemetry.gauge("shop_customers", "People in the shop.", ["door"])


@expose
def sell(req):
    sold.inc(req["count"])


@expose
async def sell_later(req):
    while not os.path.exists(req["gate"]):
        await asyncio.sleep(0.001)
    sold.inc(req["count"])


@expose
def enter(req):
    customers.labels(door="front").set(req["count"])


@expose
def die(req):
    os._exit(7)


run_worker()

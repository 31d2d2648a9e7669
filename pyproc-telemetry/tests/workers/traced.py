"""Functions that make spans and metrics of their own, with the API of OpenTelemetry alone."""

import asyncio
import contextvars
import os
import signal
import threading
import time

from opentelemetry import baggage, trace
from pyproc_worker import expose, run_worker, telemetry

tracer = trace.get_tracer("shop.db", "2")
orders = telemetry.counter("shop_orders_total", "Orders.", labels=("kind",))
depth = telemetry.gauge("shop_depth", "Depth.")
took = telemetry.histogram("shop_took_seconds", "Took.")


def seen():
    context = trace.get_current_span().get_span_context()
    return {
        "trace_id": f"{context.trace_id:032x}",
        "span_id": f"{context.span_id:016x}",
        "sampled": context.trace_flags.sampled,
        "baggage": dict(baggage.get_all()),
    }


@expose
def order(req):
    before = seen()
    with tracer.start_as_current_span("load", attributes={"rows": 3}) as span:
        span.add_event("retried", {"why": "busy"})
    orders.labels("good").inc()
    depth.set(2)
    took.observe(0.02)
    then = req.get("then")
    if then == "raise":
        with tracer.start_as_current_span("check"):
            raise KeyError("sold out")
    if then == "sleep":
        time.sleep(60)
    if then == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    return before


@expose
async def order_async(req):
    before = seen()
    with tracer.start_as_current_span("load"):
        await asyncio.sleep(0.001)
    return before


@expose
def order_threaded(req):
    before = seen()

    def work():
        with tracer.start_as_current_span("load"):
            pass

    thread = threading.Thread(target=contextvars.copy_context().run, args=(work,))
    thread.start()
    thread.join()
    return before


run_worker()

"""The functions of the conformance contract (CONFORMANCE.md) in Python, for any release of the package."""

import asyncio
import contextlib
import logging
import time

from pyproc_worker import expose, run_worker

try:
    from pyproc_worker import telemetry
except ImportError:  # the first release
    telemetry = None
try:
    from opentelemetry import trace
except ImportError:  # logs and metrics need no library, spans do
    trace = None

calls = 0


@expose
def echo(body):
    return body


@expose
def fail(text):
    raise ValueError(text)


@expose
def sleep(milliseconds):
    time.sleep(milliseconds / 1000)


@expose
def count(_):
    global calls
    calls += 1
    return calls


@expose
def text(length):
    return "x" * length


if telemetry is not None:
    reports = telemetry.counter("conformance_reports_total", "Calls of report.")

    @expose
    async def nap(milliseconds):
        await asyncio.sleep(milliseconds / 1000)

    @expose(name="bytes")
    def zeros(length):
        return bytes(length)

    @expose
    def report(text):
        with span(text):
            logging.getLogger("conformance").warning(text)
        reports.inc()


def span(name):
    if trace is None:
        return contextlib.nullcontext()
    return trace.get_tracer("conformance").start_as_current_span(name)


if __name__ == "__main__":
    # Records that find no room on their way are lost then, rather than printed.
    logging.getLogger().addHandler(logging.NullHandler())
    run_worker()

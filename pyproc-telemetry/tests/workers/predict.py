"""A worker for the benchmark of calls; with OpenTelemetry loaded if it is told to."""

import os

from pyproc_worker import expose, run_worker

if os.environ.get("BENCH_OPENTELEMETRY"):
    import opentelemetry.trace  # noqa: F401


@expose
def predict(req):
    return {"result": req["value"] * 2}


os.environ["PYPROC_LOG_LEVEL"] = "WARNING"
run_worker()

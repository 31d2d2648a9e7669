"""A worker of a pool, for the published package and for ours."""

import os

from pyproc_worker import expose, run_worker

import functions

for function in (
    functions.predict,
    functions.echo,
    functions.burn,
    functions.total,
    functions.total_base64,
    functions.hold,
):
    expose(function)

if __name__ == "__main__":
    os.environ["PYPROC_LOG_LEVEL"] = "WARNING"
    run_worker()

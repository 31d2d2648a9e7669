"""The worker of the benchmark, for the published package and for ours."""

import logging

from pyproc_worker import expose, run_worker


@expose
def predict(req):
    return {"result": req["value"] * 2}


if __name__ == "__main__":
    logging.disable(logging.INFO)
    run_worker()

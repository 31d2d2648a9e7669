"""Stands in for a model that takes its time."""

import math
import time

from pyproc_worker import InvalidRequest, expose, run_worker


@expose
def predict(value: float, delay_ms: float = 0):
    """The logistic function. Far below zero it overflows, as a careless model does."""
    if delay_ms < 0:
        raise InvalidRequest("delay_ms must not be negative")
    time.sleep(delay_ms / 1000)
    return {"probability": 1 / (1 + math.exp(-value))}


if __name__ == "__main__":
    run_worker()

"""The functions that all peers serve. All but `total` take and return what JSON can hold."""

import time


def predict(req):
    return {"result": req["value"] * 2}


def echo(req):
    return req


def burn(req):
    """Plain Python for as long as the caller found out to be about a millisecond."""
    total = 0
    for number in range(req["rounds"]):
        total += number & 7
    return {"result": total}


def total(array):
    """Sums the float64 in a buffer."""
    # Here and not above: only this work should pay for NumPy.
    import numpy

    return {"result": float(numpy.frombuffer(array, dtype="<f8").sum())}


def total_base64(req):
    import base64

    return total(base64.b64decode(req["base64"]))


def hold(_req):
    time.sleep(3600)

from pyproc_worker import expose, run_worker


@expose
def predict(req):
    if req["value"] < 0:
        raise ValueError("value must not be negative")
    return {"result": req["value"] * 2}


if __name__ == "__main__":
    run_worker()

from opentelemetry import trace  # the API alone: `pip install opentelemetry-api`
from pyproc_worker import expose, run_worker, telemetry

tracer = trace.get_tracer("shop")
items = telemetry.counter("shop_items_total", "Items that were priced.")


@expose
def price(req):
    with tracer.start_as_current_span("load prices") as span:
        span.set_attribute("count", req["count"])
        prices = {"apple": 2}
    if req["count"] < 0:
        raise ValueError("count must not be negative")
    items.inc(req["count"])
    return prices["apple"] * req["count"]


if __name__ == "__main__":
    run_worker()

import logging

from pyproc_worker import current_call, expose, run_worker

log = logging.getLogger(__name__)

PRICES = {"cup": 900, "tea": 400}


@expose
def price(order):
    log.info("pricing", extra={"pieces": sum(order.values())})
    call = current_call()
    print("the request is", call.baggage.get("request_id") if call else None)
    try:
        return sum(PRICES[name] * count for name, count in order.items())
    except KeyError:
        log.exception("not in the shop")
        raise


if __name__ == "__main__":
    run_worker()

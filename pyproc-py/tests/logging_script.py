"""Functions that log and print, and the records that come of it."""

LOGGING = """
    import asyncio, contextvars, logging, threading

    log = logging.getLogger("shop.cart")
    logging.getLogger("shop").setLevel("INFO")

    @expose
    def say(req):
        getattr(log, req.get("level", "info"))(req["text"], *req.get("args", ()), extra=req.get("extra"))

    @expose
    async def say_async(req):
        await asyncio.sleep(0)
        log.info(req["text"])

    @expose
    def say_in_thread(req):
        thread = threading.Thread(
            target=contextvars.copy_context().run, args=(log.info, req["text"]), name="helper"
        )
        thread.start()
        thread.join()

    @expose
    def say_exception(req):
        try:
            raise ValueError("oh")
        except ValueError:
            log.exception("it failed", stack_info=True)

    @expose
    def handlers(req):
        return [type(handler).__name__ for handler in logging.getLogger().handlers]

    @expose
    def printed(req):
        print(req["text"], end=req.get("end", "\\n"), file=getattr(sys, req.get("to", "stdout")))
"""


def logs(taker):
    return [record for record in taker.of_type("log") if record["logger"] == "shop.cart"]


def the_log(taker):
    (record,) = logs(taker)
    return record

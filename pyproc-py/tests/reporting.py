"""Functions that send telemetry and look at their calls, and clients that ask for it."""

import json
import textwrap

from wire import RESPONSE, request2

ALL = ("error-details", "cancel", "logs", "spans", "metrics")
QUIET = ("error-details", "cancel", "spans")  # of which a worker has nothing to say by itself
TRACE = bytes(range(24)) + b"\x01"
TRACE_ID, SPAN_ID = TRACE[:16].hex(), TRACE[16:24].hex()

REPORT = """
    import asyncio, contextvars, gc, json, threading
    from pyproc_worker._calls import current
    from pyproc_worker._calls import channels
    from pyproc_worker._calls.current import current_call

    def about():
        call = current_call()
        if call is None:
            return None
        return {
            "function": call.function,
            "headers": dict(call.headers),
            "baggage": call.baggage,
            "trace": [call.trace_id, call.span_id, call.traceparent],
            "has_channel": call.channel is not None,
        }

    def line(text):
        return json.dumps({"type": "log", "message": text}).encode() + b"\\n"

    @expose
    def tell_call(req):
        return about()

    @expose
    async def tell_call_async(req):
        await asyncio.sleep(0)
        inner = asyncio.ensure_future(asyncio.sleep(0, about()))
        return [about(), await inner, await asyncio.to_thread(about)]

    @expose
    def tell_call_of_threads(req):
        seen = []
        look = lambda: seen.append(about())
        for target in (look, lambda: contextvars.copy_context().run(look)):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(look,))
        thread.start()
        thread.join()
        return seen

    @expose
    def report(texts):
        return [current_call().channel.send(line(text)) for text in texts]

    @expose
    async def report_async(texts):
        return [current_call().channel.send(line(text)) for text in texts]

    @expose
    def report_everywhere(text):
        return [channel.send(line(text)) for channel in channels.opened]

    @expose
    def features(req):
        return [sorted(channel.features) for channel in channels.opened]
"""


WAITING = """
    @expose
    async def wait(req):
        current_call().channel.send(line("it runs"))
        await asyncio.Event().wait()

    @expose
    def wait_for_event(req, cancel_event):
        current_call().channel.send(line("it runs"))
        cancel_event.wait()
        return "told"
"""


def script(*more):
    """The functions that report, and some more."""
    return "".join(textwrap.dedent(part) for part in (REPORT, *more))


def wanting(worker, features=QUIET):
    """A connection that asked for telemetry."""
    return worker.connect(version=2, features=features)


def ask(client, method, body=None, id=1, **more):
    client.send(request2(id, client.table[method], json.dumps(body).encode(), **more))
    return client.receive2()


def result(message):
    assert message["kind"] == RESPONSE, message
    return json.loads(message["payload"])

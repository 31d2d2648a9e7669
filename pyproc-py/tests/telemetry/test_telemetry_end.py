"""What a worker that is to end still sends and takes: both cores."""

import json
import signal

from reporting import WAITING, result, script, wanting
from wire import CANCEL, DRAIN, RESPONSE, TELEMETRY, frame2, request, request2

KEPT = """
    kept = []

    def let_leave():
        while kept:
            text = kept.pop()
            for channel in channels.opened:
                channel.send(line(text))

    channels.on_drain.append(let_leave)

    @expose
    def keep(text):
        kept.append(text)

    @expose
    def take_kept(req):
        taken, kept[:] = list(kept), []
        return taken
"""


def test_what_is_kept_leaves_before_the_worker_says_that_it_drains(start):
    worker = start(script(KEPT))
    client = wanting(worker)
    client.call("keep", "kept")
    worker.process.send_signal(signal.SIGTERM)
    assert client.records() == [{"type": "log", "message": "kept"}]
    assert client.receive2()["kind"] == DRAIN
    assert client.is_at_end()
    assert worker.exit_code() == 0


def test_what_is_kept_by_the_last_calls_leaves_before_the_end(start):
    worker = start(script(KEPT))
    client, gate = wanting(worker), worker.gate()
    client.send(request(1, "gate", gate.body), request(2, "keep", "late"))
    with gate.entered():
        worker.process.send_signal(signal.SIGTERM)
    kinds = {}
    while len(kinds) < 4:
        message = client.receive2()
        kinds[message["kind"], message["id"]] = message["payload"]
    assert json.loads(kinds[TELEMETRY, 0]) == {"type": "log", "message": "late"}
    assert {(RESPONSE, 1), (RESPONSE, 2), (DRAIN, 0)} < kinds.keys()
    assert worker.exit_code() == 0


def test_what_is_kept_by_the_last_async_calls_leaves_before_the_end(start):
    late = """
        @expose
        async def keep_when_cancelled(text):
            kept.append("first")
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                kept.append(text)
    """
    worker = start(script(KEPT, late))
    client = wanting(worker)
    client.send(request(1, "keep_when_cancelled", "late"))
    while client.call("take_kept", id=2)["body"] != ["first"]:
        pass
    worker.process.send_signal(signal.SIGTERM)
    assert client.receive2()["kind"] == DRAIN
    client.send(frame2(CANCEL, 1))
    assert result(client.receive2()) is None
    assert client.records() == [{"type": "log", "message": "late"}]
    assert client.is_at_end()
    assert worker.exit_code() == 0


def test_what_is_kept_leaves_when_a_function_ends_the_worker(start):
    leaving = """
        @expose
        def leave(req):
            kept.append("last words")
            sys.exit(3)
    """
    worker = start(script(KEPT, leaving))
    client = wanting(worker)
    client.send(request(1, "leave"))
    assert client.records() == [{"type": "log", "message": "last words"}]
    assert worker.exit_code() == 3


def test_a_worker_that_drains_still_takes_cancellations_but_no_requests(start):
    worker = start(script(WAITING))
    client = wanting(worker)
    client.send(request2(1, "wait"))
    assert client.records()[0]["message"] == "it runs"
    worker.process.send_signal(signal.SIGTERM)
    assert client.receive2()["kind"] == DRAIN
    client.send(request(2, "echo", 1), frame2(CANCEL, 1))
    answer = client.receive2()
    assert (answer["id"], answer["type"]) == (1, "pyproc_worker.Cancelled")
    assert client.is_at_end()
    assert worker.exit_code() == 0


def test_a_plain_function_is_notified_of_its_cancellation_though_the_worker_is_to_end(start):
    worker = start(script(WAITING))
    client = wanting(worker)
    client.send(request2(1, "wait_for_event"))
    assert client.records()[0]["message"] == "it runs"
    worker.process.send_signal(signal.SIGTERM)
    client.send(frame2(CANCEL, 1))
    messages = {}
    while len(messages) < 2:  # in either order, since a core need not see the signal meanwhile
        message = client.receive2()
        messages[message["kind"]] = message
    assert result(messages[RESPONSE]) == "told"
    assert DRAIN in messages
    assert worker.exit_code() == 0

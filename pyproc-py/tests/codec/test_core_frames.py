"""Where an error stands in the stream, and floods of requests while a function keeps the lock."""

import pytest
from wire import PING, PONG, RAW, cancellation, frame, frame2, hello, request, request2

BLOCKS = """
    import ctypes
    sleep = ctypes.PyDLL(None).usleep  # keeps the interpreter lock

    @expose
    def block(micros: int):
        sleep(micros)

    @expose
    async def length(text: str):
        return len(text)
"""


def test_an_error_behind_large_raw_payloads_tells_its_place_in_the_stream(start, core):
    if core != "native":
        pytest.skip("the pure loop tells no place")
    client = start().connect(2)
    sent = len(hello(versions=[1, 2]))
    for size in (100, 64 * 1024, 300_000):
        made = request2(1, "echo", b"x" * size, RAW)
        client.send(made)
        assert len(client.receive2()["payload"]) == size
        sent += len(made)
    client.send(frame(b""))
    assert f"byte {sent} " in client.receive()["error"]
    assert client.is_at_end()


def test_a_flood_of_calls_is_answered_after_a_function_that_keeps_the_lock(start):
    client = start(BLOCKS).connect(2)
    count, text = 12_000, "x" * 400
    client.send(request(count + 1, "block", 300_000))
    client.send(*(request(id, "length", text) for id in range(1, count + 1)))
    answers = client.receive_all(count + 1)
    assert answers.pop(count + 1)["ok"]
    assert all(answer["body"] == len(text) for answer in answers.values())
    assert sorted(answers) == list(range(1, count + 1))


def test_a_flood_of_cancellations_does_no_harm(start):
    client = start(BLOCKS).connect(2)
    client.send(request(1, "block", 300_000), *(cancellation(1) for _ in range(20_000)))
    client.send(frame2(PING, 7))
    kinds = [client.receive2() for _ in range(2)]
    assert {"kind": PONG, "id": 7} in [{"kind": one["kind"], "id": one["id"]} for one in kinds]
    assert client.call("echo", "after", id=2)["body"] == "after"

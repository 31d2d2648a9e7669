"""Scripted streams, each of which both cores answer alike: the Rust crate reads the same file."""

import json
import socket
import struct
from pathlib import Path

from wire import ERROR, PONG, RESPONSE, Client, frame, frame2, read2

STREAMS = json.loads(
    (Path(__file__).parents[3] / "pyproc-protocol" / "testdata" / "streams.json").read_text(
        encoding="utf-8"
    )
)["streams"]

FUNCTIONS = """
    import asyncio

    @expose
    def length(req):
        return len(req)

    @expose
    def raw(req):
        return req if isinstance(req, bytes) else req.encode()

    @expose
    async def later(req):
        await asyncio.sleep(0.02)
        return req
"""

LAST = 1 << 40  # the id of the request by which a stream that goes on ends


def written(item):
    """The bytes of what a stream sends."""
    if "hex" in item:
        return bytes.fromhex(item["hex"])
    if "frame" in item:
        return frame(bytes.fromhex(item["frame"]))
    if "json" in item:
        return frame(item["json"].encode())
    rest = item.get("payload", "").encode()
    if "method" in item:
        name = item["method"].encode()
        rest = struct.pack(">H", len(name)) + name + rest
    elif "index" in item:
        rest = struct.pack(">H", item["index"]) + rest
    return frame2(item["kind"], item["id"], rest, item.get("flags", 0), item.get("codec", 0))


def received(client):
    """The next message; None at the end."""
    try:
        body = client.receive_body()
    except (EOFError, ConnectionResetError):
        return None
    return json.loads(body) if body[:1] == b"{" else read2(body)


def fits(message, expected):
    """Whether a message is the one that the stream expects."""
    if "hello" in expected:
        hello = expected["hello"]
        return message["ok"] and {key: message["body"][key] for key in hello} == hello
    if expected.get("ok"):
        body, wanted = message["body"], expected["body"]
        if isinstance(wanted, dict):  # it may have more
            body = {key: body[key] for key in wanted}
        return list(message) == ["id", "ok", "body"] and body == wanted
    if "ok" in expected:
        return message["ok"] is False and expected["error"] in (True, message["error"])
    if message["kind"] != expected["kind"]:
        return False
    if expected["kind"] == PONG:
        return message["payload"] == b""
    if expected["kind"] == RESPONSE:
        payload = expected.get("payload")
        return message["codec"] == expected["codec"] and (
            payload is None or message["payload"].decode() == payload
        )
    assert expected["kind"] == ERROR
    return (
        message["type"] == expected["type"]
        and expected.get("message", message["message"]) == message["message"]
        and expected.get("times", "times" in message) == ("times" in message)
    )


def by_id(messages):
    """Answers of the same id in their order; those of different ones have none."""
    found = {}
    for message in messages:
        found.setdefault(message["id"], []).append(message)
    return found


def test_streams_are_answered_as_written(start):
    worker = start(FUNCTIONS)  # one for all, which none may harm
    failures = {}
    for stream in STREAMS:
        try:
            play(worker.connect(version=stream["version"]), stream)
        except Exception as failure:
            failures[stream["name"]] = repr(failure)
    assert len(STREAMS) > 100
    assert not failures, json.dumps(failures, indent=2)


def play(client: Client, stream):
    client.send(b"".join(map(written, stream["send"])))
    messages = [received(client) for _ in stream["receive"]]
    if stream["then"] == "open":
        client.send(frame({"id": LAST, "method": "echo", "body": "the end"}))
        assert received(client) == {"id": LAST, "ok": True, "body": "the end"}
    elif stream["then"] == "ended":
        client.socket.shutdown(socket.SHUT_WR)
        assert client.is_at_end()
    else:
        assert messages[-1]["id"] == 0
        assert client.is_at_end()
    answers, wanted = by_id(messages), by_id(stream["receive"])
    assert {id: len(them) for id, them in answers.items()} == {
        id: len(them) for id, them in wanted.items()
    }, messages
    for id, expected in wanted.items():
        for answer, one in zip(answers[id], expected):
            assert fits(answer, one), (answer, one)

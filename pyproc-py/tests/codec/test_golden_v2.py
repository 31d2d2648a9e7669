"""The frames of version 2 that the Rust crate is tested against too."""

import json
from pathlib import Path

import pytest
from pyproc_worker._codec import binary
from pyproc_worker._codec.choose import choose_codec
from pyproc_worker._codec.messages import Cancellation, Ignored
from pyproc_worker._errors import BrokenFrame
from pyproc_worker._loop.answers import binary_writers
from wire import DRAIN, JSON, PONG, RAW, frame2, read2, request2

TESTDATA = Path(__file__).parents[3] / "pyproc-protocol" / "testdata" / "v2"
MANIFEST = json.loads((TESTDATA / "manifest.json").read_text(encoding="utf-8"))["frames"]
FROM_WORKERS = ("response", "error", "pong")


def golden(wanted):
    found = [entry for entry in MANIFEST if wanted(entry.get("message", {}).get("kind", "broken"))]
    assert found, "the manifest has no such frames"
    return pytest.mark.parametrize("entry", found, ids=lambda entry: entry["file"])


def body(entry):
    return (TESTDATA / entry["file"]).read_bytes()[4:]


@golden(lambda kind: kind == "request")
def test_requests_are_read(entry):
    message, wanted = binary.read_message(body(entry)), entry["message"]
    assert (message.id, message.method) == (wanted["id"], wanted["method"])
    assert (message.codec, message.payload.decode()) == (wanted["codec"], wanted["body"])
    assert message.wants_times == wanted.get("wants_times", False)
    assert message.deadline_ns == wanted.get("deadline_ns")
    assert message.headers == wanted.get("headers")
    trace = message.trace and message.trace.hex()
    assert trace == (wanted["trace"].replace("-", "") if "trace" in wanted else None)


@golden(lambda kind: kind in ("cancel", "ping", "drain", "skippable"))
def test_control_messages_are_read(entry):
    message, wanted = binary.read_message(body(entry)), entry["message"]
    kinds = {
        "cancel": Cancellation,
        "ping": binary.Ping,
        "drain": binary.Drain,
        "skippable": Ignored,
    }
    assert type(message) is kinds[wanted["kind"]]
    assert getattr(message, "id", None) == wanted.get("id")


@golden(lambda kind: kind == "broken")
def test_broken_frames_are_reported(entry):
    texts = {
        "truncated": "ends within",
        "kind": "kind 0x",
        "flags": "flags 0x",
        "utf8": "not UTF-8",
        "headers": "headers, more than the maximum",
        "repeated": "occurs twice",
        "id": "cannot have id",
        "trailing": "followed by",
    }
    with pytest.raises(BrokenFrame, match=texts[entry["reason"]]):
        binary.read_message(body(entry))


@golden(lambda kind: kind in FROM_WORKERS)
def test_what_only_workers_send_is_refused(entry):
    with pytest.raises(BrokenFrame, match="expected a request"):
        binary.read_message(body(entry))


def test_a_request_that_is_cut_within_its_parts_is_reported():
    (full,) = (body(entry) for entry in MANIFEST if entry["file"] == "request-full.bin")
    for end in range(len(full) - len("raw")):
        with pytest.raises(BrokenFrame, match="ends within"):
            binary.read_message(full[:end])


@golden(lambda kind: kind == "broken")
def test_a_worker_answers_a_broken_frame_in_version_1_and_closes(start, entry):
    client = start().connect(version=2)
    client.send((TESTDATA / entry["file"]).read_bytes())
    response = json.loads(client.receive_body())
    assert (response["id"], response["ok"]) == (0, False)
    assert response["error"]
    assert client.is_at_end()


@golden(lambda kind: kind in ("ping", "skippable", "cancel", "drain"))
def test_a_worker_takes_the_golden_control_messages_and_goes_on(start, entry):
    client = start().connect(version=2)
    client.send((TESTDATA / entry["file"]).read_bytes())
    if entry["message"]["kind"] == "ping":
        (pong,) = (other for other in MANIFEST if other["file"] == "pong.bin")
        assert client.receive_body() == body(pong)
    assert client.call("echo", 1) == {"id": 1, "ok": True, "body": 1}


class Timed:
    """A stopwatch that tells the golden times."""

    def __init__(self, message):
        self.times = (message["start_ns"], message["duration_ns"])

    def packed(self):
        return b"".join(part.to_bytes(8, "big") for part in self.times)


@golden(lambda kind: kind == "response")
def test_the_same_results_are_the_same_bytes(entry):
    message = entry["message"]
    if message["codec"] != JSON:
        return  # a codec that nobody knows
    writer = binary_writers(choose_codec(), 2**20)[JSON]
    watch = Timed(message) if "start_ns" in message else None
    assert writer.success(message["id"], json.loads(message["body"]), watch)[4:] == body(entry)


@golden(lambda kind: kind == "error")
def test_errors_have_the_golden_parts(entry):
    message, writer = entry["message"], binary_writers(choose_codec(), 2**20)[JSON]
    wanted, watch = read2(body(entry)), Timed(message) if "start_ns" in message else None
    told = read2(writer.failure(message["id"], "f", LookupError(message["message"]), watch)[4:])
    assert list(told) == list(wanted)
    assert told == {
        **wanted,
        "type": "LookupError",
        "traceback": "LookupError: " + message["message"] + "\n",
    }


def test_the_tests_own_frames_are_the_golden_ones():
    by_name = {entry["file"]: body(entry) for entry in MANIFEST}
    assert request2(1, 3, b'{"value":42}')[4:] == by_name["request.bin"]
    assert request2(5, 2, times=True)[4:] == by_name["request-times.bin"]
    assert frame2(PONG, 255)[4:] == by_name["pong.bin"]
    assert frame2(DRAIN, 0)[4:] == by_name["drain.bin"]
    assert RAW == 2

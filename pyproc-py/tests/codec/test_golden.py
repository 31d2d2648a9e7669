"""The frames that the Rust crate is tested against too."""

import json
from pathlib import Path

import pytest
from conftest import CODECS
from pyproc_worker._codec.choose import choose_codec
from pyproc_worker._codec.frames import FrameReader
from pyproc_worker._codec.messages import Cancellation, Ignored, Unreadable
from pyproc_worker._errors import BrokenFrame, error_document
from wire import Client

TESTDATA = Path(__file__).parents[3] / "pyproc-protocol" / "testdata"
MANIFEST = json.loads((TESTDATA / "manifest.json").read_text(encoding="utf-8"))["frames"]


def golden(*kinds, without_headers=False):
    found = [entry for entry in MANIFEST if entry["kind"] in kinds]
    if without_headers:
        found = [entry for entry in found if "headers" not in entry["message"]]
    assert found, f"the manifest has no frames of {kinds}"
    return pytest.mark.parametrize("entry", found, ids=lambda entry: entry["file"])


all_codecs = pytest.mark.parametrize("codec", CODECS)


def content(entry):
    return (TESTDATA / entry["file"]).read_bytes()


def decode(codec, data):
    reader = FrameReader()
    frames = reader.feed(data)
    if reader.error:
        raise reader.error
    assert len(frames) == 1
    return choose_codec(codec).decode(frames[0])


@all_codecs
@golden("request", "hello-request", "wrapped-request", "lenient-request")
def test_requests_are_read(codec, entry):
    message = decode(codec, content(entry))
    wanted = entry["message"].get("payload") or entry["message"]
    assert (message.id, message.method) == (wanted["id"], wanted["method"])
    assert message.body == wanted["body"]
    assert (message.headers or None) == wanted.get("headers")


@all_codecs
@golden("cancellation", "lenient-cancellation")
def test_cancellations_are_read(codec, entry):
    message = decode(codec, content(entry))
    assert isinstance(message, Cancellation)
    wanted = entry["message"].get("payload") or entry["message"]
    assert message.id == wanted["id"]


@all_codecs
@golden("unreadable")
def test_a_body_that_cannot_be_read_leaves_the_request_its_id(codec, entry):
    message = decode(codec, content(entry))
    assert isinstance(message, Unreadable)
    assert (message.id, message.called) == (entry["message"]["id"], entry["message"]["method"])


@all_codecs
@golden("wrapped-unknown")
def test_unknown_types_are_skipped(codec, entry):
    assert isinstance(decode(codec, content(entry)), Ignored)


@all_codecs
@golden("broken")
def test_broken_frames_are_reported(codec, entry):
    with pytest.raises(BrokenFrame):
        decode(codec, content(entry))


@all_codecs
@golden("response", "hello-response")
def test_the_same_responses_are_the_same_bytes(codec, entry):
    assert choose_codec(codec).encode(entry["message"]) == content(entry)[4:]


@golden("response")
def test_errors_have_the_keys_of_the_golden_responses_in_their_order(entry):
    message = entry["message"]
    if not message["ok"]:
        document = error_document(message["id"], KeyError(), details="headers" in message)
        assert list(document) == list(message)
        assert list(document.get("headers", ())) == list(message.get("headers", ()))


@golden("broken")
def test_a_worker_answers_a_broken_frame_and_closes(start, entry):
    client = start().connect()
    client.send(content(entry))
    response = client.receive()
    assert (response["id"], response["ok"]) == (0, False)
    assert response["error"]
    assert client.is_at_end()


@golden("unreadable")
def test_a_worker_answers_a_body_that_it_cannot_read_and_goes_on(start, entry):
    client = start("""
        @expose(name="m")
        def m(req):
            return "it was read"
    """).connect()
    client.say_hello(id=9)
    client.send(content(entry))
    response = client.receive()
    assert (response["id"], response["ok"]) == (entry["message"]["id"], False)
    assert response["headers"]["pyproc-error-type"] == "pyproc_worker.InvalidRequest"
    assert client.call("echo", 1, id=10)["body"] == 1


@golden("hello-request")
def test_a_worker_answers_the_golden_hello_with_the_golden_keys(start, entry):
    (answer,) = (other["message"] for other in MANIFEST if other["kind"] == "hello-response")
    client = start().connect()
    client.send(content(entry))
    response = client.receive()
    assert list(response) == list(answer)
    assert list(response["body"]) == list(answer["body"])
    assert response["body"]["features"] == answer["body"]["features"]
    for function in response["body"]["functions"]:
        assert list(function) == list(answer["body"]["functions"][0])


@golden("response", without_headers=True)  # a traceback of ours is another
def test_a_worker_gives_the_golden_answers(start, entry):
    message = entry["message"]
    worker = start(f"ANSWER = {message!r}" + ANSWERING)
    client: Client = worker.connect()
    method = "nope" if "not found" in message.get("error", "") else "answer"
    client.send(request_for(message["id"], method))
    assert client.receive_body() == content(entry)[4:]


ANSWERING = """

@expose
def answer(req):
    if not ANSWER["ok"]:
        raise Exception(ANSWER["error"])
    return ANSWER["body"]
"""


def request_for(id, method):
    body = json.dumps({"id": id, "method": method}).encode()
    return len(body).to_bytes(4, "big") + body

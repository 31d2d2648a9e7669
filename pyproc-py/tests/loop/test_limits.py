"""Broken frames, and messages at and beyond the limits: both cores."""

import pytest
from conftest import all_codecs, each_version
from wire import answer, frame, request


@each_version
def test_the_answers_before_a_broken_frame_are_sent_first(start):
    client = start().connect()
    client.send(request(1, "echo", 1), frame(b"{no json"), request(2, "echo", 2))
    assert client.receive() == answer(1, 1)
    assert client.receive()["id"] == 0
    assert client.is_at_end()


@each_version
def test_a_broken_frame_ends_only_its_own_connection(start):
    worker = start()
    broken, other = worker.connect(), worker.connect()
    broken.send(frame(b"[]"))
    assert broken.receive()["id"] == 0
    assert other.call("echo", 1) == answer(1, 1)


@all_codecs
@pytest.mark.parametrize("body", [b'{"id":1,"method":"echo","body":"\xff"}', b"{\xff}", b"{"])
def test_what_is_no_json_is_answered_with_id_0(start, codec, body):
    client = start(PYPROC_JSON=codec).connect()
    client.send(frame(body))
    response = client.receive()
    assert (response["id"], response["ok"]) == (0, False)
    assert client.is_at_end()


@all_codecs
def test_a_body_that_is_too_deep_is_answered_and_the_connection_goes_on(start, codec):
    client = start(PYPROC_JSON=codec).connect()
    deep = b"[" * 100_000 + b"]" * 100_000
    client.send(frame(b'{"id":7,"method":"echo","body":' + deep + b"}"))
    response = client.receive()
    assert (response["id"], response["ok"]) == (7, False)
    assert "nested too deeply" in response["error"]
    assert client.call("echo", 1, id=8) == answer(8, 1)


@all_codecs
@pytest.mark.parametrize("body", [b'"\\ud800"', b"1" * 4301], ids=["surrogate", "digits"])
def test_a_value_that_cannot_be_read_is_answered_and_the_connection_goes_on(start, codec, body):
    client = start(PYPROC_JSON=codec).connect()
    client.say_hello()
    client.send(frame(b'{"id":7,"method":"echo","body":' + body + b"}"), request(8, "echo", 8))
    answers = client.receive_all(2)
    assert answers[7]["ok"] is False
    assert answers[7]["headers"]["pyproc-error-type"] == "pyproc_worker.InvalidRequest"
    assert answers[8] == answer(8, 8)


@each_version
def test_a_frame_beyond_the_maximum_is_refused_before_it_comes(start):
    client = start(PYPROC_MAX_FRAME_SIZE="2048").connect()
    client.send((2049).to_bytes(4, "big"))
    response = client.receive()
    assert response["id"] == 0
    assert "2049" in response["error"]
    assert "2048" in response["error"]
    assert client.is_at_end()


def test_a_frame_of_the_maximum_size_is_read_and_written(start):
    client = start(PYPROC_MAX_FRAME_SIZE="2048").connect()
    envelope = len(b'{"id":1,"method":"echo","body":""}')
    text = "x" * (2048 - envelope)
    assert client.call("echo", text) == answer(1, text)


@each_version
def test_a_result_beyond_the_maximum_is_an_encode_error(start):
    client = start(
        """
        @expose
        def big(req):
            return "x" * req
        """,
        PYPROC_MAX_FRAME_SIZE="2048",
    ).introduced()
    response = client.call("big", 3000, id=2)
    assert "maximum of 2048" in response["error"]
    assert response["headers"]["pyproc-error-type"] == "pyproc_worker.EncodeError"
    assert client.call("echo", 1, id=3) == answer(3, 1)


def test_an_error_beyond_the_maximum_is_shortened_to_a_note(start):
    client = start(PYPROC_MAX_FRAME_SIZE="2048").connect()
    response = client.call("fail", "x" * 1900 + "\n" * 50)
    assert response["ok"] is False
    client.say_hello()
    response = client.call("fail", "x" * 1900, id=2)
    assert response == {"id": 2, "ok": False, "error": "an error too long for a frame"}

"""Errors of functions and of the worker in responses, and in the log: both cores."""

import sys

import pytest
from conftest import all_codecs, each_version
from wire import answer

NOTES = """
    class Odd(Exception):
        __notes__ = property(lambda self: 1 / 0)

    @expose
    def fail_with_notes(notes):
        if notes == "odd":
            raise Odd("no such model")
        error = ValueError("no such model")
        error.__notes__ = notes  # as `add_note` does, from Python 3.11 on
        raise error
"""


@each_version
def test_the_notes_of_an_exception_are_in_its_text(start):
    client = start(NOTES).introduced()
    for notes, message in [
        (["in shop 3", "see\nthe manual"], "no such model\nin shop 3\nsee\nthe manual"),
        (["x", 3, None], "no such model\nx"),
        ("odd", "no such model"),
        (7, "no such model"),
    ]:
        answer = client.call("fail_with_notes", notes)
        assert answer["error"] == message
        trace = answer["headers"]["pyproc-error-traceback"]
        if sys.version_info >= (3, 11) and isinstance(notes, list):
            assert "no such model\n" + notes[0] in trace


@each_version
def test_an_error_carries_details_if_the_hello_asked_for_them(start):
    client = start(
        """
        class NoModel(Exception):
            pass

        @expose
        def load(req):
            try:
                {}["a"]
            except KeyError as error:
                raise NoModel("no such model") from error
        """
    ).introduced()
    response = client.call("load", id=2)
    assert list(response) == ["id", "ok", "error", "headers"]
    assert response["error"] == "no such model"
    headers = response["headers"]
    assert headers["pyproc-error-type"] == "__main__.NoModel"
    lines = headers["pyproc-error-traceback"].splitlines()
    assert lines[-1] == "NoModel: no such model"
    assert "KeyError: 'a'" in lines
    assert "pyproc_worker" not in headers["pyproc-error-traceback"]


def test_no_details_without_the_feature(start):
    client = start().connect()
    client.say_hello(features=["cancel"])
    assert client.call("fail", "oh", id=2) == {"id": 2, "ok": False, "error": "oh"}


@each_version
@pytest.mark.parametrize(
    ("method", "body", "kind"),
    [
        ("nope", None, "pyproc_worker.MethodNotFound"),
        ("typed", {"n": "x"}, "pyproc_worker.InvalidRequest"),
        ("unjson", None, "pyproc_worker.EncodeError"),
        ("fail", "oh", "ValueError"),
        ("deep", None, "RecursionError"),
        ("cancelled", None, "asyncio.exceptions.CancelledError"),
    ],
)
def test_errors_are_typed_and_the_worker_goes_on(start, method, body, kind):
    client = start(
        """
        import asyncio

        @expose
        def typed(n: int):
            return n

        @expose
        def unjson(req):
            return {"model": object()}

        @expose
        def deep(req):
            return deep(req)

        @expose
        def cancelled(req):
            raise asyncio.CancelledError()
        """
    ).introduced()
    response = client.call(method, body, id=2)
    assert response["ok"] is False
    assert response["headers"]["pyproc-error-type"] == kind
    assert client.call("echo", 1, id=3) == answer(3, 1)


ODD_ERRORS = """
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError("no text")

    class Number(Exception):
        def __str__(self):
            return 7

    ODD = {
        "mute": Mute(),
        "number": Number(),
        "surrogate": ValueError("a \\ud800 b"),
        "nul": ValueError("\\0"),
        "long": ValueError("x" * 5_000_000),
    }

    @expose
    def odd(req):
        raise ODD[req]
"""


@each_version
@all_codecs
@pytest.mark.parametrize(
    ("which", "wanted"),
    [
        ("mute", "a __main__.Mute whose message cannot be read: its __str__ failed"),
        ("number", "a __main__.Number whose message cannot be read: its __str__ failed"),
        ("surrogate", "a ? b"),
        ("nul", "\0"),
        ("long", "x" * 65_536),
    ],
)
def test_odd_exceptions_are_reported(start, codec, which, wanted):
    client = start(ODD_ERRORS, PYPROC_JSON=codec).introduced()
    response = client.call("odd", which, id=2)
    assert response["error"] == wanted
    assert len(response["headers"]["pyproc-error-traceback"].encode()) <= 16 * 1024


def test_failures_are_logged_if_nobody_else_sees_the_traceback(start):
    worker = start()
    blind, seeing = worker.connect(), worker.connect()
    seeing.say_hello()
    seeing.call("fail", "seen by the client", id=2)
    blind.call("fail", "seen in the log")
    worker.process.terminate()
    worker.exit_code()
    assert "ValueError: seen in the log" in worker.stderr()
    assert "seen by the client" not in worker.stderr()

"""Whatever a record holds, its line is JSON that says the same, within bounds."""

import json
import logging

from hypothesis import given
from hypothesis import strategies as st
from pyproc_worker._telemetry import log_handler
from pyproc_worker._telemetry.json_text import bounded, shortened, shortened_amid

texts = st.text(max_size=200) | st.text(st.characters(categories=["Cs", "Cc", "So"]), max_size=200)
scalars = st.none() | st.booleans() | texts | st.integers() | st.floats() | st.binary(max_size=20)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=30,
)
names = texts.filter(lambda name: name not in log_handler._STANDARD and name[:1] != "_")


def carried(text):
    return text.encode("utf-8", "replace").decode()


def line(message, extra=None, **fields):
    record = logging.makeLogRecord({"msg": message, **fields, **(extra or {})})
    written = log_handler._line(record, None)
    assert written.endswith(b"\n")
    assert written.count(b"\n") == 1
    return json.loads(written, parse_constant=lambda name: 1 / 0)


@given(texts, texts, texts)
def test_texts_arrive_as_they_are_but_for_lone_surrogates(message, logger, thread):
    if message[:1] == "{":
        return
    written = line(message, name=logger, threadName=thread)
    assert written["message"] == carried(message)
    assert (written["logger"], written["thread"]) == (carried(logger), carried(thread))


@given(st.dictionaries(names, st.booleans() | st.integers(-(2**63), 2**63 - 1) | texts, max_size=6))
def test_plain_fields_arrive_as_they_are(extra):
    expected = {
        carried(name): carried(value) if isinstance(value, str) else value
        for name, value in extra.items()
    }
    assert line("x", extra).get("fields", {}) == expected


@given(st.dictionaries(names, values, max_size=6))
def test_fields_of_any_kind_make_a_line_that_can_be_read(extra):
    fields = line("x", extra).get("fields", {})
    assert set(fields) <= {carried(name) for name in extra} | {"…"}


@given(values, st.integers(1, 2000))
def test_values_are_written_within_their_bounds(value, limit):
    written = bounded([("value", value)], limit)
    assert isinstance(json.loads(written), dict)
    assert len(written) <= 7 * limit + 400  # six characters for one at most, and what it says


def test_cut_texts_say_how_long_they_were():
    assert shortened("x" * 10, 10) == "x" * 10
    assert shortened("x" * 11, 10) == "x" * 10 + "… (cut, of 11 characters)"
    assert shortened_amid("abcdefghij", 8) == "ab\n… (cut, of 10 characters)\nefghij"

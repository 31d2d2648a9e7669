"""Both libraries of MessagePack give the same values, results and errors."""

import datetime as dt
import math
import subprocess
import sys
import uuid

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproc_worker import EncodeError, InvalidRequest
from pyproc_worker._codec import messagepack
from test_codecs import CONVERSIONS

LIBRARIES = {"msgspec": messagepack._msgspec, "msgpack": messagepack._msgpack}


@pytest.fixture(params=LIBRARIES)
def library(request, monkeypatch):
    made = LIBRARIES[request.param]()
    monkeypatch.setattr(messagepack, "_library", lambda: made)


def is_carried_alike(value, wanted):
    """Whether JSON and MessagePack have the same form for a value: no bytes, only texts as keys."""
    if isinstance(wanted, list):
        return all(is_carried_alike(item, item) for item in wanted)
    if isinstance(wanted, dict):
        keys = value if isinstance(value, dict) else wanted
        return all(type(key) is str for key in keys) and is_carried_alike([], [*wanted.values()])
    is_long = isinstance(wanted, int) and not -(2**63) <= wanted < 2**64
    return not is_long and not isinstance(value, (bytes, bytearray, memoryview))


ALIKE = [pair for pair in CONVERSIONS if is_carried_alike(*pair)]


@pytest.mark.parametrize(("value", "wanted"), ALIKE, ids=repr)
def test_results_are_converted_as_in_json(library, value, wanted):
    assert msgpack.unpackb(messagepack.dumps(value)) == wanted


@pytest.mark.parametrize(
    "value",
    [
        b"ab",
        {"a": [b"\0"]},
        {1: "int"},
        {None: 1, True: 2, 1.5: 3, b"b": 4},
        2**64 - 1,
        -(2**63),
        math.inf,
    ],
)
def test_what_json_has_no_form_for_stays_as_it_is(library, value):
    assert msgpack.unpackb(messagepack.dumps(value), strict_map_key=False) == value


def test_keys_are_converted_like_values(library):
    keys = {uuid.UUID(int=1): 1, dt.date(2026, 1, 2): 2, (3, "x"): 3}
    carried = messagepack.dumps({**keys, "big": dt.datetime(2026, 1, 2, tzinfo=dt.timezone.utc)})
    read = msgpack.unpackb(carried, strict_map_key=False, use_list=False)
    assert list(read) == [str(uuid.UUID(int=1)), "2026-01-02", (3, "x"), "big"]


def test_nan_is_carried(library):
    assert math.isnan(msgpack.unpackb(messagepack.dumps(math.nan)))


@pytest.mark.parametrize("value", [bytearray(b"ab"), memoryview(b"ab"), memoryview(b"a-b-")[::2]])
def test_all_that_is_bytes_is_carried_as_bytes(library, value):
    assert msgpack.unpackb(messagepack.dumps([value])) == [bytes(value)]


def test_moments_are_texts_as_in_json(library):
    moment = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.timezone.utc)
    assert msgpack.unpackb(messagepack.dumps([moment, "\xd6"])) == ["2026-01-02T03:04:05Z", "\xd6"]


def test_bytes_that_look_like_a_timestamp_are_carried(library):
    assert msgpack.unpackb(messagepack.dumps({"b": b"\xd6\xff...."})) == {"b": b"\xd6\xff...."}


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (object(), "result:"),
        ({"a": [1, object()]}, "result.a[1]:"),
        ([2**64], "result[0]:"),
        (["\ud800"], "result[0]:"),
        ({"x": {"\ud800": 1}}, "result.x (a key)"),
        ({object(): 1}, "result (a key):"),
    ],
)
def test_what_cannot_be_carried_is_reported_with_its_path(library, value, path):
    with pytest.raises(EncodeError) as error:
        messagepack.dumps(value)
    assert str(error.value).startswith(path)


def test_a_value_that_contains_itself_is_reported(library):
    value = []
    value.append(value)
    with pytest.raises(EncodeError, match="contains itself"):
        messagepack.dumps(value)


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xc1", b"\x92\x01", b"\x01\x02", b"\xa1\xff", b"\x81\x90\x01"[:2], b"\xd4\x05\x00"],
)
def test_what_is_no_messagepack_is_reported(library, payload):
    with pytest.raises(InvalidRequest, match="the body"):
        messagepack.loads(payload)


def test_deep_nesting_is_reported(library):
    with pytest.raises(InvalidRequest, match="the body"):
        messagepack.loads(b"\x91" * 100_000 + b"\x01")


def test_timestamps_are_read_as_moments(library):
    moment = dt.datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=dt.timezone.utc)
    assert messagepack.loads(msgspec.msgpack.encode(moment)) == moment


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
)


@pytest.mark.parametrize("name", LIBRARIES)
@given(values)
def test_values_survive(name, value):
    library = LIBRARIES[name]()
    assert library.read(library.plain.write(value)) == value


def test_without_a_library_the_error_says_what_to_install():
    script = (
        "import sys\n"
        "sys.modules['msgspec'] = sys.modules['msgpack'] = None\n"
        "from pyproc_worker import InvalidRequest\n"
        "from pyproc_worker._codec import messagepack\n"
        "try:\n    messagepack.loads(b'\\x01')\n"
        "except InvalidRequest as error:\n    print(error)\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "pip install msgspec" in result.stdout

"""The three codecs give the same messages, results and errors."""

import dataclasses
import datetime as dt
import decimal
import enum
import json
import math
import pathlib
import subprocess
import sys
import uuid
from collections import namedtuple

import numpy as np
import pytest
from conftest import CODECS
from hypothesis import given
from hypothesis import strategies as st
from pyproc_worker import EncodeError
from pyproc_worker._codec import envelope
from pyproc_worker._codec.choose import choose_codec
from pyproc_worker._codec.messages import Cancellation, Ignored, Unreadable
from pyproc_worker._errors import BrokenFrame
from pyproc_worker._settings import Settings

BY_NAME = {name: choose_codec(name) for name in CODECS}
all_codecs = pytest.mark.parametrize("codec", BY_NAME.values(), ids=BY_NAME)


@dataclasses.dataclass
class Row:
    name: str
    _score: float
    tags: list = dataclasses.field(default_factory=list, repr=False)


@dataclasses.dataclass
class Slim:
    __slots__ = ("value",)
    value: object


class Plain(enum.Enum):
    TEXT = "x"
    PAIR = (1, 2)


class Number(enum.IntEnum):
    ONE = 1


class Word(str, enum.Enum):
    HELLO = "hello"


class Text(str):
    def __str__(self):
        return "something else"


class Real(float):
    pass


class Whole(int):
    pass


Point = namedtuple("Point", "x y")

INDIA = dt.timezone(dt.timedelta(hours=5, minutes=30))
WEST = dt.timezone(-dt.timedelta(hours=3, minutes=30))

CONVERSIONS = [
    (None, None),
    ([True, False, None, 1.5, "a"], [True, False, None, 1.5, "a"]),
    ((1, (2,)), [1, [2]]),
    (Point(1, 2), [1, 2]),
    ({3}, [3]),
    (frozenset([3]), [3]),
    (Row("a", 1.5), {"name": "a", "_score": 1.5, "tags": []}),
    (Slim(Row("a", 1.0, [Slim(1)])), {"value": {"name": "a", "_score": 1.0, "tags": [{"value": 1}]}}),
    (Plain.TEXT, "x"),
    (Plain.PAIR, [1, 2]),
    (Number.ONE, 1),
    (Word.HELLO, "hello"),
    (Text("abc"), "abc"),
    (Real(1.5), 1.5),
    (Whole(7), 7),
    (dt.datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05"),
    (dt.datetime(2026, 1, 2, 3, 4, 5, 600, dt.timezone.utc), "2026-01-02T03:04:05.000600Z"),
    (dt.datetime(2026, 1, 2, tzinfo=INDIA), "2026-01-02T00:00:00+05:30"),
    (dt.datetime(2026, 1, 2, tzinfo=WEST), "2026-01-02T00:00:00-03:30"),
    (dt.date(2026, 1, 2), "2026-01-02"),
    (dt.time(3, 4, 5), "03:04:05"),
    (dt.time(3, 4, tzinfo=dt.timezone.utc), "03:04:00Z"),
    (dt.timedelta(days=1, seconds=2.5), "P1DT2.5S"),
    (dt.timedelta(days=-1), "-P1D"),
    (dt.timedelta(0), "P0D"),
    (dt.timedelta(hours=1), "PT3600S"),
    (decimal.Decimal("1.50"), "1.50"),
    (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
    (pathlib.PurePosixPath("/a/b"), "/a/b"),
    (b"abc", "YWJj"),
    (bytearray(b"abc"), "YWJj"),
    (memoryview(b"abc"), "YWJj"),
    (np.float64(1.5), 1.5),
    (np.float32(0.5), 0.5),
    (np.int64(3), 3),
    (np.bool_(True), True),
    (np.str_("a"), "a"),
    (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    (np.array(1.5), 1.5),
    (np.array([True, False]), [True, False]),
    (np.datetime64("2026-01-02"), "2026-01-02"),
    (2**64, 2**64),
    (-(2**63) - 1, -(2**63) - 1),
    (10**30, 10**30),
    ({1: "a", 2**70: "b"}, {"1": "a", str(2**70): "b"}),
    ({True: 1, None: 2}, {"true": 1, "null": 2}),
    ({Plain.TEXT: 1, Word.HELLO: 2, Number.ONE: 3}, {"x": 1, "hello": 2, "1": 3}),
    ({uuid.UUID(int=5): 1}, {"00000000-0000-0000-0000-000000000005": 1}),
    ({dt.date(2026, 1, 2): 1}, {"2026-01-02": 1}),
    ({np.int64(3): 1, Text("k"): 2}, {"3": 1, "k": 2}),
    ({"none": None, "big": 2**80, "at": dt.date(2026, 1, 2)},
     {"none": None, "big": 2**80, "at": "2026-01-02"}),
]  # fmt: skip

LOOP = []
LOOP.append(LOOP)

INSTEAD = ": return None or a string instead, or use MessagePack"

REFUSALS = [
    ({"items": [0, {"model": object()}]}, "result.items[1].model: an object of type object is not JSON"),
    (math.nan, "result: nan is not JSON" + INSTEAD),
    ({"scores": (1.0, -math.inf)}, "result.scores[1]: -inf is not JSON" + INSTEAD),
    ([None, np.float32("nan")], "result[1]: nan is not JSON" + INSTEAD),
    ({"a": np.array([[1.0, np.inf]])}, "result.a[0][1]: inf is not JSON" + INSTEAD),
    (Row("a", math.nan), "result._score: nan is not JSON" + INSTEAD),
    ({"s": ["\ud800"]}, "result.s[0]: a string with a lone surrogate is not JSON"),
    ({"k": {(1, 2): 3}}, "result.k: a key of type tuple is not JSON"),
    ({"k": complex(1, 2)}, "result.k: a complex is not JSON: return its `.real` and `.imag`"),
    (Row, "result: an object of type type is not JSON"),
    (np.longdouble(1), "result: a longdouble is not JSON: return `float(...)` of it"),
    (LOOP, "result: nested too deeply, or contains itself"),
]  # fmt: skip


@all_codecs
@pytest.mark.parametrize(("value", "wanted"), CONVERSIONS, ids=lambda value: repr(value)[:40])
def test_results_are_converted(codec, value, wanted):
    read = json.loads(codec.encode(value).decode("utf-8"))
    assert read == wanted
    assert type(read) is type(wanted)


@all_codecs
@pytest.mark.parametrize(("value", "message"), REFUSALS, ids=lambda value: repr(value)[:40])
def test_what_json_cannot_carry_is_refused_with_its_path(codec, value, message):
    with pytest.raises(EncodeError) as caught:
        codec.encode(value)
    assert str(caught.value) == message


keys = st.text() | st.integers() | st.booleans() | st.none() | st.uuids() | st.dates()
offsets = st.integers(-23 * 60, 23 * 60).map(lambda m: dt.timezone(dt.timedelta(minutes=m)))
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.binary()
    | st.datetimes(timezones=st.none() | offsets)
    | st.times(timezones=st.none() | offsets)
    | st.dates()
    | st.timedeltas()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.uuids()
    | st.sampled_from([Plain.TEXT, Number.ONE, Word.HELLO])
)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner)
        | st.dictionaries(keys, inner)
        | inner.map(Slim)
        | st.frozensets(st.integers(), max_size=1)
    ),
    max_leaves=12,
)


@given(values)
def test_all_codecs_give_the_same_result(value):
    results = [json.loads(codec.encode(value)) for codec in BY_NAME.values()]
    assert len({repr(result) for result in results}) == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)  # fmt: skip


@given(json_values)
def test_all_codecs_read_what_python_wrote(value):
    frame = json.dumps({"id": 7, "method": "f", "body": value}).encode()
    for codec in BY_NAME.values():
        message = codec.decode(frame)
        assert (message.id, message.method) == (7, "f")
        assert repr(message.body) == repr(value)


@given(st.binary(max_size=200))
def test_any_frame_is_a_message_or_broken(rest):
    for codec in BY_NAME.values():
        try:
            codec.decode(b"{" + rest)
        except BrokenFrame:
            continue


BROKEN = [
    b"{}",
    b'{"id":1}',
    b'{"id":-1,"method":"f"}',
    b'{"id":9007199254740992,"method":"f"}',
    b'{"id":1.5,"method":"f"}',
    b'{"id":9007199254740993.0,"method":"f"}',
    b'{"id":1e300,"method":"f"}',
    b'{"id":true,"method":"f"}',
    b'{"id":"1","method":"f"}',
    b'{"id":1,"method":7}',
    b'{"id":1,"method":null}',
    b'{"id":1,"method":"f","body":NaN}',
    b'{"id":1,"method":"f","body":[Infinity]}',
    b'{"id":1,"method":"f","body":"\xff"}',
    b'{"id":1,"method":"f","later":"\xff"}',
    b'{"id":' + b"1" * 5000 + b',"method":"f"}',
    b'{"id":7,"method":"f","headers":{"a":"\\ud800"}}',
    b'{"id":7,"method":"\\ud800"}',
    b'{"id":7,"method":"f","\\ud800":1}',
    b'{"type":"\\ud800"}',
    b'{"id":7,"method":"f","body":' + b"[" * 100_000 + b"}",
    b'{"id":7,"method":"f","body":' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
    b'{"id":' + b"[" * 100_000 + b"]" * 100_000 + b',"method":"f"}',
    b'{"id":1,"method":"f"}{}',
    b'{"id":1,"method":"f",}',
    b'{"id":1,"method":"f","headers":[]}',
    b'{"id":1,"method":"f","headers":{"a":1}}',
    b'{"id":1,"method":"f","headers":{"a":"' + b"x" * 65_536 + b'"}}',
    b'{"id":1,"ok":true,"body":1}',
    b'{"type":"response","payload":{"id":1,"ok":true}}',
    b'{"type":"request","payload":{"id":1}}',
    b'{"type":"request"}',
    b'{"type":"request","payload":[]}',
    b'{"type":"cancellation","payload":{"id":"1"}}',
    b'{"type":7}',
    b'{"id":1,"method":"f","headers":'
    + json.dumps({str(i): "" for i in range(129)}).encode()
    + b"}",
]


@all_codecs
@pytest.mark.parametrize("frame", BROKEN, ids=lambda frame: repr(frame)[2:50])
def test_what_is_no_message_is_broken(codec, frame):
    with pytest.raises(BrokenFrame):
        codec.decode(frame)


@all_codecs
@pytest.mark.parametrize(
    "frame",
    [
        b'{"id":1,"method":"f","body":[1]}',
        b'{"body":[1],"method":"f","id":1}',
        b'{ "id" : 1 , "method" : "f" , "body" : [ 1 ] } ',
        b'{"id":1,"method":"f","body":[1],"headers":{},"later":{"a":[]}}',
        b'{"id":1,"method":"f","body":[1],"headers":{"traceparent":"00-1"}}',
        b'{"id":1,"method":"f","body":[1],"headers":null}',
        b'{"id":1,"method":"x","method":"f","body":[1]}',
        b'{"id":"x","id":1,"method":7,"method":"f","headers":7,"headers":null,"body":[1]}',
        b'{"id":1.0,"method":"f","body":[1]}',
        b'{"id":1e0,"method":"f","body":[1]}',
        b'{"id":1,"method":"f","body":[1],"ok":7,"error":[],"type":null}',
        b'{"id":1,"method":"f","body":[1],"later":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"id":"x","type":"request","payload":{"id":1,"method":"f","body":[1],"type":"x"}}',
        b'{"type":"request","payload":{"id":1,"method":"f","body":[1]}}',
    ],
)
def test_all_forms_of_a_request_are_read(codec, frame):
    message = codec.decode(frame)
    assert (message.id, message.method, message.body) == (1, "f", [1])


@all_codecs
@pytest.mark.parametrize(
    "id", ["", '"id":0,', '"id":null,', '"id":0.0,', '"id":-0,', '"id":1,"id":0,']
)
def test_a_request_without_an_id_has_the_id_0(codec, id):
    message = codec.decode(b'{%b"method":"f","body":[1]}' % id.encode())
    assert (message.id, message.method, message.body) == (0, "f", [1])
    assert type(message.id) is int


@all_codecs
@pytest.mark.parametrize("payload", ["", ',"payload":null', ',"payload":{}', ',"payload":{"id":0}'])
def test_a_cancellation_may_name_nothing(codec, payload):
    message = codec.decode(b'{"type":"cancellation"%b}' % payload.encode())
    assert isinstance(message, Cancellation)
    assert message.id == 0


@all_codecs
@pytest.mark.parametrize("payload", ["", ',"payload":7', ',"id":"x","method":7,"headers":[1]'])
def test_an_unknown_type_is_skipped_whatever_else_is_there(codec, payload):
    assert isinstance(codec.decode(b'{"type":"weather"%b}' % payload.encode()), Ignored)


VALUES = [
    '{"type":7,"id":"x","id":1,"method":"m"}',
    *(
        "null",
        "0",
        "1",
        "2.0",
        "-1",
        "1.5",
        "9007199254740991",
        "9007199254740992",
        "1e300",
        "true",
    ),
    *(
        '"m"',
        '"request"',
        '"cancellation"',
        '"weather"',
        '"\\u006d"',
        '"\\ud800"',
        "[]",
        "{}",
        "[ 1 ]",
        "[,]",
    ),
    *('{"a":"1","a":"2"}', '{"a":1}', '{"id":1,"method":"m"}', "[" * 2000 + "]" * 2000),
]
KEYS = ["id", "method", "body", "headers", "type", "payload", "ok", "later", "\\u0069d", "\\ud800"]


def told(read, *arguments):
    """What is read, in a form that can be compared."""
    try:
        message = read(*arguments)
    except BrokenFrame:
        return "broken"
    if isinstance(message, Unreadable):
        return "unreadable", message.id, message.called
    if isinstance(message, (Cancellation, Ignored)):
        return type(message).__name__, getattr(message, "id", None)
    return message.id, message.method, message.body, message.headers or None


@given(
    st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(VALUES)), max_size=7),
    st.sampled_from(["", " ", "\n\t"]),
)
def test_whatever_is_sent_is_read_alike_by_all_codecs_and_with_care(members, space):
    written = ",".join(f'{space}"{key}"{space}:{value}{space}' for key, value in members)
    text = "{" + written + "}" + space
    by_codec = {name: told(codec.decode, text.encode()) for name, codec in BY_NAME.items()}
    standard = BY_NAME["json"]
    assert set(map(repr, by_codec.values())) == {repr(by_codec["json"])}
    assert told(lambda: standard._with_care(envelope.members(text))) == by_codec["json"]


@all_codecs
def test_128_levels_are_read_and_written(codec):
    body = b"[" * 128 + b"]" * 128
    message = codec.decode(b'{"id":1,"method":"f","body":%b}' % body)
    assert codec.encode(message.body) == body


@all_codecs
def test_a_body_that_is_nested_too_deeply_leaves_its_id(codec):
    message = codec.decode(b'{"id":7,"method":"f","body":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
    assert isinstance(message, Unreadable)
    assert (message.id, message.called) == (7, "f")


@all_codecs
@pytest.mark.parametrize(
    "frame",
    [
        b'{"id":7,"method":"f","body":"\\ud800"}',
        b'{"method":"f","body":{"\\uDFFF":1},"id":7}',
        b'{"type":"request","payload":{"id":7,"method":"f","body":["\\ud800"]}}',
        b'{"id":7,"method":"f","body":[' + b"1" * 5000 + b"]}",
        b'{"body":[' + b"1" * 5000 + b'],"method":"f","id":7}',
        b'{"body":' + b"[" * 100_000 + b"]" * 100_000 + b',"method":"f","id":7}',
        b'{"body":{"a":' + b'[{"\\ud800":[' * 9_000 + b"]}]" * 9_000 + b'},"id":7,"method":"f"}',
    ],
    ids=[
        "surrogate",
        "surrogate-key-first",
        "surrogate-wrapped",
        "digits",
        "digits-first",
        "deep-first",
        "mixed",
    ],
)
def test_a_value_that_cannot_be_read_leaves_its_id(codec, frame):
    message = codec.decode(frame)
    assert isinstance(message, Unreadable)
    assert message.id == 7


@all_codecs
def test_a_lone_surrogate_under_an_unknown_key_does_no_harm(codec):
    message = codec.decode(b'{"id":7,"method":"f","body":"\\ud83d\\ude00","later":"\\ud800"}')
    assert (message.id, message.body) == (7, "\U0001f600")


@all_codecs
def test_a_cancellation_is_read_whatever_its_reason(codec):
    frame = b'{"type":"cancellation","payload":{"id":7,"reason":"\\ud800"}}'
    assert isinstance(codec.decode(frame), Cancellation)


@all_codecs
@pytest.mark.parametrize(
    ("value", "path"),
    [({"big": [10**5000]}, "result.big[0]: "), ({10**5000: 1}, "result (a key): ")],
    ids=["value", "key"],
)
def test_an_integer_beyond_pythons_limit_of_digits_is_refused_with_its_path(codec, value, path):
    with pytest.raises(EncodeError) as caught:
        codec.encode(value)
    assert str(caught.value).startswith(path)
    assert "limit" in str(caught.value)


@all_codecs
def test_integers_of_4300_digits_are_read_and_written(codec):
    body = b"9" * 4300
    message = codec.decode(b'{"id":1,"method":"f","body":%b}' % body)
    assert codec.encode(message.body) == body


def test_a_bad_choice_of_codec_is_reported():
    with pytest.raises(ValueError, match=r"PYPROC_JSON is 'yaml'.*msgspec, json"):
        Settings.from_environment({"PYPROC_JSON": "yaml"})


def test_the_fastest_installed_codec_is_the_default():
    assert choose_codec().name == "msgspec"


def test_nothing_of_the_package_imports_numpy():
    script = (
        "import sys, pyproc_worker, pyproc_worker._process.run; assert 'numpy' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0

"""What the schema of a hint admits is accepted, what it does not is refused, and what was accepted
comes back equal: for random hints and random bodies."""

import dataclasses
import datetime
import decimal
import enum
import json
import pathlib
import re
import types
import uuid
from typing import (
    Annotated,
    Any,
    DefaultDict,
    Deque,
    Dict,
    FrozenSet,
    Generic,
    List,
    Literal,
    Mapping,
    NamedTuple,
    NewType,
    Optional,
    OrderedDict,
    Sequence,
    Set,
    Tuple,
    TypedDict,
    TypeVar,
    Union,
)

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyproc_worker import InvalidRequest
from pyproc_worker._codec.json_codec import StandardCodec
from pyproc_worker._functions.parameters import plan
from pyproc_worker._types.patterns import DATE

annotated_types = pytest.importorskip("annotated_types")

T = TypeVar("T")
UserId = NewType("UserId", int)


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Access(enum.Flag):
    READ = 1
    WRITE = 2
    BOTH = 3


class Marks(enum.IntFlag):
    FIRST = 1
    LAST = 8


class Name(str):
    pass


@dataclasses.dataclass
class Point:
    x: int
    y: float = 0.0


@dataclasses.dataclass
class Tree:
    name: str
    children: List["Tree"] = dataclasses.field(default_factory=list)
    at: Optional[Point] = None


@dataclasses.dataclass
class Page(Generic[T]):
    items: List[T]


@dataclasses.dataclass
class PointPage(Page[Point]):
    title: str = ""


class Pair(NamedTuple):
    key: str
    value: Union[int, Point] = 0


class Options(TypedDict, total=False):
    limit: int
    color: Color


@st.composite
def near(draw, *texts):
    """One of these texts, perhaps with a character more, less, or of another kind."""
    text = draw(st.sampled_from(texts))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(text)))
        new = draw(st.sampled_from(["", *"-+:.,_ 019tTzZaAdDpPsS=/\n٣"]))
        text = text[:at] + new + text[at + draw(st.integers(0, 1)) :]
    return text


dates = near("2026-01-02", "2026-02-30", "2024-02-29", "0001-01-01", "20260102")
moments = near(
    "2026-01-02T03:04:05", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05.25+02:00", "2026-01-02 23:59:59+0200",
    "2026-01-02", "2026-13-02T03:04:05", "2026-01-02T25:04:05"
)  # fmt: skip
times = near("03:04:05", "23:59:59.5", "03:04:05Z", "03:04:05-23:59", "24:00:00")
durations = near("P1D", "PT2.5S", "P1DT2H3M4.5S", "-P1.5D", "PT1.5H", "P0D", "P1Y", "P1W", "P")
uuids = near(str(uuid.UUID(int=2**128 // 3)), uuid.UUID(int=2**128 // 5).hex)
decimals = (
    near("1", "1.50", "-0.1", "1E+5", ".5", "1e-10") | st.sampled_from([1.5, 2])
    | st.sampled_from(["NaN", "-Infinity", "inf", "sNaN", "1_0", " 1", "1,5", "1e" + "9" * 18, "1e" + "9" * 17])
)  # fmt: skip
bases = near("", "YQ==", "YWI=", "YWJj", "+/+/")
small = st.integers(-3, 3) | st.sampled_from([2**53 + 1, 2**64, -(2**70)])
texts = st.text(st.characters(codec="utf-8"), max_size=3)
exact = st.integers(-3, 3) | st.just(2**53)
floats = st.floats(allow_nan=False, allow_infinity=False) | exact

LEAVES = [
    (int, small), (float, floats), (str, texts), (bool, st.booleans()), (None, st.none()),
    (bytes, bases), (bytearray, bases), (datetime.date, dates), (datetime.datetime, moments),
    (datetime.time, times), (datetime.timedelta, durations), (uuid.UUID, uuids),
    (decimal.Decimal, decimals), (pathlib.Path, st.sampled_from(["/tmp", "a/b"])),
    (UserId, small), (Name, texts), (Color, st.sampled_from(["red", "blue", "green"])),
    (Level, st.sampled_from([1, 2, 3])), (Literal["a", 1, True, None], st.sampled_from(["a", 1, True, None, 2])),
    (Literal[Color.RED], st.sampled_from(["red", "blue"])),
    (Annotated[int, annotated_types.Ge(0), annotated_types.Lt(3)], small),
    (Annotated[str, annotated_types.Len(1, 2)], texts),
    (Access, st.integers(-1, 5)), (Marks, st.integers(-1, 16)),
    (Annotated[Level, annotated_types.Ge(2)], st.sampled_from([1, 2, 3])),
    (Annotated[Union[int, str], annotated_types.Gt(1)], small | texts),
    (Annotated[Optional[float], annotated_types.Le(1), annotated_types.Gt(-1)], st.none() | small),
    (Annotated[datetime.datetime, annotated_types.Timezone(None)], moments),
    (Annotated[datetime.datetime, annotated_types.Timezone(...)], moments),
]  # fmt: skip
HASHABLE = [leaf for leaf in LEAVES if leaf[0] not in (bytearray, Annotated)]
KEYS = [
    leaf for leaf in LEAVES
    if leaf[0] in (str, int, bool, UserId, Name, Color, datetime.date, uuid.UUID, Level, Access,
                   decimal.Decimal)
]  # fmt: skip

anything = st.recursive(
    st.none() | st.booleans() | floats | texts | dates | st.just("red"),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["x", "y", "name", "items", "limit", "1"]), inner, max_size=2
        )
    ),
    max_leaves=4,
)

points = st.fixed_dictionaries({"x": small}, optional={"y": floats, "z": small})
trees = st.deferred(
    lambda: st.fixed_dictionaries(
        {"name": texts}, optional={"children": st.lists(trees, max_size=1), "at": points}
    )
)
CLASSES = [
    (Point, points),
    (Tree, trees),
    (Page[Point], st.fixed_dictionaries({"items": st.lists(points, max_size=2)})),
    (PointPage, st.fixed_dictionaries({"items": st.lists(points, max_size=2)}, optional={"title": texts})),
    (Pair, st.tuples(texts, small | points).map(list) | st.tuples(texts).map(list)),
    (Options, st.fixed_dictionaries({}, optional={"limit": small, "color": st.just("red"), "more": small})),
    (Union[List[float], List[int]], st.lists(small, max_size=2)),
    (Union[float, Color, int], small),
    (Any, anything),
    (Annotated[Any, annotated_types.Gt(1)], anything),
    (Annotated[Any, annotated_types.Len(1, 1)], anything),
    (dict, st.dictionaries(texts, small, max_size=2)),
    (list, st.lists(small, max_size=2)),
]  # fmt: skip


def keyed(of, key, value):
    """A mapping's hint, and bodies for it."""
    names = key[1].map(lambda name: json.dumps(name) if type(name) in (int, bool, float) else name)
    names |= st.sampled_from(["01", "-0", "1.0", "x", "null"])
    return of[key[0], value[0]], st.dictionaries(names, value[1], max_size=2)


def larger(inner):
    lists = [List, Sequence, Deque]
    return st.one_of(
        st.tuples(st.sampled_from(lists), inner).map(
            lambda it: (it[0][it[1][0]], st.lists(it[1][1], max_size=2))
        ),
        st.tuples(st.sampled_from([Set, FrozenSet]), st.sampled_from(HASHABLE)).map(
            lambda it: (it[0][it[1][0]], st.lists(it[1][1], max_size=2))
        ),
        inner.map(lambda it: (Tuple[it[0], ...], st.lists(it[1], max_size=2))),
        st.tuples(inner, inner).map(
            lambda it: (Tuple[it[0][0], it[1][0]], st.tuples(it[0][1], it[1][1]).map(list))
        ),
        st.tuples(
            st.sampled_from([Dict, Mapping, DefaultDict, OrderedDict]), st.sampled_from(KEYS), inner
        ).map(lambda it: keyed(*it)),
        inner.map(lambda it: (Optional[it[0]], st.none() | it[1])),
        st.tuples(inner, inner).map(
            lambda it: (Union[it[0][0], it[1][0]], it[0][1] | it[1][1])
        ),
    )  # fmt: skip


hints = st.recursive(st.sampled_from(LEAVES + CLASSES), larger, max_leaves=4)


@st.composite
def hints_with_bodies(draw):
    hint, bodies = draw(hints)
    return hint, draw(bodies | anything)


checker = jsonschema.FormatChecker(formats=())


@checker.checks("date", ValueError)
@checker.checks("date-time", ValueError)
def is_in_the_calendar(value):
    """What no pattern says."""
    if isinstance(value, str) and re.match(DATE[:-1], value):
        datetime.date.fromisoformat(value[:10])
    return True


def matches(validator, pattern, value, schema):
    """As in JSON Schema: `$` is the end, not before a last newline, too."""
    if isinstance(value, str) and not re.search(pattern.replace("$", r"\Z"), value):
        yield jsonschema.ValidationError("no match")


type_checker = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine(
    "integer",
    lambda _, value: type(value) is int,  # as in draft 4: written without a fraction
)
Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator, {"pattern": matches}, type_checker=type_checker
)


def admits(schema, body):
    return Validator(schema, format_checker=checker).is_valid(body)


def one(a):
    return a


def two(a, b=None):
    return a, b


def two_optional(a=None, b=None):
    return a, b


def hinted(function, **hints):
    """A copy of a function, with these hints."""
    copy = types.FunctionType(function.__code__, globals(), "f", function.__defaults__)
    copy.__annotations__ = hints
    return copy


def carries(result, body):
    """Whether a result in JSON has the numbers of a body; what is absent there has a default."""
    if isinstance(body, dict):
        names = [name for name in body if name in result]  # a decimal's may be spelled otherwise
        return len(result) >= len(body) and all(carries(result[n], body[n]) for n in names)
    if isinstance(body, list) and len(body) == len(result):  # not of a set
        return all(map(carries, result, body))
    return not isinstance(body, (int, float)) or isinstance(result, str) or result == body


def run(planned, body):
    try:
        return True, planned.call(body)
    except InvalidRequest:
        return False, None


encode = StandardCodec().encode

bounded = settings(
    max_examples=300,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@bounded
@given(hints_with_bodies())
def test_the_schema_is_what_is_checked_and_values_come_back(drawn):
    hint, body = drawn
    planned = plan(hinted(one, a=hint), "fields")
    body = {"a": body}
    accepted, value = run(planned, body)
    assert accepted == admits(planned.schema, body), planned.schema
    if accepted:
        result = json.loads(encode(value))
        assert carries(result, body["a"])
        again, came_back = run(planned, {"a": result})
        assert again
        assert (type(came_back), came_back) == (type(value), value)


@bounded
@given(
    hints_with_bodies(),
    hints_with_bodies(),
    st.sampled_from([one, two, two_optional]),
    st.data(),
)
def test_so_it_is_for_each_way_to_bind(first, second, function, data):
    planned = plan(hinted(function, a=first[0], b=second[0]))
    fields = st.fixed_dictionaries(
        {}, optional={"a": st.just(first[1]), "b": st.just(second[1]), "c": st.none()}
    )
    body = data.draw(fields | st.just(first[1]) | anything)
    assert run(planned, body)[0] == admits(planned.schema, body), planned.schema

"""All writers carry the same results, refuse the same, and stop at the bound: both cores, each codec."""

import array
import collections
import dataclasses
import datetime as dt
import decimal
import ipaddress
import json
import sys
import tracemalloc
import types
import typing
import warnings

import attrs
import msgpack
import msgspec
import numpy as np
import pandas as pd
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproc_worker import EncodeError
from pyproc_worker._codec import messagepack as _msgpack
from pyproc_worker._codec.choose import choose_codec
from pyproc_worker._codec.results import MessagePackBuilder, encode
from test_codecs import CONVERSIONS, REFUSALS, values
from wire import MESSAGEPACK, RESPONSE, request, request2

try:
    from pyproc_worker import _core
except ImportError:
    _core = None

JSON_WRITERS = {name: choose_codec(name).encode for name in ("msgspec", "json")}
if _core is not None:
    JSON_WRITERS["native"] = _core.dumps


def messagepack(made):
    return lambda value, maximum=sys.maxsize: encode(made.plain, MessagePackBuilder, value, maximum)


MESSAGEPACK_WRITERS = {
    "messagepack-msgspec": messagepack(_msgpack._msgspec()),
    "messagepack-msgpack": messagepack(_msgpack._msgpack()),
}
WRITERS = {**JSON_WRITERS, **MESSAGEPACK_WRITERS}
json_writers = pytest.mark.parametrize("write", JSON_WRITERS.values(), ids=JSON_WRITERS)
all_writers = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)


def read(written):
    try:
        return json.loads(written)
    except ValueError:
        return msgpack.unpackb(written, strict_map_key=False)


def refusal(write, value, *maximum):
    with pytest.raises(EncodeError) as caught:
        write(value, *maximum)
    return str(caught.value)


@attrs.define
class Attrs:
    first: int
    second: object = None
    unset: int = attrs.field(init=False)


@attrs.define
class Whole:
    first: int
    second: object = None


class Struct(msgspec.Struct, tag="s", rename="camel", omit_defaults=True):
    first_name: str
    items: list = []
    count: int = 0
    maybe: object = msgspec.UNSET


class Row(msgspec.Struct, array_like=True, tag=True):
    first: int
    second: int = 0


class Model(pydantic.BaseModel):
    number: int = pydantic.Field(alias="theNumber")
    when: dt.date

    @pydantic.computed_field
    def double(self) -> int:
        return 2 * self.number


class Outer(pydantic.BaseModel):
    inner: typing.Any
    url: typing.Optional[pydantic.HttpUrl] = None
    database: typing.Optional[pydantic.PostgresDsn] = None


class Twice(collections.UserDict):
    def items(self):
        return [("a", 1), ("a", 2)]

    def __len__(self):
        return 2


@dataclasses.dataclass
class Half:
    a: int
    b: int = dataclasses.field(init=False)


class Slotted:
    __slots__ = ("a", "b")


Slotted = dataclasses.make_dataclass("Slotted", ["a", "b"], bases=(Slotted,), init=False)


@dataclasses.dataclass
class Failing:
    a: int

    @property
    def a(self):
        raise ValueError("no a")

    @a.setter
    def a(self, value): ...


class FailingList(list):
    def __iter__(self):
        raise ValueError("no items")


class FailingDict(dict):
    def items(self):
        raise ValueError("no items")


class UpperDict(dict):
    def items(self):
        return [(key.upper(), value) for key, value in super().items()]


class FailingArray(np.ndarray):
    def tolist(self):
        raise ValueError("no items")


def moved():
    ordered = collections.OrderedDict(a=1, b=2, c=3)
    ordered.move_to_end("a")
    return ordered


DAYS_64 = np.array(["2026-01-02", "NaT"], "datetime64[D]")
NOON = "2026-01-02T12:00:00"

CARRIED = [
    (collections.deque([1, (2,)]), [1, [2]]),
    (range(3), [0, 1, 2]),
    (range(5, 0, -2), [5, 3, 1]),
    (range(10**15, 0), []),
    (collections.defaultdict(list, a=[1]), {"a": [1]}),
    (moved(), {"b": 2, "c": 3, "a": 1}),
    (UpperDict(a=1), {"A": 1}),
    (Whole(1, Whole(2)), {"first": 1, "second": {"first": 2, "second": None}}),
    (Struct("x"), {"type": "s", "firstName": "x"}),
    (Struct("x", [1], 2, dt.date(2026, 1, 2)),
     {"type": "s", "firstName": "x", "items": [1], "count": 2, "maybe": "2026-01-02"}),
    (Row(1), ["Row", 1, 0]),
    (Model(theNumber=2, when="2026-01-02"), {"theNumber": 2, "when": "2026-01-02", "double": 4}),
    ({"models": [Model(theNumber=2, when="2026-01-02")]},
     {"models": [{"theNumber": 2, "when": "2026-01-02", "double": 4}]}),
    (pd.NaT, None),
    (pd.NA, None),
    ([np.datetime64("NaT", "s"), np.timedelta64("NaT", "ns")], [None, None]),
    (pd.Series([1, 2]), [1, 2]),
    (pd.Series(["a", None], dtype="string"), ["a", None]),
    (pd.Series([1, None], dtype="Int64").array, [1, None]),
    (pd.Index(["a", "b"]), ["a", "b"]),
    (pd.date_range(NOON, periods=1, tz="UTC"), [NOON + "Z"]),
    (pd.Timestamp(NOON), NOON),
    (pd.Timestamp(NOON + ".5"), NOON + ".500000"),
    (pd.Timestamp(NOON + ".000000001", tz="UTC"), NOON + ".000000001Z"),
    (pd.Timestamp(NOON, tz="Asia/Kolkata"), NOON + "+05:30"),
    (pd.Timedelta(days=1, seconds=2.5), "P1DT2.5S"),
    (pd.Timedelta(1, "ns"), "PT0.000000001S"),
    (DAYS_64, ["2026-01-02", None]),
    (DAYS_64.astype("datetime64[ns]").reshape(1, 2), [["2026-01-02T00:00:00", None]]),
    (np.array(DAYS_64[0]), "2026-01-02"),
    (np.array([(1, "2026-01-02")], [("n", int), ("at", "datetime64[ns]")]), [[1, "2026-01-02T00:00:00"]]),
    *[(np.datetime64("2026-01-02", unit), "2026-01-02") for unit in ("D",)],
    (np.datetime64("2026", "Y"), "2026-01-01"),
    (np.datetime64("2026-02", "M"), "2026-02-01"),
    (np.datetime64("2026-01-01", "W"), "2026-01-01"),
    *[(np.datetime64(NOON, unit), NOON) for unit in ("h", "m", "s", "ms", "us", "ns")],
    *[(np.datetime64("1970-01-01T00:00:01", unit), "1970-01-01T00:00:01") for unit in ("ps", "fs", "as")],
    (np.datetime64(NOON + ".25", "ms"), NOON + ".250000"),
    (np.datetime64(NOON + ".250000001", "ns"), NOON + ".250000001"),
    (np.datetime64("1970-01-01T00:00:00.0000000000001", "as"), "1970-01-01T00:00:00.000000000000100"),
    *[(np.timedelta64(3 * 7 * 24 * 60 * 60 // seconds, unit), "P21D")
      for unit, seconds in {"W": 604800, "D": 86400, "h": 3600, "m": 60, "s": 1}.items()],
    *[(np.timedelta64(10**decimals, unit), "PT1S")
      for unit, decimals in {"ms": 3, "us": 6, "ns": 9, "ps": 12, "fs": 15, "as": 18}.items()],
    (np.timedelta64(-1500, "ms"), "-PT1.5S"),
    (np.timedelta64(4, "25s"), "PT100S"),
    (np.timedelta64(0, "ns"), "P0D"),
    (np.timedelta64(-3, "M"), "-P3M"),
    (np.timedelta64(2, "Y"), "P2Y"),
    (np.datetime64("0001-01-01"), "0001-01-01"),
    (collections.UserDict(a=(1,)), {"a": [1]}),
    (types.MappingProxyType({"b": 1, "a": 2}), {"b": 1, "a": 2}),
    (collections.ChainMap({"a": 1}, {"a": 2}), {"a": 1}),
    (collections.UserList([(1,)]), [[1]]),
    ({collections.UserString("k"): collections.UserString("v")}, {"k": "v"}),
    (array.array("d", [1, 2.5]), [1, 2.5]),
    (array.array("B", b"ab"), [97, 98]),
    ([ipaddress.ip_address("::1"), ipaddress.ip_network("10.0.0.0/8")], ["::1", "10.0.0.0/8"]),
    (Outer(inner=[1], url="http://a.b/c", database="postgres://u@h/d"),
     {"inner": [1], "url": "http://a.b/c", "database": "postgres://u@h/d"}),
    (decimal.Decimal("1E+5"), "1E+5"),
]  # fmt: skip


@all_writers
@pytest.mark.parametrize(("value", "wanted"), CARRIED, ids=lambda value: repr(value)[:50])
def test_results_are_carried_as_documented(write, value, wanted):
    found = read(write(value))
    assert found == wanted
    assert not isinstance(wanted, dict) or list(found) == list(wanted)


def half():
    return Half(1)


def strided():
    return memoryview(bytes(6))[::2]


def released():
    view = memoryview(b"x")
    view.release()
    return view


async def coroutine(): ...


def timedelta_without_unit():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's from 2.5 on
        return np.timedelta64(5)


REFUSED = [
    (lambda: [{"deep": Half(1)}], "result[0].deep: the field 'b' of Half is not set"),
    (lambda: [Slotted()], "result[0]: the field 'a' of Slotted is not set"),
    (lambda: Attrs(1), "result: the field 'unset' of Attrs is not set"),
    (lambda: {"m": Model.model_construct()}, "result.m: the field 'number' of Model is not set"),
    (lambda: {"f": Failing(1)}, "result.f: an object of type Failing cannot be written: ValueError: no a"),
    (lambda: {"l": FailingList([1])}, "result.l: an object of type FailingList cannot be written: ValueError: no items"),
    (lambda: {"d": FailingDict(a=1)}, "result.d: an object of type FailingDict cannot be written: ValueError: no items"),
    (lambda: {"a": np.ones(1).view(FailingArray)},
     "result.a: an object of type FailingArray cannot be written: ValueError: no items"),
    (lambda: {"v": released()}, "result.v: an object of type memoryview cannot be written: ValueError: operation forbidden "
     "on released memoryview object"),
    (lambda: {"frame": pd.DataFrame({"a": [1]})},
     'result.frame: a DataFrame is not JSON: return `.to_dict("records")` of it'),
    (lambda: [iter([1])], "result[0]: an object of type list_iterator is not JSON: return `list(...)` of it"),
    (lambda: [{}.values()], "result[0]: an object of type dict_values is not JSON: return `list(...)` of it"),
    (timedelta_without_unit, "result: a timedelta64 without a unit has no length: give it one"),
    (lambda: {"d": decimal.Decimal("-Infinity")}, "result.d: Decimal('-Infinity') is not a finite number"),
    (lambda: [np.datetime64("-0001-01-01")],
     "result[0]: the date -001-01-01 is not JSON: dates have the years 0001 to 9999"),
    (lambda: [np.datetime64("10000-01-01T00:00", "m")],
     "result[0]: the date 10000-01-01T00:00:00 is not JSON: dates have the years 0001 to 9999"),
    (lambda: [pd.Period("2026-01")], "result[0]: a Period is not JSON: return `str(...)` of it, or its `.start_time`"),
    (lambda: {"i": pd.interval_range(0, 1)}, "result.i[0]: an Interval is not JSON: return its `.left` and `.right`"),
    (lambda: np.ones(1, np.longdouble), "result[0]: a longdouble is not JSON: return `float(...)` of it"),
    (lambda: [np.complex64(1)], "result[0]: a complex is not JSON: return its `.real` and `.imag`"),
    (lambda: {"s": pydantic.SecretStr("x")},
     "result.s: a SecretStr is kept secret: to send it, return its `.get_secret_value()`"),
    (lambda: {"t": Twice()}, "result.t: an object of type Twice has a key more than once"),
    (lambda: [Outer(inner=[{"k": Model.model_construct(when=1)}])],
     "result[0]: the field 'inner[0].k.number' of Outer is not set"),
    (lambda: {"u": msgspec.UNSET}, "result.u: an object of type UnsetType is not JSON"),
    (lambda: [msgspec.Raw(b"1")], "result[0]: an object of type Raw is not JSON"),
    (lambda: {"k": {Half: 1}}, "result.k: a key of type type is not JSON"),
]  # fmt: skip


@all_writers
@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_cannot_be_written_is_an_error_with_its_path_and_what_helps(
    request, write, make, message
):
    if "messagepack" in request.node.callspec.id:
        message = message.replace("JSON", "MessagePack")
        if "a key of type" in message:
            message = "result.k (a key): an object of type type is not MessagePack"
    assert refusal(write, make()) == message


@all_writers
def test_a_coroutine_says_that_it_is_to_be_awaited(write):
    made = coroutine()
    assert refusal(write, {"c": made}).startswith(
        "result.c: a coroutine is not awaited: `await` it"
    )
    made.close()


@json_writers
def test_the_cause_of_a_refusal_is_kept(write):
    with pytest.raises(EncodeError) as caught:
        write([FailingList([1])])
    assert repr(caught.value.__cause__) == "ValueError('no items')"


@all_writers
def test_a_view_with_gaps_is_carried_without_them(write):
    assert read(write({"v": strided()})) in ({"v": "AAAA"}, {"v": bytes(3)})


@json_writers
@pytest.mark.parametrize(
    ("value", "key"),
    [
        ({1: "a", "1": "b"}, "1"),
        ({"true": 1, True: 2}, "true"),
        ({None: 1, "null": 2}, "null"),
        ({1.5: 1, "1.5": 2}, "1.5"),
        ({dt.date(2026, 1, 2): 1, "2026-01-02": 2}, "2026-01-02"),
        ({np.int64(7): 1, "7": 2}, "7"),
    ],
)
def test_two_keys_that_become_the_same_text_are_refused(write, value, key):
    assert refusal(write, [value]) == f"result[0]: two keys become {key!r}"


@all_writers
def test_two_keys_of_other_types_that_become_the_same_are_refused_in_each_form(write):
    value = {dt.date(2026, 1, 2): 1, "2026-01-02": 2}
    assert refusal(write, {"a": value}) == "result.a: two keys become '2026-01-02'"


@json_writers
def test_keys_that_are_numbers_are_spelled_as_python_does(write):
    assert list(json.loads(write({1e22: 1, 0.1: 2, np.float32(0.5): 3}))) == ["1e+22", "0.1", "0.5"]
    assert refusal(write, {float("nan"): 1}).startswith("result (a key): nan is not JSON: ")


@all_writers
@pytest.mark.parametrize(
    "make",
    [
        lambda: ["a" * 1000] * 1000,
        lambda: "a" * 10_000,
        lambda: {str(i): {"n": [i]} for i in range(2000)},
        lambda: [[1]] * 5000,
        lambda: (1.5,) * 20_000,
        lambda: [dt.date(2026, 1, 2)] * 2000,
        lambda: [{"a" * 500: 1}] * 100,
        lambda: bytes(20_000),
        lambda: [bytes(20_000)],
        lambda: range(10**15),
        lambda: array.array("b", bytes(20_000)),
        lambda: types.MappingProxyType(dict.fromkeys(range(20_000))),
        lambda: np.broadcast_to(np.int8(1), (10**6, 10**6)),
        lambda: pd.Series(np.ones(20_000)),
        lambda: {1: "a" * 10_000},
        lambda: ["\x00é" * 4000],
    ],
)
def test_a_result_that_does_not_fit_is_refused(write, make):
    assert refusal(write, make(), 8192) == "result: a frame longer than the maximum of 8192 bytes"


@all_writers
@pytest.mark.parametrize(
    "convert", [lambda i: "a" * 1000, lambda i: dt.date(2026, 1, 2), lambda i: {1: "a" * 1000}]
)
def test_a_result_that_does_not_fit_takes_no_memory_beyond_the_bound(write, convert):
    value = [convert(i) for i in range(10)] * 20_000
    write([1])  # what is loaded by the first
    tracemalloc.start()
    try:
        refusal(write, value, 100_000)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


ANY = (
    values
    | st.sampled_from(
        [value for value, _ in CONVERSIONS + CARRIED] + [value for value, _ in REFUSALS]
    )
    | st.sampled_from([make for make, _ in REFUSED]).map(lambda make: make())
)
RESULTS = st.recursive(
    ANY,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3) | st.integers(0, 3) | st.dates(), inner, max_size=3)
        | inner.map(lambda value: Whole(1, value))
        | inner.map(lambda value: collections.deque([value]))
    ),
    max_leaves=6,
)


def outcome(write, value, *maximum):
    try:
        return "carried", repr(json.loads(write(value, *maximum)))
    except EncodeError as error:
        return "refused", str(error)


@given(RESULTS)
def test_all_writers_of_json_give_the_same_document_or_the_same_error(value):
    outcomes = {outcome(write, value) for write in JSON_WRITERS.values()}
    assert len(outcomes) == 1, outcomes


@given(RESULTS)
def test_both_writers_of_messagepack_give_the_same_value_or_the_same_error(value):
    found = set()
    for write in MESSAGEPACK_WRITERS.values():
        try:
            found.add(repr(msgpack.unpackb(write(value), strict_map_key=False, use_list=False)))
        except EncodeError as error:
            found.add(str(error))
    assert len(found) == 1, found


@given(RESULTS, st.integers(1, 60))
def test_what_is_written_within_a_bound_is_what_is_written_without(value, maximum):
    for write in JSON_WRITERS.values():
        bounded, whole = outcome(write, value, maximum), outcome(write, value)
        assert bounded == whole or "longer than the maximum" in bounded[1]
        if whole[0] == "carried" and len(write(value)) <= maximum:
            assert bounded == whole


# Through a worker

FAULTS = """
    import dataclasses, pandas
    from datetime import date

    @dataclasses.dataclass
    class Half:
        a: int
        b: int = dataclasses.field(init=False)

    @expose
    def half(req): return [{"deep": Half(1)}]

    @expose
    def view(req): return {"v": memoryview(bytes(6))[::2]}

    @expose
    def nat(req): return {"when": pandas.NaT}

    @expose
    def dup(req): return {1: "a", "1": "b"}

    @expose
    def many(req): return ["a" * 1000] * 1_000_000
"""


def test_faults_of_results_are_encode_errors_of_their_calls(start):
    client = start(FAULTS).introduced()
    kind = "pyproc-error-type"
    for name, message in {
        "half": "result[0].deep: the field 'b' of Half is not set",
        "dup": "result: two keys become '1'",
        "many": "result: a frame longer than the maximum of 10485760 bytes",
    }.items():
        answer = client.call(name, id=2)
        assert (answer["error"], answer["headers"][kind]) == (message, "pyproc_worker.EncodeError")
    assert client.call("view", id=3)["body"] == {"v": "AAAA"}
    assert client.call("nat", id=4)["body"] == {"when": None}


@pytest.mark.parametrize("version", [2], indirect=True)
def test_a_messagepack_result_that_does_not_fit_is_refused(start):
    client = start(FAULTS).connect()
    client.send(request2(1, client.table["many"], b"\xc0", MESSAGEPACK))
    assert (
        client.receive2()["message"] == "result: a frame longer than the maximum of 10485760 bytes"
    )


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS bounds memory on Linux only")
@pytest.mark.parametrize("version", [2], indirect=True)
@pytest.mark.parametrize("codec", ["json", "messagepack"])
def test_a_failed_allocation_is_a_memory_error_of_its_call(start, codec):
    client = start(
        """
        import resource

        text = "a" * 50_000_000

        @expose
        def limit(req):
            with open("/proc/self/statm") as statm:
                used = int(statm.read().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + 30_000_000, -1))

        @expose
        def large(req):
            return [text, text]
        """,
        PYPROC_MAX_FRAME_SIZE="1000000000",
    ).connect()
    assert client.call("limit", id=1)["ok"]
    payload, code = (b"null", 0) if codec == "json" else (b"\xc0", MESSAGEPACK)
    client.send(request2(2, client.table["large"], payload, code))
    assert client.receive2()["type"] == "MemoryError"
    assert client.call("echo", 1, id=3)["body"] == 1


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS bounds memory on Linux only")
@pytest.mark.parametrize("version", [2], indirect=True)
def test_an_answer_that_finds_no_memory_behind_one_that_waits_leaves_all_the_same(start, core):
    if core == "python":
        pytest.skip("its lack of memory there is Python's own")
    client = start(
        """
        import resource

        text = "a" * 40_000_000

        @expose
        def limit(req):
            with open("/proc/self/statm") as statm:
                used = int(statm.read().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + 100_000_000, -1))

        @expose
        async def large(size):
            return text[:size]
        """,
        PYPROC_MAX_FRAME_SIZE="1000000000",
    ).connect()
    assert client.call("large", 1)["body"] == "a"
    assert client.call("limit")["ok"]
    client.send(request(2, "large", 40_000_000), request(3, "large", 39_999_999))
    answers = client.receive_all(2)  # the first waits while the second is made
    assert [len(answers[id]["body"]) for id in (2, 3)] == [40_000_000, 39_999_999]
    assert client.call("echo", 1, id=4)["body"] == 1


@pytest.mark.parametrize("version", [2], indirect=True)
@pytest.mark.parametrize("codec", ["json", "messagepack"])
def test_the_order_of_keys_is_kept_in_both_directions(start, codec):
    client = start(
        """
        @expose
        def turned(req):
            return {"seen": list(req), **{key: req[key] for key in reversed(list(req))}}
        """
    ).connect()
    names = ["zeta", "alpha", "10", "9", "mid", "beta"]
    body = {name: index for index, name in enumerate(names)}
    write = json.dumps(body).encode() if codec == "json" else msgpack.packb(body)
    client.send(request2(1, client.table["turned"], write, 0 if codec == "json" else MESSAGEPACK))
    answer = client.receive2()
    assert answer["kind"] == RESPONSE
    found = read(answer["payload"])
    assert found["seen"] == names
    assert list(found) == ["seen", *reversed(names)]

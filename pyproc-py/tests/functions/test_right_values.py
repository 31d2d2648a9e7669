"""What a function gets is what its author wrote: in workers of both cores."""

import dataclasses
import subprocess
import sys
import textwrap
import warnings

import pytest
from conftest import run
from pyproc_worker import InvalidRequest, expose

SCRIPT = """
import dataclasses, enum, functools
from typing import Dict, Generic, List, Literal, NewType, Optional, TypeVar, Union

T = TypeVar("T")
UserId = NewType("UserId", int)

class Color(enum.Enum):
    RED = "red"

@dataclasses.dataclass
class Point:
    x: int

@dataclasses.dataclass
class Page(Generic[T]):
    items: List[T]

@dataclasses.dataclass
class Base:
    point: Point

@dataclasses.dataclass
class Derived(Base):
    extra: "NoSuchName" = None

@dataclasses.dataclass
class Scaled:
    a: int
    by: dataclasses.InitVar[int] = 1
    def __post_init__(self, by):
        self.a *= by

@expose
def length(texts: List[str]) -> int:
    return len(texts)

@expose
def knn(vectors: List[List[float]], k: int = 5):
    return {"n": len(vectors), "k": k}

@expose
def describe(data: dict, verbose=False):
    return {"keys": len(data), "verbose": verbose}

@expose
def optional(p: Optional[Point] = None):
    return repr(p)

@expose
def many(ps: List[Point]):
    return repr(ps)

@expose
def table(t: Dict[str, int]):
    return repr(t)

@expose
def union(x: Union[float, int]):
    return repr(x)

@expose
def new_type(user: UserId, limit: int = 3):
    return repr((user, limit))

@expose
def generic(page: Page[Point]):
    return repr(page)

@expose
def derived(d: Derived):
    return repr(d)

@expose
def init_var(s: Scaled):
    return repr(s)

@expose
def literal(c: Literal[Color.RED]):
    return repr(c)

def with_db(f):
    @functools.wraps(f)
    def wrapper(req):
        return f(req, "db")
    return wrapper

@expose
@with_db
def stored(req, db):
    return [req, db]

@expose
async def concurrent(texts: List[str], point: Point = Point(0)):
    return [len(texts), repr(point)]
"""

ANSWERS = [
    ("length", {"texts": ["a", "b", "c"]}, 3),
    ("length", ["a", "b", "c"], 3),
    ("knn", {"vectors": [[1.0], [2.0], [3.0]], "k": 3}, {"n": 3, "k": 3}),
    ("describe", {"data": {"a": 1}, "verbose": True}, {"keys": 1, "verbose": True}),
    ("describe", {"a": 1}, {"keys": 1, "verbose": False}),
    ("optional", {"x": 1}, "Point(x=1)"),
    ("optional", None, "None"),
    ("many", [{"x": 1}], "[Point(x=1)]"),
    ("union", 9007199254740993, "9007199254740993"),
    ("new_type", {"user": 5, "limit": 1}, "(5, 1)"),
    ("generic", {"items": [{"x": 1}]}, "Page(items=[Point(x=1)])"),
    ("derived", {"point": {"x": 1}}, "Derived(point=Point(x=1), extra=None)"),
    ("init_var", {"a": 1, "by": 2}, "Scaled(a=2)"),
    ("literal", "red", "<Color.RED: 'red'>"),
    ("stored", {"a": 1}, [{"a": 1}, "db"]),
    ("concurrent", {"texts": ["a"], "point": {"x": 1}}, [1, "Point(x=1)"]),
]

REFUSALS = [
    ("length", "hello", "field 'texts' must be an array, not a string"),
    ("optional", {"x": "no"}, "field 'x' must be an integer, not a string"),
    ("many", {"a": 1}, "missing field 'ps'"),
    ("many", [{"x": 1}, {"x": None}], "field 'ps[1].x' must be an integer, not null"),
    ("table", {"a": "b"}, "field 'a' must be an integer, not a string"),
    ("literal", "blue", "field 'c' must be one of 'red'"),
    ("concurrent", {"texts": "a"}, "field 'texts' must be an array, not a string"),
]


def test_the_small_inputs_that_failed_once(start):
    worker = start(SCRIPT)
    worker.wait_for_log("'derived': the hint 'NoSuchName' of Derived.extra cannot be evaluated")
    client = worker.introduced()
    for number, (name, body, wanted) in enumerate(ANSWERS, 2):
        answer = client.call(name, body, id=number)
        assert answer.get("body") == wanted, (name, answer)
    for number, (name, body, message) in enumerate(REFUSALS, 100):
        answer = client.call(name, body, id=number)
        assert answer["error"] == message
        assert answer["headers"]["pyproc-error-type"].endswith("InvalidRequest")


# Hints of one file


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type statements")
def test_type_statements_and_their_recursion(call, functions):
    run(
        """
        type Json = dict[str, Json] | list[Json] | int | None
        type Pair[T] = tuple[T, T]

        @expose
        def f[T: int](tree: Json, pair: Pair[float], number: T):
            return tree, pair, number
        """
    )
    body = {"tree": {"a": [1, {"b": None}]}, "pair": [1, 2], "number": 3}
    assert call(body) == (body["tree"], (1.0, 2.0), 3)
    with pytest.raises(InvalidRequest, match=r"field 'tree.a\[0\]'"):
        call({**body, "tree": {"a": ["text"]}})
    assert "Json" in functions["f"].schema["$defs"]


def test_a_union_that_refers_to_itself_by_name(call):
    run(
        """
        from typing import Dict, List, Union
        Json = Union[Dict[str, "Json"], List["Json"], int, None]

        @expose
        def f(*, tree: Json):
            return tree
        """
    )
    body = {"tree": {"a": [1, {"b": None}]}}
    assert call(body) == body["tree"]
    with pytest.raises(InvalidRequest, match="field 'tree"):
        call({"tree": {"a": ["text"]}})


@pytest.mark.parametrize(
    ("hint", "reason"),
    [
        ("complex", "complex"),
        ("Callable[[int], int]", "Callable"),
        ("Set[List[int]]", "a set of what no set can hold"),
        ("Dict[Tuple[int, int], str]", "keys that no JSON object has"),
        ("Odd", "has the choice"),
        ("List[Range]", "Range"),
        ("Empty", "Empty"),
        ("Annotated[str, Gt(1)]", "must be more than 1, which no value of its type is"),
        ("Annotated[Few, Gt(1)]", "must be more than 1, which no value of its type is"),
        ("Annotated[int, Len(1)]", "must be at least 1 long, which no value of its type is"),
        ("Annotated[str, Timezone(None)]", "must be without a time zone, which no value"),
        ("Annotated[datetime, Timezone('UTC')]", "Timezone"),
    ],
)
def test_what_no_json_value_can_be_is_refused_when_exposed(functions, hint, reason):
    pytest.importorskip("annotated_types")
    with pytest.raises(TypeError, match=r"cannot expose 'f': .*" + reason):
        run(
            f"""
            import enum
            from annotated_types import Gt, Len, Timezone
            from datetime import datetime
            from typing import Annotated, Callable, Dict, List, Set, Tuple
            class Range: pass
            class Empty(enum.Enum): pass
            class Few(enum.IntEnum):
                ONE = 1
            class Odd(enum.Enum):
                ONE = object()
            @expose
            def f(a: {hint}, b=1): pass
            """
        )
    assert functions == {}


def test_a_hint_that_cannot_be_evaluated_is_a_warning_once_the_worker_starts(functions):
    @expose
    def f(point: "NoSuch", n: int):  # noqa: F821
        return point, n

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        functions["f"].complete()
        functions["f"].complete()
    (warning,) = caught
    assert "the hint 'NoSuch' of its parameter 'point' cannot be evaluated" in str(warning.message)
    assert functions["f"].call({"point": "anything", "n": 1}) == ("anything", 1)
    with pytest.raises(InvalidRequest, match="field 'n'"):
        functions["f"].call({"point": 1, "n": "1"})


def test_a_replacement_that_is_refused_leaves_the_function_that_waits_for_its_hints(functions):
    @expose
    def f(point: "NoSuch"):  # noqa: F821
        return point

    with pytest.warns(UserWarning, match="replaced"), pytest.raises(TypeError, match="complex"):
        expose(name="f")(hinted_complex)
    with pytest.warns(UserWarning, match="NoSuch"):
        assert functions["f"].call(1) == 1


def hinted_complex(z: complex): ...


def test_sets_hold_what_can_be_in_them(call):
    @dataclasses.dataclass(frozen=True)
    class Frozen:
        x: int

    @expose
    def f(a: "set[Frozen]", b: "frozenset[tuple[int, str]]" = frozenset()):
        return a, b

    assert call({"a": [{"x": 1}], "b": [[1, "a"]]}) == ({Frozen(1)}, {(1, "a")})


def test_what_an_annotation_says_besides_constraints_means_nothing(call):
    from typing import Annotated

    @expose
    def f(n: Annotated[int, {"doc": "a number"}, "a text"]):
        return n

    assert call({"n": 5}) == 5
    with pytest.raises(InvalidRequest):
        call({"n": "5"})


def test_what_a_constraint_cannot_compare_does_not_fit(functions):
    annotated_types = pytest.importorskip("annotated_types")
    from decimal import Decimal
    from typing import Annotated, Any

    def alone(n):
        return n

    def first(n, k=1):
        return n

    for function in (alone, first):
        for hint, body in ((Decimal, "NaN"), (Any, "x")):
            functions.clear()
            function.__annotations__ = {"n": Annotated[hint, annotated_types.Gt(1)]}
            expose(name="f")(function)
            with pytest.raises(InvalidRequest, match="is not valid"):
                functions["f"].call(body)


def test_keys_that_become_the_same_are_refused(call):
    @expose
    def f(table: "dict[float, int]"):
        return table

    assert call({"1": 1, "2.5": 2}) == {1.0: 1, 2.5: 2}
    with pytest.raises(InvalidRequest, match="two of its keys are the same"):
        call({"1": 1, "1.0": 2})
    for key in ("01", "1\n", "+1", "NaN"):
        with pytest.raises(InvalidRequest, match="has the key"):
            call({key: 1})


def test_without_msgspec_calls_work_and_a_hint_that_needs_it_is_refused():
    script = """
        import sys
        sys.modules["msgspec"] = None
        from typing import Any, Dict
        from pyproc_worker import expose
        from pyproc_worker._functions import registry

        @expose
        def add(a, b): return a + b
        @expose
        def given(data: Dict[str, Any], items: list, verbose=False): return [data, items]
        call = {name: exposed.call for name, exposed in registry.functions.items()}
        print(call["add"]({"a": 1, "b": 2}), call["given"]({"data": {"a": 1}, "items": [2]}))
        try:
            call["given"]({"data": 1, "items": []})
        except Exception as error:
            print(error)
        @expose
        def length(texts: "list[str]"): pass
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True
    )
    assert result.stdout == "3 [{'a': 1}, [2]]\nfield 'data' must be an object, not an integer\n"
    assert "cannot expose 'length': its hints need msgspec" in result.stderr
    assert result.stderr.endswith("pip install msgspec\n")


def test_the_native_core_loads_msgspec_only_for_hints_that_need_it(start, core):
    if core == "python":
        pytest.skip("its codec is msgspec's")
    worker = start(
        """
        @expose
        def loaded(req: dict) -> dict:
            return {"loaded": "msgspec" in sys.modules, "inspect": "inspect" in sys.modules}
        """
    )
    assert worker.introduced().call("loaded", {}, id=2)["body"] == {
        "loaded": False,
        "inspect": False,
    }

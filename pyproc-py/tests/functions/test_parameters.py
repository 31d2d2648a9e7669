import dataclasses
import functools
import threading
from typing import Any, Dict, List, Literal, Optional, Set, Tuple, TypedDict, Union

import pytest
from pyproc_worker import InvalidRequest
from pyproc_worker._functions.parameters import plan


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.0


@dataclasses.dataclass
class Tree:
    name: str
    children: List["Tree"] = dataclasses.field(default_factory=list)
    at: Optional[Point] = None


class Options(TypedDict):
    limit: int


def call(function, body=None):
    return plan(function).call(body)


def refusal(function, body):
    with pytest.raises(InvalidRequest) as caught:
        call(function, body)
    return str(caught.value)


def only(req):
    return req


def whole_functions():
    def bare(anything):
        return anything

    def optional(req=None):
        return req

    def with_default(req, verbose=False):
        return req

    def with_any(data: Any):
        return data

    def named_request(request: "Any", limit: int = 1):
        return request

    def positional_only(n, /):
        return n

    def with_rest(*args):
        return args[0]

    def nonsense(data: "no such type"):  # noqa: F722
        return data

    class Callable:
        def __call__(self, body):
            return body

    class WithHintOfItsOwn:
        body: int = 0

        def __call__(self, body):
            return body

    return [v for v in locals().values() if not isinstance(v, type)] + [
        Callable(),
        WithHintOfItsOwn(),
        functools.partial(lambda a, b: b, 1),
    ]


@pytest.mark.parametrize(
    "function", whole_functions(), ids=lambda f: getattr(f, "__name__", "object")
)
@pytest.mark.parametrize("body", [None, 1, "a", [1], {"a": 1}, {}])
def test_the_whole_body_is_the_argument(function, body):
    assert call(function, body) == body


def test_a_function_of_the_whole_body_is_called_directly():
    assert plan(only).call is only
    assert plan(print).call is print


def test_no_parameters_take_null_or_an_empty_object():
    def nothing():
        return "called"

    assert call(nothing) == call(nothing, {}) == "called"
    assert refusal(nothing, {"a": 1}).startswith("the body must be null or {}")
    assert refusal(nothing, 1).startswith("the body must be null or {}")


def search(text: str, limit: int = 10):
    return text, limit


def test_fields_fill_the_parameters():
    assert call(search, {"text": "a"}) == ("a", 10)
    assert call(search, {"limit": 5, "text": "a"}) == ("a", 5)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "missing field 'text'"),
        (None, "missing field 'text'"),
        ({"text": "a", "top": 1}, "unknown field 'top'; known are: text, limit"),
        ({"text": 1}, "field 'text' must be a string, not an integer"),
        ({"text": "a", "limit": True}, "field 'limit' must be an integer, not a boolean"),
        ({"text": "a", "limit": 1.0}, "field 'limit' must be an integer, not a number"),
        ({"text": "a", "limit": None}, "field 'limit' must be an integer, not null"),
        ([1], "field 'text' must be a string, not an array"),
    ],
)
def test_fields_that_do_not_fit_are_named(body, message):
    assert refusal(search, body) == message


def test_a_bare_value_is_taken_for_the_only_parameter_that_is_needed():
    assert call(search, "a") == ("a", 10)


def test_two_needed_parameters_are_fields_even_without_hints():
    def add(a, b):
        return a + b

    assert call(add, {"a": 1, "b": 2}) == 3
    assert refusal(add, {"a": 1}) == "missing field 'b'"
    assert refusal(add, [1, 2]) == "the body must be an object, not an array"


def test_keyword_only_parameters_are_fields():
    def keyed(*, items: list, deep=False):
        return items, deep

    assert call(keyed, {"items": [1]}) == ([1], False)
    assert refusal(keyed, {"items": 1}) == "field 'items' must be an array, not an integer"


def test_other_fields_go_to_kwargs():
    def rest(a: int, **others):
        return a, others

    assert call(rest, {"a": 1, "b": 2, "c": 3}) == (1, {"b": 2, "c": 3})
    assert refusal(rest, {"a": "x", "b": 2}) == "field 'a' must be an integer, not a string"


def test_the_hints_of_a_callable_object_are_those_of_its_call():
    class Search:
        text: int = 0

        def __call__(self, text: str, limit: int = 10):
            return text, limit

    assert call(Search(), {"text": "a"}) == ("a", 10)
    assert refusal(Search(), {"text": 1}) == "field 'text' must be a string, not an integer"


def test_a_dataclass_is_built_from_the_body():
    def norm(point: Point):
        return point

    assert call(norm, {"x": 1}) == Point(1.0, 0.0)
    assert refusal(norm, {"y": 1}) == "missing field 'x'"
    assert refusal(norm, {"x": 1, "z": 1}) == "unknown field 'z'; known are: x, y"
    assert refusal(norm, 7) == "the body must be an object, not an integer"


def test_dataclasses_within_are_built_too():
    def count(tree: Tree, depth: int = 1):
        return tree

    body = {"name": "a", "children": [{"name": "b", "at": {"x": 1}}]}
    assert call(count, body) == Tree("a", [Tree("b", [], Point(1.0))])
    broken = {"name": "a", "children": [{"name": "b"}, {"name": 7}]}
    assert refusal(count, broken) == "field 'children[1].name' must be a string, not an integer"


def test_an_integer_is_a_float_but_a_huge_one_is_refused():
    def half(value: float):
        return value / 2

    assert call(half, {"value": 3}) == 1.5
    assert refusal(half, {"value": 10**400}).endswith(" is too large for a float")


@pytest.mark.parametrize(
    ("hint", "value", "wanted"),
    [
        (Optional[int], None, None),
        (Union[int, str], "a", "a"),
        (Literal["a", 1], 1, 1),
        (Tuple[int, str], [1, "a"], (1, "a")),
        (Tuple[int, ...], [1, 2], (1, 2)),
        (Set[int], [1, 1], {1}),
        (Dict[str, Point], {"p": {"x": 1}}, {"p": Point(1.0)}),
        (Options, {"limit": 1, "more": 2}, {"limit": 1, "more": 2}),
        (Any, object, object),
        (None, None, None),
    ],
    ids=str,
)
def test_hints_that_fit(hint, value, wanted):
    def function(*, a):
        return a

    function.__annotations__["a"] = hint
    assert call(function, {"a": value}) == wanted


@pytest.mark.parametrize(
    ("hint", "value", "message"),
    [
        (Optional[int], "a", "field 'a' must be an integer or null, not a string"),
        (Literal["a", 1], True, "field 'a' must be one of 'a', 1"),
        (Tuple[int, str], [1], "field 'a' must be an array of 2 items, not of 1"),
        (List[int], [1, "x"], "field 'a[1]' must be an integer, not a string"),
        (Set[Any], [[]], "field 'a' must not contain arrays or objects"),
        (Dict[str, int], {"k": "x"}, "field 'a.k' must be an integer, not a string"),
        (Options, 1, "field 'a' must be an object, not an integer"),
        (type(None), 1, "field 'a' must be null, not an integer"),
    ],
    ids=str,
)  # fmt: skip
def test_hints_that_do_not_fit(hint, value, message):
    def function(*, a):
        return a

    function.__annotations__["a"] = hint
    assert refusal(function, {"a": value}) == message


def test_a_cancel_event_is_given_and_not_set():
    def whole(req, cancel_event):
        return req, cancel_event

    def fields(a: int, b: int, *, cancel_event: threading.Event):
        return a + b, cancel_event

    for function, body, wanted in ((whole, [1], [1]), (fields, {"a": 1, "b": 2}, 3)):
        result, event = call(function, body)
        assert result == wanted
        assert isinstance(event, threading.Event)
        assert not event.is_set()


def test_a_hint_that_makes_no_sense_spoils_no_other():
    def function(*, a: "NoSuchName", b: int):  # noqa: F821
        return a, b

    assert call(function, {"a": "anything", "b": 3}) == ("anything", 3)
    assert refusal(function, {"a": 1, "b": "3"}).startswith("field 'b'")

"""Hints that are classes: which bodies build them, and what their constructors refuse."""

import dataclasses

import pytest
from pyproc_worker import InvalidRequest, expose


def test_classes_made_inside_functions_are_found_by_their_names(call):
    @dataclasses.dataclass
    class Inner:
        x: int

    @dataclasses.dataclass
    class Outer:
        inner: "Inner"

    @expose
    def f(outer: "Outer"):
        return outer

    assert call({"inner": {"x": 1}}) == Outer(Inner(1))


def test_a_dataclass_is_built_by_its_own_constructor(call):
    @dataclasses.dataclass
    class Written:
        x: int
        doubled: int = dataclasses.field(init=False)

        def __init__(self, x: str, *, more: float = 0.5):
            self.x = int(x)
            self.doubled = self.x * 2
            self.more = more

    @expose
    def f(it: Written):
        return it.x, it.doubled, it.more

    assert call({"x": "4"}) == (4, 8, 0.5)
    with pytest.raises(InvalidRequest, match="field 'x' must be a string"):
        call({"x": 4})
    with pytest.raises(InvalidRequest, match="unknown field 'doubled'"):
        call({"x": "4", "doubled": 1})


def test_what_a_dataclass_checks_itself_is_an_invalid_request(call):
    @dataclasses.dataclass
    class Range:
        low: int
        high: int

        def __post_init__(self):
            if self.low > self.high:
                raise ValueError("low exceeds high")

    @expose
    def f(ranges: "list[Range]"):
        return ranges

    with pytest.raises(InvalidRequest, match=r"field 'ranges\[1\]' is not valid: low exceeds high"):
        call([{"low": 1, "high": 2}, {"low": 2, "high": 1}])


CHECKED = """
    import dataclasses, typing

    class Checks:
        def __post_init__(self):
            raise {"v": ValueError, "t": TypeError, "a": AssertionError, "k": KeyError}[self.x](self.x)

    @dataclasses.dataclass
    class Checked(Checks):
        x: str

    class Code(str):
        def __init__(self, text):
            Checked(text)

    class Row(typing.NamedTuple):
        code: Code

    @expose
    def whole(req: Checked): ...

    @expose
    def within(items: typing.List[Checked]): ...

    @expose
    def either(it: typing.Union[Checked, int], n: int = 1): ...

    @expose
    def code(code: Code): ...

    @expose
    def row(row: Row): ...
"""


def test_what_a_constructor_checks_is_an_invalid_request_and_any_other_error_its_own(start):
    client = start(CHECKED).introduced()
    for name, make in {
        "whole": lambda x: {"x": x},
        "within": lambda x: [{"x": x}],
        "either": lambda x: {"it": {"x": x}},
        "code": lambda x: x,
        "row": lambda x: [x],
    }.items():
        for number, kind in enumerate(("ValueError", "TypeError", "AssertionError"), 2):
            answer = client.call(name, make(kind[0].lower()), id=number)
            assert answer["error"].endswith(f" is not valid: {kind[0].lower()}"), (name, answer)
            assert answer["headers"]["pyproc-error-type"] == "pyproc_worker.InvalidRequest"
            assert f"{kind}: " in answer["headers"]["pyproc-error-traceback"]  # where it was raised
        answer = client.call(name, make("k"), id=9)
        assert (answer["error"], answer["headers"]["pyproc-error-type"]) == ("'k'", "KeyError")


FLAGS = """
    import enum, typing

    class Access(enum.Flag):
        READ = 1
        WRITE = 2
        BOTH = 3

    class Marks(enum.IntFlag):
        FIRST = 1
        LAST = 8

    @expose
    def access(access: Access, table: typing.Dict[Access, int] = {}):
        assert type(access) is Access
        return {"it": access, "table": table}

    @expose
    def marks(marks: Marks):
        assert type(marks) is Marks
        return marks
"""


def test_flags_are_read_and_written_in_any_combination(start):
    client = start(FLAGS).introduced()
    for value in range(4):
        body = {"access": value, "table": {str(value): 1}}
        assert client.call("access", body, id=2)["body"] == {"it": value, "table": body["table"]}
    for value in (0, 1, 8, 9):
        assert client.call("marks", value, id=3)["body"] == value
    for name, body in [
        ("access", 4),
        ("access", -1),
        ("access", True),
        ("marks", 2),
        ("marks", 16),
    ]:
        answer = client.call(name, {name: body}, id=4)
        assert answer["headers"]["pyproc-error-type"] == "pyproc_worker.InvalidRequest", answer


def test_attrs_classes_are_built_by_their_constructor(call):
    attrs = pytest.importorskip("attrs")

    @attrs.define
    class Point:
        x: int = attrs.field()
        _hidden: float = 0.5

        @x.validator
        def positive(self, attribute, value):
            if value < 0:
                raise ValueError("x must not be negative")

    @expose
    def f(points: "list[Point]"):
        return points

    assert call([{"x": 1, "_hidden": 2}]) == [Point(1, 2.0)]
    for body in ([{"x": -1}], [{"x": "1"}], [{"x": 1, "y": 2}]):
        with pytest.raises(InvalidRequest, match=r"ps?oints\[0\]"):
            call(body)


def test_structs_of_msgspec_within_our_containers(call):
    import msgspec

    class Point(msgspec.Struct, forbid_unknown_fields=True):
        x: int

    @expose
    def f(points: "dict[str, Point]", k: int = 0):
        return points

    assert call({"points": {"a": {"x": 1}}}) == {"a": Point(1)}
    for body in ({"a": {"x": "1"}}, {"a": {"x": 1, "y": 1}}):
        with pytest.raises(InvalidRequest, match=r"field 'points\.a"):
            call({"points": body})


def test_models_of_pydantic_alone_and_within_our_containers(call, functions):
    pydantic = pytest.importorskip("pydantic")
    from typing import Annotated, Dict, List

    class Item(pydantic.BaseModel):
        name: str
        price: Annotated[float, pydantic.Field(gt=0)]

    class Order(pydantic.BaseModel):
        items: List[Item]

    @expose
    def f(order: Order):
        return order

    assert call({"items": [{"name": "a", "price": 1}]}).items == [Item(name="a", price=1.0)]
    with pytest.raises(
        InvalidRequest, match=r"field 'items\[0\].price' is not valid: Input should be greater"
    ):
        call({"items": [{"name": "a", "price": 0}]})
    assert functions["f"].schema["$defs"]["Item"]["properties"]["price"]["exclusiveMinimum"] == 0
    functions.clear()

    @expose
    def g(orders: Dict[str, Order], k: Annotated[int, pydantic.Field(ge=1)] = 1):
        return orders["a"].items, k

    assert call({"orders": {"a": {"items": []}}, "k": 2}) == ([], 2)
    with pytest.raises(InvalidRequest, match=r"field 'orders.a.items' is not valid"):
        call({"orders": {"a": {"items": 1}}})
    with pytest.raises(InvalidRequest, match=r"field 'k' is not valid"):
        call({"orders": {}, "k": "2"})

import dataclasses
import datetime
import enum
import math
from decimal import Decimal
from typing import Annotated, Any, Dict, List, Literal, Optional, Set, Tuple, TypedDict, Union

import pytest
from pyproc_worker._functions.parameters import plan
from pyproc_worker._types.adapters import HintAdapters
from pyproc_worker._types.hints import Scope
from pyproc_worker._types.patterns import AWARE, BASE64, DATE, NAIVE, TIME
from pyproc_worker._types.schema import complete, returns_schema


def schema_of(hint):
    adapters = HintAdapters()
    return complete(adapters.of(hint, Scope(globals()), "it").schema, adapters.definitions)


def parameters_schema(function):
    return plan(function).schema


@dataclasses.dataclass
class Node:
    name: str
    next: Optional["Node"] = None


class Options(TypedDict):
    limit: int


NODE = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]},
    },
    "required": ["name"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (str, {"type": "string"}),
        (bool, {"type": "boolean"}),
        (None, {"type": "null"}),
        (dict, {"type": "object"}),
        (list, {"type": "array"}),
        (List[int], {"type": "array", "items": {"type": "integer"}}),
        (Dict[str, float], {"type": "object", "additionalProperties": {"type": "number"}}),
        (Tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
        (
            Tuple[int, str],
            {
                "type": "array",
                "prefixItems": [{"type": "integer"}, {"type": "string"}],
                "minItems": 2,
                "maxItems": 2,
            },
        ),
        (Optional[int], {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (Literal["a", 1], {"enum": ["a", 1]}),
        (Node, {**NODE, "$defs": {"Node": NODE}}),
        (
            List[Node],
            {
                "type": "array",
                "items": {"$ref": "#/$defs/Node"},
                "$defs": {"Node": NODE},
            },
        ),
        (
            Options,
            {
                "type": "object",
                "properties": {"limit": {"type": "integer"}},
                "required": ["limit"],
            },
        ),
        (Any, {}),
        (datetime.date, {"type": "string", "format": "date", "pattern": DATE}),
        ("nonsense", {}),
    ],
    ids=str,
)
def test_hints_become_schemas(hint, schema):
    assert schema_of(hint) == schema


def annotated(hint, *marks):
    annotated_types = pytest.importorskip("annotated_types")
    return Annotated[(hint, *(getattr(annotated_types, name)(*given) for name, *given in marks))]


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@pytest.mark.parametrize(
    ("hint", "marks", "schema"),
    [
        (int, [("Gt", 1)], {"type": "integer", "exclusiveMinimum": 1}),
        (int, [("Ge", Decimal("1.5"))], {"type": "integer", "minimum": 1.5}),
        (float, [("Lt", math.inf)], {"type": "number", "$comment": "must be less than inf"}),
        (
            Union[int, str],
            [("Gt", 1)],
            {
                "anyOf": [{"type": "integer"}, {"type": "string"}],
                "type": "integer",
                "exclusiveMinimum": 1,
            },
        ),
        (Any, [("Gt", 1)], {"type": "number", "exclusiveMinimum": 1}),
        (Any, [("Gt", "b")], {"type": "string", "$comment": "must be more than b"}),
        (
            Any,
            [("MinLen", 1)],
            {
                "type": ["array", "object", "string"],
                "minItems": 1,
                "minLength": 1,
                "minProperties": 1,
            },
        ),
        (Level, [("Gt", 1)], {"enum": [2]}),
        (Level, [("Predicate", bool)], {"enum": [1, 2]}),
        (str, [("Predicate", str.islower)], {"type": "string", "$comment": "must be what islower admits"}),
        (Set[int], [("MinLen", 2)],
         {"type": "array", "items": {"type": "integer"}, "$comment": "must be at least 2 long"}),
        (bytes, [("MaxLen", 2)],
         {"type": "string", "contentEncoding": "base64", "pattern": BASE64, "$comment": "must be at most 2 long"}),
        (datetime.date, [("Ge", datetime.date(2026, 1, 2))],
         {"type": "string", "format": "date", "pattern": DATE, "$comment": "must be at least 2026-01-02"}),
        (datetime.time, [("Timezone", None)],
         {"allOf": [{"type": "string", "format": "time", "pattern": TIME}, {"pattern": NAIVE}]}),
        (datetime.time, [("Timezone", ...)],
         {"allOf": [{"type": "string", "format": "time", "pattern": TIME}, {"pattern": AWARE}]}),
    ],
    ids=str,
)  # fmt: skip
def test_constraints_are_stated_and_what_has_no_word_is_a_comment(hint, marks, schema):
    assert schema_of(annotated(hint, *marks)) == schema


def test_flags_become_their_sums():
    few = enum.Flag("Few", {"A": 1, "B": 4})
    many = enum.Flag("Many", {f"F{i}": 2**i for i in range(8)})
    assert schema_of(few) == {"enum": [0, 1, 4, 5]}
    comment = "must be a sum of the flags of Many"
    assert schema_of(many) == {"type": "integer", "minimum": 0, "maximum": 255, "$comment": comment}


def test_keys_are_what_spells_the_values():
    names = schema_of(Dict[Union[int, datetime.date, Level, None], int])["propertyNames"]
    assert names["anyOf"][1:] == [
        {"type": "string", "format": "date", "pattern": DATE},
        {"enum": ["1", "2"]},
        {"enum": ["null"]},
    ]


def test_a_result_has_all_fields():
    @dataclasses.dataclass
    class Half:
        a: int
        by: dataclasses.InitVar[int] = 1
        b: float = dataclasses.field(init=False)

        def __post_init__(self, by): ...

    def function(half: Half) -> Half: ...

    def of_children() -> List[Half]: ...

    whole = {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "number"}},
        "required": ["a", "b"],
        "additionalProperties": False,
    }
    names = {"Half": Half}
    assert returns_schema(function, names) == whole
    assert returns_schema(of_children, names)["$defs"] == {"Half": whole}
    assert sorted(plan(function, None, names).schema["properties"]) == ["a", "by"]


def test_a_result_has_all_fields_of_attrs_and_pydantic():
    attrs, pydantic = pytest.importorskip("attrs"), pytest.importorskip("pydantic")

    @attrs.define
    class Whole:
        _a: int
        b: int = attrs.field(init=False)

    class Model(pydantic.BaseModel):
        number: int = pydantic.Field(alias="theNumber")

        @pydantic.computed_field
        def double(self) -> int:
            return 2 * self.number

    @attrs.define
    class Empty: ...

    def whole() -> Whole: ...

    def empty() -> Empty: ...

    def model() -> Model: ...

    names = {"Whole": Whole, "Empty": Empty, "Model": Model}
    assert returns_schema(whole, names)["required"] == ["_a", "b"]
    assert returns_schema(empty, names)["properties"] == {}
    assert sorted(returns_schema(model, names)["properties"]) == ["double", "theNumber"]


def test_parameters():
    def bare(req):
        pass

    def whole(req: List[int]):
        pass

    def nothing():
        pass

    def fields(a: int, b: str = "", **rest):
        pass

    def built(node: Node):
        pass

    def cancellable(req, cancel_event):
        pass

    assert parameters_schema(bare) == parameters_schema(print) == {}
    assert parameters_schema(cancellable) == {}
    assert parameters_schema(whole) == {"type": "array", "items": {"type": "integer"}}
    assert parameters_schema(nothing) == {"type": ["object", "null"], "maxProperties": 0}
    assert parameters_schema(built) == {**NODE, "$defs": {"Node": NODE}}
    by_name = {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "string"}},
        "required": ["a"],
    }
    assert parameters_schema(fields) == {"anyOf": [by_name, {"type": "integer"}]}


def test_each_of_many_classes_that_name_each_other_is_described_once():
    classes = [type(f"C{i}", (), {}) for i in range(6)]
    for cls in classes:
        cls.__annotations__ = {f"to_{other.__name__}": other for other in classes}
        dataclasses.dataclass(cls)

    def walk(*, start: Any, goal: Any):
        pass

    walk.__annotations__.update(start=classes[0], goal=classes[1])
    schema = parameters_schema(walk)
    assert schema["properties"] == {
        "start": {"$ref": "#/$defs/C0"},
        "goal": {"$ref": "#/$defs/C1"},
    }
    assert sorted(schema["$defs"]) == sorted(cls.__name__ for cls in classes)
    assert schema["$defs"]["C3"]["properties"]["to_C5"] == {"$ref": "#/$defs/C5"}


def test_classes_of_the_same_name_are_kept_apart():
    one, two = (dataclasses.make_dataclass("Same", [(field, int)]) for field in "ab")
    schema = schema_of(Tuple[one, two, one])
    names = [item["$ref"].rpartition("/")[2] for item in schema["prefixItems"]]
    assert names[0] == names[2]
    fields = [list(schema["$defs"][name]["properties"]) for name in names]
    assert fields == [["a"], ["b"], ["a"]]


def test_hints_that_cannot_be_evaluated_accept_anything():
    def function(*, a: "NoSuch", b: int) -> "also nonsense":  # noqa: F722, F821
        pass

    schema = parameters_schema(function)
    assert schema["properties"] == {"a": {}, "b": {"type": "integer"}}
    assert returns_schema(function) == {}

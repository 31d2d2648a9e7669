import dataclasses
import datetime
from typing import Any, Dict, List, Literal, Optional, Tuple, TypedDict

import pytest
from pyproc_worker._forms import Forms
from pyproc_worker._hints import Scope
from pyproc_worker._parameters import plan
from pyproc_worker._schema import complete, returns_schema


def schema_of(hint):
    forms = Forms()
    return complete(forms.of(hint, Scope(globals()), "it").schema, forms.definitions)


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
        (datetime.date, {"type": "string", "format": "date"}),
        ("nonsense", {}),
    ],
    ids=str,
)
def test_hints_become_schemas(hint, schema):
    assert schema_of(hint) == schema


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


def test_classes_of_the_same_name_are_told_apart():
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

"""Adapters of `Annotated` hints: constraints of msgspec, annotated_types and pydantic."""

import decimal
import math
import re
from typing import Any, Callable, NamedTuple, Optional

from pyproc_worker._types import pydantic_models
from pyproc_worker._types.adapter import Adapter, Adapters, Schema, Unsupported
from pyproc_worker._types.hints import Scope
from pyproc_worker._types.patterns import AWARE, NAIVE
from pyproc_worker._types.readers import Read, custom_type, reader_when_needed
from pyproc_worker._types.unions import is_valid
from pyproc_worker._types.validation import ValidationError, invalid_value

_NUMBERS = ("integer", "number")


class Constraint(NamedTuple):
    """A condition on a value, besides its type."""

    text: str
    holds: Callable[[Any], bool]
    kinds: Optional[frozenset[str]] = None
    """The constraint fails for values of other kinds; None if that is not known."""
    keywords: dict[str, tuple[str, Any]] = {}  # noqa: RUF012
    """Keywords of JSON Schema, by kind, for values that keep their length and order."""
    of_text: Schema = {}  # noqa: RUF012
    """The schema of the text that a value is converted from."""


def constrained(adapters: Adapters, hint: Any, scope: Scope, place: str) -> Adapter:
    """The adapter of an `Annotated` hint. Annotations that are not constraints are ignored."""
    if any(map(pydantic_models.is_its, hint.__metadata__)):
        return pydantic_models.adapter_of(adapters, hint, place)
    adapter = adapters.of(hint.__origin__, scope, place)
    constraints = [c for mark in hint.__metadata__ for c in _constraints(mark, place)]
    if not constraints:
        return adapter
    read = _reader(reader_when_needed(adapter.type), constraints)
    kinds = {
        kind for kind in adapter.kinds if all(_may_hold(c, adapter, kind) for c in constraints)
    }
    if "enum" in adapter.schema:
        schema: Schema = {
            "enum": [value for value in adapter.schema["enum"] if is_valid(read, value)]
        }
    else:
        schema = _with(adapter.schema, _stated(adapter, kinds, constraints))
    if not kinds or schema == {"enum": []}:
        wanted = " and ".join(constraint.text for constraint in constraints)
        raise Unsupported(f"{place} must be {wanted}, which no value of its type is")
    return Adapter(
        custom_type("Annotated", read),
        schema,
        *kinds,
        is_hashable=adapter.is_hashable,
        is_lossy=adapter.is_lossy,
        as_written=adapter.as_written & kinds,
    )


def _reader(read_type: Read, constraints: list[Constraint]) -> Read:
    def read(value: Any) -> Any:
        found = read_type(value)
        for constraint in constraints:
            try:
                holds = constraint.holds(found)
            except Exception as error:  # for instance a text compared with a number
                raise invalid_value(error) from error
            if not holds:
                raise ValidationError(f" must be {constraint.text}, not {_short(value)}")
        return found

    return read


def _may_hold(constraint: Constraint, adapter: Adapter, kind: str) -> bool:
    return constraint.kinds is None or kind in constraint.kinds or kind not in adapter.as_written


def _stated(adapter: Adapter, kinds: set[str], constraints: list[Constraint]) -> list[Schema]:
    """Constraints as JSON Schema, whose keywords ignore values of other kinds.

    A constraint without a keyword becomes a comment.
    """
    stated: list[Schema] = []
    if kinds != adapter.kinds:
        types = sorted(kinds - {"integer"} if "number" in kinds else kinds)
        stated.append({"type": types[0] if len(types) == 1 else types})
    for constraint in constraints:
        known = [kind for kind in kinds & adapter.as_written if kind in constraint.keywords]
        keywords = dict(constraint.keywords[kind] for kind in known)
        stated += [{keyword: value} for keyword, value in keywords.items()]
        if constraint.of_text:
            stated.append(constraint.of_text)
        elif len(known) < len(kinds):
            stated.append({"$comment": f"must be {constraint.text}"})
    return stated


def _with(schema: Schema, keywords: list[Schema]) -> Schema:
    """`schema` with more keywords. Repeated keywords are combined by ``allOf``."""
    if not keywords:
        return schema
    names = [name for keyword in keywords for name in keyword]
    if "$ref" in schema or len(set(names)) < len(names) or not schema.keys().isdisjoint(names):
        return {"allOf": [schema, *keywords]}
    return {**schema, **{name: value for keyword in keywords for name, value in keyword.items()}}


_BOUNDS: dict[str, tuple[str, Callable[[Any, Any], bool], str]] = {
    "gt": ("more than", lambda value, bound: value > bound, "exclusiveMinimum"),
    "ge": ("at least", lambda value, bound: value >= bound, "minimum"),
    "lt": ("less than", lambda value, bound: value < bound, "exclusiveMaximum"),
    "le": ("at most", lambda value, bound: value <= bound, "maximum"),
    "multiple_of": ("a multiple of", lambda value, bound: value % bound == 0, "multipleOf"),
}

_LENGTHS: dict[str, tuple[str, Callable[[Any, int], bool], str]] = {
    "min_length": ("at least", lambda value, bound: len(value) >= bound, "min"),
    "max_length": ("at most", lambda value, bound: len(value) <= bound, "max"),
}

_COUNTED = {"string": "Length", "array": "Items", "object": "Properties"}


def _constraints(mark: Any, place: str) -> list[Constraint]:
    library = (type(mark).__module__ or "").partition(".")[0]
    if library == "annotated_types":
        return _of_annotated_types(mark, place)
    return _of_attributes(mark) if library == "msgspec" else []


def _of_annotated_types(mark: Any, place: str) -> list[Constraint]:
    name = type(mark).__name__
    if name in ("Interval", "Len"):  # groups of others
        return [constraint for part in mark for constraint in _constraints(part, place)]
    if name in ("Predicate", "Not"):
        function = mark.func
        wants = name == "Predicate"
        text = getattr(function, "__name__", repr(function))
        text = f"what {text} {'admits' if wants else 'refuses'}"
        return [Constraint(text, lambda value: bool(function(value)) is wants)]
    if name == "Timezone" and mark.tz in (None, ...):
        return [_zone(mark.tz is ...)]
    found = _of_attributes(mark)
    if not found and name != "DocInfo":
        raise Unsupported(f"{place} wants {mark!r}, which is not checked here")
    return found


def _of_attributes(mark: Any) -> list[Constraint]:
    found = []
    for name in _BOUNDS:
        bound = getattr(mark, name, None)
        if bound is not None:
            found.append(_bound(name, bound))
    for name, (text, holds, prefix) in _LENGTHS.items():
        bound = getattr(mark, name, None)
        if bound is not None:
            keywords = {kind: (prefix + end, bound) for kind, end in _COUNTED.items()}
            checks = _compared(holds, bound)
            found.append(Constraint(f"{text} {bound} long", checks, frozenset(keywords), keywords))
    pattern = getattr(mark, "pattern", None)
    if isinstance(pattern, str):
        found.append(_pattern(pattern))
    zone = getattr(mark, "tz", None)
    if isinstance(zone, bool):
        found.append(_zone(zone))
    return found


def _bound(name: str, bound: Any) -> Constraint:
    text, holds, keyword = _BOUNDS[name]
    kinds: Optional[frozenset[str]] = None
    keywords: dict[str, tuple[str, Any]] = {}
    if isinstance(bound, (int, float, decimal.Decimal)):
        number = bound
        if isinstance(bound, decimal.Decimal) and bound.is_finite():
            number = int(bound) if bound == bound.to_integral_value() else float(bound)
        kinds = frozenset(_NUMBERS)
        if math.isfinite(bound):  # JSON has no other numbers
            keywords = dict.fromkeys(_NUMBERS, (keyword, number))
    elif isinstance(bound, str):
        kinds = frozenset(["string"])
    return Constraint(f"{text} {bound}", _compared(holds, bound), kinds, keywords)


def _compared(holds: Callable[[Any, Any], bool], bound: Any) -> Callable[[Any], bool]:
    # Python's booleans are numbers, JSON's are not.
    return lambda value: type(value) is not bool and holds(value, bound)


def _pattern(pattern: str) -> Constraint:
    search = re.compile(pattern).search
    keywords = {"string": ("pattern", pattern)}
    text = f"a match of {pattern!r}"
    return Constraint(text, lambda value: bool(search(value)), frozenset(keywords), keywords)


def _zone(is_wanted: bool) -> Constraint:
    return Constraint(
        "with a time zone" if is_wanted else "without a time zone",
        lambda value: (value.tzinfo is not None) is is_wanted,
        frozenset(),
        of_text={"pattern": AWARE if is_wanted else NAIVE},
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."

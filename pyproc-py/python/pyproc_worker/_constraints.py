"""Forms of `Annotated` hints: constraints of msgspec, annotated_types and pydantic."""

import re
from typing import Any, Callable, NamedTuple

from pyproc_worker import _pydantic
from pyproc_worker._forms import Form, Forms, Schema, Unsupported
from pyproc_worker._hints import Scope
from pyproc_worker._misfit import Misfit, invalid
from pyproc_worker._reading import own_type, reader_when_needed


class Constraint(NamedTuple):
    """What a value must be besides being of a type."""

    text: str
    holds: Callable[[Any], bool]
    keywords: dict[str, tuple[str, Any]] = {}  # noqa: RUF012
    """Of JSON Schema, by the kind of values that they are for."""


def constrained(forms: Forms, hint: Any, scope: Scope, place: str) -> Form:
    """The form of an `Annotated` hint. What is no constraint means nothing."""
    if any(map(_pydantic.is_its, hint.__metadata__)):
        return _pydantic.form(forms, hint, place)
    form = forms.of(hint.__origin__, scope, place)
    constraints = [c for mark in hint.__metadata__ for c in _constraints(mark, place)]
    if not constraints:
        return form
    read_type = reader_when_needed(form.type)

    def read(value: Any) -> Any:
        found = read_type(value)
        for constraint in constraints:
            try:
                holds = constraint.holds(found)
            except Exception as error:  # such as of a decimal NaN, which has no order
                raise invalid(error) from error
            if not holds:
                raise Misfit(f" must be {constraint.text}, not {_short(value)}")
        return found

    keywords = [k for constraint in constraints for k in _keywords(form, constraint)]
    schema = _with(form.schema, keywords)
    kind = own_type("Annotated", read)
    return Form(kind, schema, *form.kinds, is_hashable=form.is_hashable, is_lossy=form.is_lossy)


def _with(schema: Schema, keywords: list[Schema]) -> Schema:
    """`schema` and more keywords, of which some may be there more than once."""
    if not keywords:
        return schema
    names = [name for keyword in keywords for name in keyword]
    if "$ref" in schema or len(set(names)) < len(names) or not schema.keys().isdisjoint(names):
        return {"allOf": [schema, *keywords]}
    return {**schema, **{name: value for keyword in keywords for name, value in keyword.items()}}


def _keywords(form: Form, constraint: Constraint) -> list[Schema]:
    """Those for all kinds of values that the form admits, as JSON Schema's keywords pass others."""
    kinds = form.kinds if form.type not in _NOT_AS_WRITTEN else ()
    found = dict(pair for kind, pair in constraint.keywords.items() if kind in kinds)
    return [{keyword: value} for keyword, value in found.items()]


_NOT_AS_WRITTEN = (bytes,)
"""What is longer in JSON than by itself."""

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
        return [Constraint(f"what {text} admits", lambda value: bool(function(value)) is wants)]
    found = _of_attributes(mark)
    if not found and name != "DocInfo":
        raise Unsupported(f"{place} wants {mark!r}, which is not checked here")
    return found


def _of_attributes(mark: Any) -> list[Constraint]:
    found = []
    for name, (text, holds, keyword) in _BOUNDS.items():
        bound = getattr(mark, name, None)
        if bound is not None:
            is_number = isinstance(bound, (int, float))
            keywords = dict.fromkeys(("integer", "number"), (keyword, bound)) if is_number else {}
            found.append(Constraint(f"{text} {bound}", _bounded(holds, bound), keywords))
    for name, (text, holds, prefix) in _LENGTHS.items():
        bound = getattr(mark, name, None)
        if bound is not None:
            keywords = {kind: (prefix + end, bound) for kind, end in _COUNTED.items()}
            found.append(Constraint(f"{text} {bound} long", _bounded(holds, bound), keywords))
    pattern = getattr(mark, "pattern", None)
    if isinstance(pattern, str):
        found.append(_pattern(pattern))
    zone = getattr(mark, "tz", None)
    if isinstance(zone, bool):
        text = "with a time zone" if zone else "without a time zone"
        found.append(Constraint(text, lambda value: (value.tzinfo is not None) is zone))
    return found


def _bounded(holds: Callable[[Any, Any], bool], bound: Any) -> Callable[[Any], bool]:
    return lambda value: holds(value, bound)


def _pattern(pattern: str) -> Constraint:
    search = re.compile(pattern).search
    keywords = {"string": ("pattern", pattern)}
    return Constraint(f"a match of {pattern!r}", lambda value: bool(search(value)), keywords)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."

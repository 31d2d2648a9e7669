"""JSON Schema of what functions return, and schemas that are complete."""

from __future__ import annotations

from typing import Any, Callable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyproc_worker._types.adapters import Schema


def returns_schema(function: Callable[..., Any], names: Mapping[str, Any] | None = None) -> Schema:
    """The schema of what `function` returns; `{}`, which is anything, if no hint says it."""
    from pyproc_worker._types.adapters import Forms
    from pyproc_worker._types.hints import hints_of

    hints, scope = hints_of(function, names or {})
    forms = Forms(of_results=True)
    try:
        form = forms.of(hints.get("return", Any), scope, "the result")
    except (TypeError, ImportError):  # it is no JSON value as it is
        return {}
    return complete(form.schema, forms.definitions)


def complete(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    """`schema` with the definitions that it refers to. One that is a definition stands for it."""
    left = dict(definitions)
    name = schema.get("$ref", "").rpartition("/")[2]
    if name in left:
        schema = left[name]
        if f"#/$defs/{name}'" not in repr(left):  # no other refers to it, nor does it to itself
            del left[name]
    return {**schema, "$defs": left} if left else schema

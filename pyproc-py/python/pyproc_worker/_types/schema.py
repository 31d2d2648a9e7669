"""JSON Schema of the results of functions, and of definitions."""

from __future__ import annotations

from typing import Any, Callable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyproc_worker._types.adapter import Schema


def returns_schema(function: Callable[..., Any], names: Mapping[str, Any] | None = None) -> Schema:
    """The schema of the results of `function`; `{}`, which admits anything, without a hint."""
    from pyproc_worker._types.adapters import HintAdapters
    from pyproc_worker._types.hints import hints_of

    hints, scope = hints_of(function, names or {})
    adapters = HintAdapters(of_results=True)
    try:
        adapter = adapters.of(hints.get("return", Any), scope, "the result")
    except (TypeError, ImportError):  # the result is converted before it is encoded
        return {}
    return complete(adapter.schema, adapters.definitions)


def complete(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    """`schema` with the definitions that it refers to.

    A schema that is only a reference is replaced by its definition.
    """
    left = dict(definitions)
    name = schema.get("$ref", "").rpartition("/")[2]
    if name in left:
        schema = left[name]
        if f"#/$defs/{name}'" not in repr(left):  # nothing refers to it
            del left[name]
    return {**schema, "$defs": left} if left else schema

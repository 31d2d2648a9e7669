"""Adapters of pydantic's models and types, if pydantic is loaded: it reads them in strict mode."""

from __future__ import annotations

import json
import sys
from typing import Any

from pyproc_worker._types.adapter import Adapter, Adapters, Unsupported
from pyproc_worker._types.readers import custom_type
from pyproc_worker._types.validation import ValidationError

_HOOKS = ("get_pydantic_core_schema", "pydantic_validator")


def is_its(thing: Any) -> bool:
    """Whether pydantic reads a class, or an annotation in `Annotated`."""
    if "pydantic" not in sys.modules:
        return False
    kind = thing if isinstance(thing, type) else type(thing)
    is_of_it = (kind.__module__ or "").partition(".")[0] == "pydantic"
    return is_of_it or any(hasattr(thing, f"__{name}__") for name in _HOOKS)


def adapter_of(adapters: Adapters, hint: Any, place: str) -> Adapter:
    """The adapter of a hint that pydantic knows."""
    pydantic = sys.modules["pydantic"]
    try:
        type_adapter = pydantic.TypeAdapter(hint)
        mode = "serialization" if adapters.of_results else "validation"
        schema = type_adapter.json_schema(ref_template="#/$defs/{model}", mode=mode)
    except Exception as error:  # of many types
        raise Unsupported(f"{place}: pydantic refuses its hint: {error}") from None
    adapters.definitions.update(schema.pop("$defs", {}))
    validate, refused = type_adapter.validate_json, pydantic.ValidationError

    def read(value: Any) -> Any:
        try:
            # From JSON: in strict mode, a date may be a text only there.
            return validate(json.dumps(value, default=_text), strict=True)
        except refused as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            keys = first["loc"]
        path = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
        raise ValidationError(f" is not valid: {first['msg']}", path)

    return Adapter(custom_type("pydantic", read), schema, *_kinds(adapters, schema), as_written=())


def _text(value: Any) -> Any:
    """A value that only MessagePack has, for instance bytes."""
    from pyproc_worker._codec.results import plain

    return plain(value)


def _kinds(adapters: Adapters, schema: Any) -> frozenset[str]:
    """The kinds of values that a schema admits; all if it names none."""
    if "$ref" in schema:
        return _kinds(adapters, adapters.definitions[schema["$ref"].rpartition("/")[2]])
    if "anyOf" in schema:
        return frozenset().union(*(_kinds(adapters, member) for member in schema["anyOf"]))
    types = schema.get("type", [])
    found = frozenset([types] if isinstance(types, str) else types)
    return found | {"integer"} if "number" in found else found

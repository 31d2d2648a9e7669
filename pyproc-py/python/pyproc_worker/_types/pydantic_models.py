"""Models and types of pydantic, where it is loaded. It reads them itself, strictly."""

from __future__ import annotations

import json
import sys
from typing import Any

from pyproc_worker._types.readers import own_type
from pyproc_worker._types.validation import Misfit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyproc_worker._types.adapters import Form, Forms


_HOOKS = ("get_pydantic_core_schema", "pydantic_validator")


def is_its(thing: Any) -> bool:
    """Whether a class, or what stands in an `Annotated`, is for pydantic."""
    if "pydantic" not in sys.modules:
        return False
    kind = thing if isinstance(thing, type) else type(thing)
    is_of_it = (kind.__module__ or "").partition(".")[0] == "pydantic"
    return is_of_it or any(hasattr(thing, f"__{name}__") for name in _HOOKS)


def form(forms: Forms, hint: Any, place: str) -> Form:
    """The form of a hint that pydantic knows."""
    from pyproc_worker._types.adapters import Form, Unsupported

    pydantic = sys.modules["pydantic"]
    try:
        adapter = pydantic.TypeAdapter(hint)
        mode = "serialization" if forms.of_results else "validation"
        schema = adapter.json_schema(ref_template="#/$defs/{model}", mode=mode)
    except Exception as error:  # of many kinds, for as many reasons
        raise Unsupported(f"{place}: pydantic refuses its hint: {error}") from None
    forms.definitions.update(schema.pop("$defs", {}))
    validate, refused = adapter.validate_json, pydantic.ValidationError

    def read(value: Any) -> Any:
        try:
            # As JSON, in which texts are dates, and numbers are not.
            return validate(json.dumps(value, default=_text), strict=True)
        except refused as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            keys = first["loc"]
        path = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
        raise Misfit(f" is not valid: {first['msg']}", path)

    return Form(own_type("pydantic", read), schema, *_kinds(forms, schema), as_written=())


def _text(value: Any) -> Any:
    """What only MessagePack carries."""
    from pyproc_worker._codec.results import plain

    return plain(value)


def _kinds(forms: Forms, schema: Any) -> frozenset[str]:
    """The kinds of values that a schema admits; all if it does not say."""
    if "$ref" in schema:
        return _kinds(forms, forms.definitions[schema["$ref"].rpartition("/")[2]])
    if "anyOf" in schema:
        return frozenset().union(*(_kinds(forms, member) for member in schema["anyOf"]))
    types = schema.get("type", [])
    found = frozenset([types] if isinstance(types, str) else types)
    return found | {"integer"} if "number" in found else found

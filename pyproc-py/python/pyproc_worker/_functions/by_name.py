"""Bodies whose fields fill parameters by name, and bodies that fill one parameter as a whole."""

from typing import Any, NamedTuple, Optional

from pyproc_worker._types.adapter import Adapter, Schema
from pyproc_worker._types.classes import object_schema, types_of
from pyproc_worker._types.readers import Read, fields_reader
from pyproc_worker._types.validation import ValidationError, wrong_type


class ByName(NamedTuple):
    """How bodies fill the parameters of a function."""

    adapters: dict[str, Adapter]
    required: list[str]
    others: Optional[Adapter]
    """The adapter of ``**kwargs``."""
    alone: Optional[str]
    """The parameter that a body fills if it is not an object."""
    may_be_whole: bool
    """An object also fills `alone` if none of its keys names a parameter."""

    def reader(self) -> Read:
        """Converts a body to keyword arguments."""
        others = self.others and self.others.type
        read_fields = fields_reader(types_of(self.adapters), frozenset(self.required), others)
        alone, may_be_whole, names = self.alone, self.may_be_whole, self.adapters.keys()
        read_alone = None if alone is None else self.adapters[alone].reader()
        null_is_a_value = alone is not None and "null" in self.adapters[alone].kinds

        def read(body: Any) -> Any:
            is_object = type(body) is dict
            if is_object and not (may_be_whole and names.isdisjoint(body)):
                return read_named(body)
            if body is None and not null_is_a_value:
                return read_named({})
            if read_alone is None:
                raise wrong_type("an object", body)
            try:
                return {alone: read_alone(body)}
            except ValidationError as failure:
                here = failure if is_object else failure.below(f".{alone}")
                raise here from failure.__cause__

        def read_named(body: Any) -> Any:
            try:
                return read_fields(body)
            except ValidationError as failure:
                if may_be_whole and failure.before and failure.path.count(".") == 1:
                    failure.after += f'; with @expose(body="whole"), {alone!r} is the body'
                raise

        return read

    def schema(self) -> Schema:
        """The schema of the bodies."""
        by_name = object_schema(self.adapters, self.required, self.others)
        named = {"anyOf": [{"required": [name]} for name in self.adapters]}
        admitted = [by_name]
        null_is_a_value = False
        if self.alone is not None:
            adapter = self.adapters[self.alone]
            null_is_a_value = "null" in adapter.kinds
            if adapter.kinds != {"object"}:
                no_object = {"not": {"type": "object"}} if adapter.admits_objects else {}
                admitted.append(_both(adapter.schema, no_object))
            if self.may_be_whole:
                admitted.append(_both(adapter.schema, {"type": "object", "not": named}))
                if not self.required:
                    by_name.update(named)
        if not self.required and not null_is_a_value:
            admitted.append({"type": "null"})
        return admitted[0] if len(admitted) == 1 else {"anyOf": admitted}


def _both(one: Schema, other: Schema) -> Schema:
    return {"allOf": [one, other]} if one and other else one or other

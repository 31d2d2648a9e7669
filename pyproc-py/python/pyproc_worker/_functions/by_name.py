"""Bodies whose fields fill parameters by name, and those that are taken for one parameter."""

from typing import Any, NamedTuple, Optional

from pyproc_worker._types.adapters import Form, Schema
from pyproc_worker._types.classes import object_schema, types_of
from pyproc_worker._types.readers import Read, fields_reader
from pyproc_worker._types.validation import Misfit, mismatch


class ByName(NamedTuple):
    """What fills the parameters of a function."""

    forms: dict[str, Form]
    required: list[str]
    others: Optional[Form]
    """What ``**kwargs`` takes."""
    alone: Optional[str]
    """The parameter that a body is for which is no object."""
    may_be_whole: bool
    """So is an object none of whose keys names a parameter."""

    def reader(self) -> Read:
        """Makes the keyword arguments of a body."""
        others = self.others and self.others.type
        read_fields = fields_reader(types_of(self.forms), frozenset(self.required), others)
        alone, may_be_whole, names = self.alone, self.may_be_whole, self.forms.keys()
        read_alone = None if alone is None else self.forms[alone].reader()
        null_is_a_value = alone is not None and "null" in self.forms[alone].kinds

        def read(body: Any) -> Any:
            is_object = type(body) is dict
            if is_object and not (may_be_whole and names.isdisjoint(body)):
                return read_named(body)
            if body is None and not null_is_a_value:
                return read_named({})
            if read_alone is None:
                raise mismatch("an object", body)
            try:
                return {alone: read_alone(body)}
            except Misfit as misfit:
                here = misfit if is_object else misfit.below(f".{alone}")
                raise here from misfit.__cause__

        def read_named(body: Any) -> Any:
            try:
                return read_fields(body)
            except Misfit as misfit:
                if may_be_whole and misfit.before and misfit.path.count(".") == 1:
                    misfit.after += f'; with @expose(body="whole"), {alone!r} is the body'
                raise

        return read

    def schema(self) -> Schema:
        """Of the bodies that are read."""
        by_name = object_schema(self.forms, self.required, self.others)
        named = {"anyOf": [{"required": [name]} for name in self.forms]}
        admitted = [by_name]
        null_is_a_value = False
        if self.alone is not None:
            form = self.forms[self.alone]
            null_is_a_value = "null" in form.kinds
            if form.kinds != {"object"}:
                no_object = {"not": {"type": "object"}} if form.admits_objects else {}
                admitted.append(_both(form.schema, no_object))
            if self.may_be_whole:
                admitted.append(_both(form.schema, {"type": "object", "not": named}))
                if not self.required:
                    by_name.update(named)
        if not self.required and not null_is_a_value:
            admitted.append({"type": "null"})
        return admitted[0] if len(admitted) == 1 else {"anyOf": admitted}


def _both(one: Schema, other: Schema) -> Schema:
    return {"allOf": [one, other]} if one and other else one or other

"""Forms of unions, literals and enums."""

import functools
import json
import operator
import typing
from typing import Any, Union

from pyproc_worker._codec.results import plain
from pyproc_worker._errors import EncodeError
from pyproc_worker._types.adapters import Form, Forms, Schema, Unsupported
from pyproc_worker._types.hints import Scope
from pyproc_worker._types.readers import Read, own_type
from pyproc_worker._types.validation import Misfit, mismatch

_KINDS = {
    bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object",
    type(None): "null",
}  # fmt: skip


def union(forms: Forms, members: tuple[Any, ...], scope: Scope, place: str) -> Form:
    """A value that fits one of the members. Which one counts if it fits several: an integer is no
    float if it can be an integer, and else the first one."""
    found = [forms.of(member, scope, place) for member in members]
    kinds = _kinds_of(found)
    schema = {"anyOf": [form.schema for form in found]}
    if any(form.schema == {} for form in found):
        schema = {}
    return Form(
        _native(found) or own_type("Union", _first_that_fits(found)),
        schema,
        *kinds,
        is_hashable=all(form.is_hashable for form in found),
        is_lossy=all(form.is_lossy for form in found),
        as_written=kinds.difference(*(form.kinds - form.as_written for form in found)),
    )


def _native(found: list[Form]) -> Any:
    """The union for msgspec, if no value can be meant for two of the members."""
    others = [form for form in found if form.type is not type(None)]
    if any(form.type is Any for form in found):
        return Any if not any(form.is_own for form in found) else None
    if len(others) > 1 and any(form.is_own or _is_struct(form.type) for form in others):
        return None
    if len({form.type for form in others} & {int, float}) == 2:  # msgspec takes each for itself
        others = [form for form in others if form.type is not int]
    if sum(len(form.kinds) for form in others) != len(_kinds_of(others)):
        return None
    return Union[tuple(form.type for form in found)]


def _kinds_of(found: list[Form]) -> frozenset[str]:
    return frozenset().union(*(form.kinds for form in found))


def _is_struct(kind: Any) -> bool:
    return hasattr(typing.get_origin(kind) or kind, "__struct_fields__")


def _first_that_fits(found: list[Form]) -> Read:
    by_loss = sorted(found, key=lambda form: form.is_lossy)
    readers: list[Any] = []

    def read(value: Any) -> Any:
        if not readers:  # not before: the types may be in the making
            readers.extend((form, form.reader()) for form in by_loss)
        misfits = []
        kind = _KINDS.get(type(value))
        for form, read_one in readers:
            if kind is None or kind in form.kinds:
                try:
                    return read_one(value)
                except Misfit as misfit:
                    misfits.append(misfit)
        if not misfits:
            misfits = [_refusal(read_one, value) for _, read_one in readers]
        raise _joined(misfits)

    return read


def _refusal(read: Read, value: Any) -> Misfit:
    try:
        read(value)
    except Misfit as misfit:
        return misfit
    raise AssertionError("a form admits what is of none of its kinds")


def fits(read: Read, value: Any) -> bool:
    """Whether `read` takes a value."""
    try:
        read(value)
    except Misfit:
        return False
    return True


def _joined(misfits: list[Misfit]) -> Misfit:
    """The one that was found deepest within the value, or all of them."""
    deepest = max(misfits, key=lambda misfit: (not misfit.before, len(misfit.path)))
    if deepest.path or not all(misfit.wanted for misfit in misfits):
        return deepest
    wanted = " or ".join(dict.fromkeys(misfit.wanted for misfit in misfits))
    found = deepest.after.rpartition(", not ")[2]
    return Misfit(f" must be {wanted}, not {found}", wanted=wanted)


# Choices


def choice(members: typing.Iterable[Any], place: str) -> Form:
    """One of some values: of a Literal, or an Enum."""
    table: dict[Any, Any] = {}
    values = []
    for member in members:
        try:
            value = plain(member)
        except EncodeError as error:
            raise Unsupported(f"{place} has the choice {member!r}: {error}") from None
        if table.setdefault(_identity(value), member) is not member:
            raise Unsupported(f"{place} has two choices that are the same in JSON: {value!r}")
        values.append(value)
    choices = ", ".join(map(repr, values))

    def read(value: Any) -> Any:
        try:
            return table[_identity(value)]
        except (KeyError, TypeError):
            raise Misfit(f" must be one of {choices}") from None

    kinds = {_KINDS[type(value)] for value in values}
    if kinds & {"integer", "number"}:
        kinds |= {"integer", "number"}  # 1.0 is 1
    return Form(own_type("Choice", read), {"enum": values}, *kinds, as_written=())


def flags(cls: Any) -> Form:
    """Any members of a `Flag` together, as the integer that they are as a result."""
    mask = functools.reduce(operator.or_, (member.value for member in cls.__members__.values()), 0)

    def read(value: Any) -> Any:
        if type(value) is not int:
            raise mismatch("an integer", value)
        try:
            if not value & ~mask:  # an IntFlag would take other bits, too
                return cls(value)
        except ValueError:  # a bit of a member that has several
            pass
        raise Misfit(f" must be a sum of the flags of {cls.__name__}, not {value}")

    return Form(own_type(cls.__name__, read), _sums(cls, mask, read), "integer", as_written=())


def _sums(cls: Any, mask: int, read: Read) -> Schema:
    if mask <= _LONGEST_LIST:
        return {"enum": [value for value in range(mask + 1) if fits(read, value)]}
    comment = f"must be a sum of the flags of {cls.__name__}"
    return {"type": "integer", "minimum": 0, "maximum": mask, "$comment": comment}


_LONGEST_LIST = 63  # the sums of six flags


def _identity(value: Any) -> Any:
    """Equal for values that are the same in JSON: 1 and 1.0 are, 1 and true are not."""
    if type(value) is bool:
        return (value,)
    return json.dumps(value, sort_keys=True).encode() if isinstance(value, (list, dict)) else value

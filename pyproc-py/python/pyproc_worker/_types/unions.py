"""Adapters of unions, literals and enums."""

import functools
import json
import operator
import typing
from typing import Any, Union

from pyproc_worker._codec.results import plain
from pyproc_worker._errors import EncodeError
from pyproc_worker._types.adapter import Adapter, Adapters, Schema, Unsupported
from pyproc_worker._types.hints import Scope
from pyproc_worker._types.readers import Read, custom_type
from pyproc_worker._types.validation import ValidationError, wrong_type

_KINDS = {
    bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object",
    type(None): "null",
}  # fmt: skip


def union(adapters: Adapters, members: tuple[Any, ...], scope: Scope, place: str) -> Adapter:
    """A value of one of the member types. Of several that admit it the first one counts, but an
    integer stays an integer if one member is `int`."""
    found = [adapters.of(member, scope, place) for member in members]
    kinds = _kinds_of(found)
    schema = {"anyOf": [adapter.schema for adapter in found]}
    if any(adapter.schema == {} for adapter in found):
        schema = {}
    return Adapter(
        _native(found) or custom_type("Union", _first_that_fits(found)),
        schema,
        *kinds,
        is_hashable=all(adapter.is_hashable for adapter in found),
        is_lossy=all(adapter.is_lossy for adapter in found),
        as_written=kinds.difference(*(adapter.kinds - adapter.as_written for adapter in found)),
    )


def _native(found: list[Adapter]) -> Any:
    """The union as a type for msgspec, if no value fits two of the members."""
    others = [adapter for adapter in found if adapter.type is not type(None)]
    if any(adapter.type is Any for adapter in found):
        return Any if not any(adapter.is_custom for adapter in found) else None
    if len(others) > 1 and any(adapter.is_custom or _is_struct(adapter.type) for adapter in others):
        return None
    if len({adapter.type for adapter in others} & {int, float}) == 2:  # msgspec accepts only one
        others = [adapter for adapter in others if adapter.type is not int]
    if sum(len(adapter.kinds) for adapter in others) != len(_kinds_of(others)):
        return None
    return Union[tuple(adapter.type for adapter in found)]


def _kinds_of(found: list[Adapter]) -> frozenset[str]:
    return frozenset().union(*(adapter.kinds for adapter in found))


def _is_struct(kind: Any) -> bool:
    return hasattr(typing.get_origin(kind) or kind, "__struct_fields__")


def _first_that_fits(found: list[Adapter]) -> Read:
    by_loss = sorted(found, key=lambda adapter: adapter.is_lossy)
    readers: list[Any] = []

    def read(value: Any) -> Any:
        if not readers:  # only now, as the types may refer to themselves
            readers.extend((adapter, adapter.reader()) for adapter in by_loss)
        failures = []
        kind = _KINDS.get(type(value))
        for adapter, read_one in readers:
            if kind is None or kind in adapter.kinds:
                try:
                    return read_one(value)
                except ValidationError as failure:
                    failures.append(failure)
        if not failures:
            failures = [_refusal(read_one, value) for _, read_one in readers]
        raise _joined(failures)

    return read


def _refusal(read: Read, value: Any) -> ValidationError:
    try:
        read(value)
    except ValidationError as failure:
        return failure
    raise AssertionError("a adapter admits what is of none of its kinds")


def is_valid(read: Read, value: Any) -> bool:
    """Whether `read` accepts a value."""
    try:
        read(value)
    except ValidationError:
        return False
    return True


def _joined(failures: list[ValidationError]) -> ValidationError:
    """The failure at the deepest path, or a summary of all."""
    deepest = max(failures, key=lambda failure: (not failure.before, len(failure.path)))
    if deepest.path or not all(failure.wanted for failure in failures):
        return deepest
    wanted = " or ".join(dict.fromkeys(failure.wanted for failure in failures))
    found = deepest.after.rpartition(", not ")[2]
    return ValidationError(f" must be {wanted}, not {found}", wanted=wanted)


# Choices


def choice(members: typing.Iterable[Any], place: str) -> Adapter:
    """The adapter of a Literal or an Enum: one of several values."""
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
            raise ValidationError(f" must be one of {choices}") from None

    kinds = {_KINDS[type(value)] for value in values}
    if kinds & {"integer", "number"}:
        kinds |= {"integer", "number"}  # 1.0 is 1
    return Adapter(custom_type("Choice", read), {"enum": values}, *kinds, as_written=())


def flags(cls: Any) -> Adapter:
    """The adapter of a `Flag`: an integer, the sum of any members."""
    mask = functools.reduce(operator.or_, (member.value for member in cls.__members__.values()), 0)

    def read(value: Any) -> Any:
        if type(value) is not int:
            raise wrong_type("an integer", value)
        try:
            if not value & ~mask:  # an IntFlag would accept other bits, too
                return cls(value)
        except ValueError:  # a bit of a member that has several
            pass
        raise ValidationError(f" must be a sum of the flags of {cls.__name__}, not {value}")

    return Adapter(
        custom_type(cls.__name__, read), _sums(cls, mask, read), "integer", as_written=()
    )


def _sums(cls: Any, mask: int, read: Read) -> Schema:
    if mask <= _LONGEST_LIST:
        return {"enum": [value for value in range(mask + 1) if is_valid(read, value)]}
    comment = f"must be a sum of the flags of {cls.__name__}"
    return {"type": "integer", "minimum": 0, "maximum": mask, "$comment": comment}


_LONGEST_LIST = 63  # the sums of six flags


def _identity(value: Any) -> Any:
    """A key that is equal for values that are equal in JSON: 1 and 1.0 are, 1 and true are not."""
    if type(value) is bool:
        return (value,)
    return json.dumps(value, sort_keys=True).encode() if isinstance(value, (list, dict)) else value

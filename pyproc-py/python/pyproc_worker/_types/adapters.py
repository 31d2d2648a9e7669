"""Finds the adapter of a hint: which JSON values it admits, and what is made of these.

Simple types are in the table below; containers, classes, unions and constraints have modules of
their own. What msgspec does not do, or does in another way, is a `CustomType`.
"""

import datetime
import decimal
import os
import pathlib
import re
import sys
import types
import typing
import uuid
from typing import Any, Callable, TypeVar, Union

from pyproc_worker._types.adapter import (
    Adapter,
    Adapters,
    Schema,
    Unsupported,
    anything,
    bare,
    substituted,
)
from pyproc_worker._types.hints import Scope
from pyproc_worker._types.patterns import (
    BASE64,
    DATE,
    DATETIME,
    DECIMAL,
    DURATION,
    TIME,
    UUID,
    is_decimal,
)
from pyproc_worker._types.readers import (
    Read,
    custom_type,
    reader_when_needed,
)
from pyproc_worker._types.validation import invalid_value, wrong_type

UNIONS = (Union, types.UnionType) if sys.version_info >= (3, 10) else (Union,)


class HintAdapters(Adapters):
    """Finds the adapter of any hint."""

    def __init__(self, of_results: bool = False) -> None:
        super().__init__(of_results)
        self.unresolved: list[str] = []
        """The hints that could not be evaluated, and where they stand."""

    def of(self, hint: Any, scope: Scope, place: str) -> Adapter:
        if isinstance(hint, (str, typing.ForwardRef)):
            return self._of_text(hint, scope, place)
        hint = bare(hint)
        if hint is None:
            hint = type(None)
        if hasattr(hint, "__metadata__"):
            # Only here, as few hints need it.
            from pyproc_worker._types.constraints import constrained

            return constrained(self, hint, scope, place)
        try:
            leaf = _LEAVES.get(hint)
        except TypeError:  # not hashable, so not a hint
            raise Unsupported(f"{place} has the hint {hint!r}, which is none") from None
        if leaf is not None:
            return leaf()
        if isinstance(hint, TypeVar):
            return self.of(_bound(hint), scope, place)
        if hasattr(hint, "__supertype__"):  # of a NewType
            return self.of(hint.__supertype__, scope, place)
        if _is_alias(hint):
            return self._of_alias(hint, scope, place)
        return self._of_constructed(hint, scope, place)

    def _of_text(self, hint: Any, scope: Scope, place: str) -> Adapter:
        text = hint if isinstance(hint, str) else hint.__forward_arg__
        try:
            value = scope.evaluate(text)
        except Exception:  # any code may stand in a hint
            self.unresolved.append(f"{text!r} of {place}")
            return anything()
        if isinstance(hint, typing.ForwardRef) and not isinstance(value, type):
            return self._of_name(text, value, scope, place)
        return self.of(value, scope, place)

    def _of_name(self, name: str, value: Any, scope: Scope, place: str) -> Adapter:
        """The adapter of a name within a hint. The name may refer to the hint itself."""

        def define(adapter: Adapter) -> Any:
            return _aliased(adapter, self.of(value, scope, place))

        key = ("name", name, repr(value))
        return self.named(key, re.sub(r"\W+", "_", name), (), define)

    def _of_alias(self, hint: Any, scope: Scope, place: str) -> Adapter:
        """The adapter of ``type Name = …``, perhaps with arguments."""
        origin = typing.get_origin(hint) or hint
        arguments = dict(zip(origin.__type_params__, typing.get_args(hint)))

        def define(adapter: Adapter) -> Any:
            value = substituted(origin.__value__, arguments)
            return _aliased(adapter, self.of(value, scope, place))

        return self.named(hint, origin.__name__, (), define)

    def _of_constructed(self, hint: Any, scope: Scope, place: str) -> Adapter:
        # Only here, as they load large modules.
        from pyproc_worker._types import classes, containers, unions

        origin, arguments = typing.get_origin(hint) or hint, typing.get_args(hint)
        if origin in UNIONS:
            return unions.union(self, arguments, scope, place)
        if origin is typing.Literal:
            return unions.choice(arguments, place)
        adapter = containers.container(self, hint, scope, place)
        if adapter is not None:
            return adapter
        adapter = classes.of_class(self, hint, scope, place)
        if adapter is None:
            raise Unsupported(
                f"no JSON value is what {place} wants ({_spelled(hint)}): make it in the function, "
                "of a dict, a list or a text"
            )
        return adapter


def _aliased(adapter: Adapter, of: Adapter) -> tuple[Schema, Read, bool]:
    adapter.kinds, adapter.is_lossy, adapter.as_written = of.kinds, of.is_lossy, of.as_written
    return of.schema, reader_when_needed(of.type), of.is_hashable


def _bound(variable: Any) -> Any:
    if variable.__constraints__:
        return Union[variable.__constraints__]
    return Any if variable.__bound__ is None else variable.__bound__


def _is_alias(hint: Any) -> bool:
    return type(typing.get_origin(hint) or hint).__name__ == "TypeAliasType"


def _spelled(hint: Any) -> str:
    return hint.__qualname__ if isinstance(hint, type) else str(hint)


# Simple types


def _text(kind: Any, **more: Any) -> Callable[[], Adapter]:
    # Of `bytes | str`, a text is a str.
    is_lossy = "contentEncoding" in more
    as_written = () if more else ("string",)
    schema = {"type": "string", **more}
    return lambda: Adapter(kind, schema, "string", is_lossy=is_lossy, as_written=as_written)


def _path(kind: Any) -> Callable[[], Adapter]:
    def read(value: Any) -> Any:
        if type(value) is not str:
            raise wrong_type("a string", value)
        return kind(value)

    return lambda: Adapter(
        custom_type(kind.__name__, read), {"type": "string"}, "string", as_written=()
    )


def _decimal() -> Adapter:
    schema = {
        "anyOf": [{"type": "string", "format": "decimal", "pattern": DECIMAL}, {"type": "number"}]
    }
    from_finite = reader_when_needed(decimal.Decimal)

    def read(value: Any) -> Any:
        if type(value) is str and not is_decimal(value):
            raise invalid_value("it is no finite decimal number")
        found = from_finite(value)
        if not found.is_finite():  # of a float in MessagePack
            raise invalid_value("it is no finite decimal number")
        return found

    numbers = ("integer", "number")
    return Adapter(custom_type("Decimal", read), schema, "string", *numbers, as_written=numbers)


_BASE64 = {"contentEncoding": "base64", "pattern": BASE64}


def _custom_bytes(kind: Any) -> Callable[[], Adapter]:
    from_text = reader_when_needed(bytes)
    return _text(custom_type(kind.__name__, lambda value: kind(from_text(value))), **_BASE64)


_LEAVES: dict[Any, Callable[[], Adapter]] = {
    Any: anything,
    object: anything,
    type(None): lambda: Adapter(type(None), {"type": "null"}, "null"),
    bool: lambda: Adapter(bool, {"type": "boolean"}, "boolean"),
    int: lambda: Adapter(int, {"type": "integer"}, "integer"),
    float: lambda: Adapter(float, {"type": "number"}, "integer", "number", is_lossy=True),
    str: _text(str),
    getattr(typing, "LiteralString", str): _text(str),
    bytes: _text(bytes, **_BASE64),
    bytearray: _custom_bytes(bytearray),
    memoryview: _custom_bytes(memoryview),
    datetime.datetime: _text(datetime.datetime, format="date-time", pattern=DATETIME),
    datetime.date: _text(datetime.date, format="date", pattern=DATE),
    datetime.time: _text(datetime.time, format="time", pattern=TIME),
    datetime.timedelta: _text(datetime.timedelta, format="duration", pattern=DURATION),
    uuid.UUID: _text(uuid.UUID, format="uuid", pattern=UUID),
    decimal.Decimal: _decimal,
    os.PathLike: _path(pathlib.Path),
    pathlib.Path: _path(pathlib.Path),
    pathlib.PurePath: _path(pathlib.PurePath),
    pathlib.PurePosixPath: _path(pathlib.PurePosixPath),
    pathlib.PosixPath: _path(pathlib.Path),
}

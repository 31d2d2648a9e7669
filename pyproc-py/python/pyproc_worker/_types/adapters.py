"""What type hints mean for JSON: which values they admit, and what is made of these.

Each hint has one `Form`: the type that msgspec converts to, and the JSON Schema of what it admits.
What msgspec does not do, or not exactly, is a type of ours. The table of leaves is here;
containers, classes, unions and constraints have modules of their own.
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
from collections.abc import Iterable
from typing import Any, Callable, Optional, TypeVar, Union

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
from pyproc_worker._types.readers import PLAIN, Own, Read, own_type, reader, reader_when_needed
from pyproc_worker._types.validation import invalid, mismatch

Schema = dict[str, Any]

UNIONS = (Union, types.UnionType) if sys.version_info >= (3, 10) else (Union,)

ALL_KINDS = frozenset({"null", "boolean", "integer", "number", "string", "array", "object"})


class Form:
    """What one hint means."""

    def __init__(
        self,
        kind: Any,
        schema: Schema,
        *kinds: str,
        is_hashable: bool = True,
        is_lossy: bool = False,
        as_written: Optional[Iterable[str]] = None,
    ) -> None:
        self.type = kind
        """For msgspec."""
        self.schema = schema
        self.kinds = frozenset(kinds) or ALL_KINDS
        """The types that JSON Schema has for what is admitted; an integer is no number here."""
        self.is_hashable = is_hashable
        self.is_lossy = is_lossy
        """It makes something else of what others take as it is, and is tried after them."""
        self.as_written = self.kinds if as_written is None else frozenset(as_written)
        """The kinds whose values keep their length and order: a date has not those of its text."""

    @property
    def needs_msgspec(self) -> bool:
        """Whether values can be read only where it is installed."""
        return self.type not in PLAIN

    @property
    def is_own(self) -> bool:
        """msgspec does not know the type."""
        return isinstance(self.type, Own)

    @property
    def admits_objects(self) -> bool:
        """Whether a JSON object may be meant."""
        return "object" in self.kinds

    def reader(self) -> Read:
        """Reads such values. Raises `ImportError` if that needs msgspec, and it is missing."""
        return reader(self.type)


class Unsupported(TypeError):
    """No JSON value can be what a hint wants."""


def anything() -> Form:
    """Admits all."""
    return Form(Any, {})


class Forms:
    """The forms of the hints of one function. The schemas of classes are among `definitions`."""

    def __init__(self, of_results: bool = False) -> None:
        self.of_results = of_results
        """They are of what the function returns: their schemas describe what is written."""
        self.definitions: dict[str, Schema] = {}
        self.unresolved: list[str] = []
        """The hints that could not be evaluated, and where they stand."""
        self._named: dict[Any, Form] = {}

    def of(self, hint: Any, scope: Scope, place: str) -> Form:
        """The form of a hint. `place` is where it stands. Raises `Unsupported`."""
        if isinstance(hint, (str, typing.ForwardRef)):
            return self._of_text(hint, scope, place)
        hint = bare(hint)
        if hint is None:
            hint = type(None)
        if hasattr(hint, "__metadata__"):
            from pyproc_worker._types.constraints import constrained

            return constrained(self, hint, scope, place)
        try:
            leaf = _LEAVES.get(hint)
        except TypeError:  # what is not hashable is no hint
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

    def named(self, key: Any, name: str, kinds: tuple[str, ...], define: "Define") -> Form:
        """The form of something with a name, which may refer to itself. `define` is called once."""
        form = self._named.get(key)
        if form is None:
            while name in self.definitions:
                name += "_"
            read: Optional[Read] = None
            kind = own_type(name, lambda value: read(value))  # type: ignore[misc]
            reference = {"$ref": f"#/$defs/{name}"}
            form = self._named[key] = Form(kind, reference, *kinds, as_written=())
            self.definitions[name] = {}  # the name is taken
            self.definitions[name], read, form.is_hashable = define(form)
        return form

    def _of_text(self, hint: Any, scope: Scope, place: str) -> Form:
        text = hint if isinstance(hint, str) else hint.__forward_arg__
        try:
            value = scope.evaluate(text)
        except Exception:  # any code may stand in a hint
            self.unresolved.append(f"{text!r} of {place}")
            return anything()
        if isinstance(hint, typing.ForwardRef) and not isinstance(value, type):
            return self._of_name(text, value, scope, place)
        return self.of(value, scope, place)

    def _of_name(self, name: str, value: Any, scope: Scope, place: str) -> Form:
        """Of a name within a hint, which may be the hint's own."""

        def define(form: Form) -> Any:
            return _aliased(form, self.of(value, scope, place))

        key = ("name", name, repr(value))
        return self.named(key, re.sub(r"\W+", "_", name), (), define)

    def _of_alias(self, hint: Any, scope: Scope, place: str) -> Form:
        """``type Name = …``, perhaps with arguments."""
        origin = typing.get_origin(hint) or hint
        arguments = dict(zip(origin.__type_params__, typing.get_args(hint)))

        def define(form: Form) -> Any:
            value = substituted(origin.__value__, arguments)
            return _aliased(form, self.of(value, scope, place))

        return self.named(hint, origin.__name__, (), define)

    def _of_constructed(self, hint: Any, scope: Scope, place: str) -> Form:
        from pyproc_worker._types import classes, containers, unions

        origin, arguments = typing.get_origin(hint) or hint, typing.get_args(hint)
        if origin in UNIONS:
            return unions.union(self, arguments, scope, place)
        if origin is typing.Literal:
            return unions.choice(arguments, place)
        form = containers.container(self, hint, scope, place)
        if form is not None:
            return form
        form = classes.of_class(self, hint, scope, place)
        if form is None:
            raise Unsupported(
                f"no JSON value is what {place} wants ({_spelled(hint)}): make it in the function, "
                "of a dict, a list or a text"
            )
        return form


Define = Callable[[Form], tuple[Schema, Read, bool]]


def _aliased(form: Form, of: Form) -> tuple[Schema, Read, bool]:
    form.kinds, form.is_lossy, form.as_written = of.kinds, of.is_lossy, of.as_written
    return of.schema, reader_when_needed(of.type), of.is_hashable


def bare(hint: Any) -> Any:
    """A hint without what says nothing of the value: `Final`, `Required`, `InitVar`."""
    while True:
        if type(hint).__name__ == "InitVar":
            hint = hint.type
        elif getattr(typing.get_origin(hint), "_name", None) in _MARKS:
            (hint,) = typing.get_args(hint)
        else:
            return hint


_MARKS = ("Final", "Required", "NotRequired", "ReadOnly")


def _bound(variable: Any) -> Any:
    if variable.__constraints__:
        return Union[variable.__constraints__]
    return Any if variable.__bound__ is None else variable.__bound__


def _is_alias(hint: Any) -> bool:
    return type(typing.get_origin(hint) or hint).__name__ == "TypeAliasType"


def substituted(hint: Any, arguments: dict[Any, Any]) -> Any:
    """A hint with what its type variables stand for."""
    if isinstance(hint, TypeVar):
        return arguments.get(hint, hint)
    if isinstance(hint, type) and typing.get_origin(hint) is None:
        return hint
    variables = getattr(hint, "__parameters__", ())
    if not any(variable in arguments for variable in variables):
        return hint
    return hint[tuple(arguments.get(variable, variable) for variable in variables)]


def _spelled(hint: Any) -> str:
    return hint.__qualname__ if isinstance(hint, type) else str(hint)


# Leaves


def _text(kind: Any, **more: Any) -> Callable[[], Form]:
    # Of `bytes | str`, a text is a str.
    is_lossy = "contentEncoding" in more
    as_written = () if more else ("string",)
    schema = {"type": "string", **more}
    return lambda: Form(kind, schema, "string", is_lossy=is_lossy, as_written=as_written)


def _path(kind: Any) -> Callable[[], Form]:
    def read(value: Any) -> Any:
        if type(value) is not str:
            raise mismatch("a string", value)
        return kind(value)

    return lambda: Form(own_type(kind.__name__, read), {"type": "string"}, "string", as_written=())


def _decimal() -> Form:
    schema = {
        "anyOf": [{"type": "string", "format": "decimal", "pattern": DECIMAL}, {"type": "number"}]
    }
    from_finite = reader_when_needed(decimal.Decimal)

    def read(value: Any) -> Any:
        if type(value) is str and not is_decimal(value):
            raise invalid("it is no finite decimal number")
        found = from_finite(value)
        if not found.is_finite():  # of a float in MessagePack
            raise invalid("it is no finite decimal number")
        return found

    numbers = ("integer", "number")
    return Form(own_type("Decimal", read), schema, "string", *numbers, as_written=numbers)


_BASE64 = {"contentEncoding": "base64", "pattern": BASE64}


def _own_bytes(kind: Any) -> Callable[[], Form]:
    from_text = reader_when_needed(bytes)
    return _text(own_type(kind.__name__, lambda value: kind(from_text(value))), **_BASE64)


_LEAVES: dict[Any, Callable[[], Form]] = {
    Any: anything,
    object: anything,
    type(None): lambda: Form(type(None), {"type": "null"}, "null"),
    bool: lambda: Form(bool, {"type": "boolean"}, "boolean"),
    int: lambda: Form(int, {"type": "integer"}, "integer"),
    float: lambda: Form(float, {"type": "number"}, "integer", "number", is_lossy=True),
    str: _text(str),
    getattr(typing, "LiteralString", str): _text(str),
    bytes: _text(bytes, **_BASE64),
    bytearray: _own_bytes(bytearray),
    memoryview: _own_bytes(memoryview),
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

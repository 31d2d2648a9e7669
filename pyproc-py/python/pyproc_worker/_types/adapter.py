"""An `Adapter` is what a type hint means: a type for msgspec, and the JSON Schema of its values."""

import typing
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, Callable, Optional, TypeVar

from pyproc_worker._types.hints import Scope
from pyproc_worker._types.readers import (
    PLAIN,
    CustomType,
    Read,
    custom_type,
    reader,
)

Schema = dict[str, Any]

ALL_KINDS = frozenset({"null", "boolean", "integer", "number", "string", "array", "object"})


class Adapter:
    """The meaning of one hint."""

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
        """The type that msgspec converts to."""
        self.schema = schema
        self.kinds = frozenset(kinds) or ALL_KINDS
        """JSON Schema's names for the types of the admitted values. "number" excludes integers."""
        self.is_hashable = is_hashable
        self.is_lossy = is_lossy
        """It converts values that other adapters keep unchanged. A union tries it after them."""
        self.as_written = self.kinds if as_written is None else frozenset(as_written)
        """The kinds whose values keep their length and order: a date has not those of its text."""

    @property
    def needs_msgspec(self) -> bool:
        """Whether values can be converted only where msgspec is installed."""
        return self.type not in PLAIN

    @property
    def is_custom(self) -> bool:
        """Whether the type is a `CustomType`, which msgspec does not know."""
        return isinstance(self.type, CustomType)

    @property
    def admits_objects(self) -> bool:
        """Whether a JSON object is admitted."""
        return "object" in self.kinds

    def reader(self) -> Read:
        """Converts values. Raises `ImportError` if that needs msgspec, and it is not installed."""
        return reader(self.type)


class Unsupported(TypeError):
    """No JSON value fits a hint."""


def anything() -> Adapter:
    """Admits all values."""
    return Adapter(Any, {})


class Adapters(ABC):
    """The adapters of the hints of one function. The schemas of classes are in `definitions`."""

    def __init__(self, of_results: bool = False) -> None:
        self.of_results = of_results
        """The hints describe the function's result: the schemas describe what is encoded."""
        self.definitions: dict[str, Schema] = {}
        self._named: dict[Any, Adapter] = {}

    @abstractmethod
    def of(self, hint: Any, scope: Scope, place: str) -> Adapter:
        """The adapter of a hint. `place` names it in errors. Raises `Unsupported`."""

    def named(self, key: Any, name: str, kinds: tuple[str, ...], define: "Define") -> Adapter:
        """The adapter of a named type, which may refer to itself. `define` is called once."""
        adapter = self._named.get(key)
        if adapter is None:
            while name in self.definitions:
                name += "_"
            read: Optional[Read] = None
            kind = custom_type(name, lambda value: read(value))  # type: ignore[misc]
            reference = {"$ref": f"#/$defs/{name}"}
            adapter = self._named[key] = Adapter(kind, reference, *kinds, as_written=())
            self.definitions[name] = {}  # the name is taken
            self.definitions[name], read, adapter.is_hashable = define(adapter)
        return adapter


Define = Callable[[Adapter], tuple[Schema, Read, bool]]
"""Returns the schema, the reader, and whether the values are hashable."""


def bare(hint: Any) -> Any:
    """A hint without qualifiers that do not change the type: `Final`, `Required`, `InitVar`."""
    while True:
        if type(hint).__name__ == "InitVar":
            hint = hint.type
        elif getattr(typing.get_origin(hint), "_name", None) in _MARKS:
            (hint,) = typing.get_args(hint)
        else:
            return hint


_MARKS = ("Final", "Required", "NotRequired", "ReadOnly")


def substituted(hint: Any, arguments: dict[Any, Any]) -> Any:
    """A hint whose type variables are replaced by their arguments."""
    if isinstance(hint, TypeVar):
        return arguments.get(hint, hint)
    if isinstance(hint, type) and typing.get_origin(hint) is None:
        return hint
    variables = getattr(hint, "__parameters__", ())
    if not any(variable in arguments for variable in variables):
        return hint
    return hint[tuple(arguments.get(variable, variable) for variable in variables)]

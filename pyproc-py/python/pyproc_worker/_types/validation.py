"""What to say of a JSON value that does not fit a hint."""

from __future__ import annotations

from pyproc_worker._errors import InvalidRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NAMES = {
    "bool": "a boolean",
    "int": "an integer",
    "float": "a number",
    "str": "a string",
    "NoneType": "null",
    "list": "an array",
    "dict": "an object",
    "bytes": "bytes",
}


class Misfit(ValueError):
    """A part of a body does not fit, for the reason `after`. `path` leads to it: ``.items[3].x``.

    A `ValueError`, as msgspec adds its own path to these.
    """

    def __init__(self, after: str, path: str = "", before: str = "", wanted: str = "") -> None:
        super().__init__(before, after, path)
        self.before = before
        self.after = after
        self.path = path
        self.wanted = wanted
        """What it must be, if its type is at fault."""

    def below(self, path: str) -> Misfit:
        """The same of a value that holds the one it was of."""
        lower = Misfit(self.after, path + self.path, self.before, self.wanted)
        lower.__cause__ = self.__cause__
        return lower

    def refusal(self) -> InvalidRequest:
        """The answer to the request. What a check of the user's own raised remains its cause."""
        field = f"field '{self.path.removeprefix('.')}'" if self.path else "the body"
        refusal = InvalidRequest(f"{self.before}{field}{self.after}")
        refusal.__cause__ = self.__cause__
        return refusal


def mismatch(wanted: str, value: Any) -> Misfit:
    """Says what a value must be, and what it is."""
    return Misfit(f" must be {wanted}, not {name_of(type(value).__name__)}", wanted=wanted)


def name_of(kind: str) -> str:
    """A kind of values, by the name of Python's type."""
    return _NAMES.get(kind, kind)


def missing(name: str) -> Misfit:
    """Says that an object has no field of this name."""
    return Misfit("", f".{name}", "missing ")


def unknown(name: str, known: Any) -> Misfit:
    """Says that an object may not have a field of this name."""
    return Misfit(f"; known are: {', '.join(known) or 'none'}", f".{name}", "unknown ")


def invalid(reason: object) -> Misfit:
    """Says that a value of the right type cannot be taken."""
    return Misfit(f" is not valid: {reason}")

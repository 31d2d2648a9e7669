"""The error for a JSON value that does not fit a hint, and its messages."""

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


class ValidationError(ValueError):
    """A part of a body does not fit its hint. `path` locates it: ``.items[3].x``.

    The message is `before`, the path, `after`. It is a `ValueError`, as msgspec passes these on
    with the path to the value.
    """

    def __init__(self, after: str, path: str = "", before: str = "", wanted: str = "") -> None:
        super().__init__(before, after, path)
        self.before = before
        self.after = after
        self.path = path
        self.wanted = wanted
        """The required type, if the value has another one."""

    def below(self, path: str) -> ValidationError:
        """The same failure, seen from the value that contains this one at `path`."""
        lower = ValidationError(self.after, path + self.path, self.before, self.wanted)
        lower.__cause__ = self.__cause__
        return lower

    def refusal(self) -> InvalidRequest:
        """The error for the client. An exception of the user's validator stays its cause."""
        field = f"field '{self.path.removeprefix('.')}'" if self.path else "the body"
        refusal = InvalidRequest(f"{self.before}{field}{self.after}")
        refusal.__cause__ = self.__cause__
        return refusal


def wrong_type(wanted: str, value: Any) -> ValidationError:
    """A value is not of the wanted type."""
    return ValidationError(f" must be {wanted}, not {name_of(type(value).__name__)}", wanted=wanted)


def name_of(kind: str) -> str:
    """A type of Python as messages call it."""
    return _NAMES.get(kind, kind)


def missing_field(name: str) -> ValidationError:
    """A required field is missing."""
    return ValidationError("", f".{name}", "missing ")


def unknown_field(name: str, known: Any) -> ValidationError:
    """The object has a field that is not known."""
    return ValidationError(f"; known are: {', '.join(known) or 'none'}", f".{name}", "unknown ")


def invalid_value(reason: object) -> ValidationError:
    """A value has the right type, but is refused for another reason."""
    return ValidationError(f" is not valid: {reason}")

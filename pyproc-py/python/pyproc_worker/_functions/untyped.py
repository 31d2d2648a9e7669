"""Functions without type hints, or with `dict` as the only one: the body is passed on unchanged.

Most workers have only such functions. They are recognized without `inspect` and `typing`, which
take 2 MiB.
"""

from __future__ import annotations

from types import FunctionType

from pyproc_worker._calls.cancel import CANCEL_EVENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from typing_extensions import TypeGuard

    from pyproc_worker._calls.cancel import Call

_KEYWORDS = 0x08  # CO_VARKEYWORDS
_DICT = (dict, "dict")
_ASYNC_OR_GENERATOR = 0x20 | 0x80 | 0x100 | 0x200  # CO_GENERATOR and so on, see `inspect`


REQUEST = ("req", "request")
"""A first parameter with one of these names gets the whole body."""


def takes_whole_body(function: object) -> bool:
    """Whether a plain function certainly gets the whole body, whatever its type.

    False means that `plan` must decide.
    """
    return _is_plain(function) and not _hints_of_parameters(function)


def takes_a_dict(function: object) -> bool:
    """Whether a plain function certainly gets the whole body, which must be an object."""
    if not _is_plain(function):
        return False
    hints, code = _hints_of_parameters(function), function.__code__
    name = code.co_varnames[0]
    is_only = code.co_argcount + code.co_kwonlyargcount == 1 and not code.co_flags & _KEYWORDS
    is_dict = hints.pop(name, None) in _DICT and function.__globals__.get("dict", dict) is dict
    return is_dict and not hints and (name in REQUEST or is_only)


def of_objects(function: Call) -> Call:
    """Calls a function with the body, which must be an object."""

    def call(body: Any) -> Any:
        if type(body) is not dict:
            from pyproc_worker._types.validation import wrong_type

            raise wrong_type("an object", body).refusal()
        return function(body)

    return call


def simply_returned(function: object) -> dict[str, Any] | None:
    """The schema of a function's results; None if `returns_schema` must find it."""
    if type(function) is not FunctionType or "__wrapped__" in function.__dict__:
        return None
    hints = _hints_as_written(function)
    if "return" not in hints:
        return {}
    is_dict = hints["return"] in _DICT and function.__globals__.get("dict", dict) is dict
    return {"type": "object"} if is_dict else None


def _is_plain(function: object) -> TypeGuard[FunctionType]:
    if type(function) is not FunctionType:
        return False
    code = function.__code__
    if code.co_flags & _ASYNC_OR_GENERATOR or "__wrapped__" in function.__dict__:
        return False
    required = code.co_argcount - len(function.__defaults__ or ())
    others = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    defaults = function.__kwdefaults__ or {}
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return (
        code.co_argcount > 0
        and required <= 1
        and all(name in defaults for name in others)
        and CANCEL_EVENT not in names
        and "__signature__" not in function.__dict__
    )


def _hints_of_parameters(function: FunctionType) -> dict[str, object]:
    hints = _hints_as_written(function)
    hints.pop("return", None)
    return hints


def _hints_as_written(function: FunctionType) -> dict[str, object]:
    """The hints of a plain function; some without meaning if reading them fails."""
    try:
        return dict(function.__annotations__)
    except Exception:  # since 3.14 they are evaluated here, and any code may stand in them
        return {"return": None, "": None}


def first_line(doc: object) -> str:
    """The first line of a docstring that is not blank."""
    return doc.strip().partition("\n")[0].rstrip() if isinstance(doc, str) else ""

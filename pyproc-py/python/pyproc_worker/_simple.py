"""Functions that can be understood without `inspect` and `typing`, which take 2 MiB.

Most workers have no others: their functions have no hints and take the body as it is.
"""

from types import FunctionType

from pyproc_worker._cancel import CANCEL_EVENT

_ASYNC_OR_GENERATOR = 0x20 | 0x80 | 0x100 | 0x200  # CO_GENERATOR and so on, see `inspect`


def takes_whole_body(function: object) -> bool:
    """Whether a function is plain, has no hints, and surely takes the body as its argument.

    So `Shape` would say too, while a no means that it's to be asked.
    """
    if type(function) is not FunctionType or _may_have_hints(function):
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


def _may_have_hints(function: FunctionType) -> bool:
    if getattr(function, "__annotate__", None) is not None:
        return True
    return bool(function.__annotations__)


def first_line(doc: object) -> str:
    """The first line of a documentation that is not blank."""
    return doc.strip().partition("\n")[0].rstrip() if isinstance(doc, str) else ""

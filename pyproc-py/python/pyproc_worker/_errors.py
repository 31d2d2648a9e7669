"""The errors that a worker reports, and the texts of any exception."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

MESSAGE_LIMIT = 64 * 1024  # characters
TRACEBACK_LIMIT = 16 * 1024  # bytes
TYPE_NAME_LIMIT = 256  # characters

FROZEN = (
    "the worker's core in pure Python is frozen, and newer features need the native core: "
    "`pyproc-worker doctor` shows how to get it"
)
"""The reason why the core in pure Python refuses unknown features."""


class InvalidRequest(ValueError):
    """The body of a request does not fit the function. The message names the field.

    Functions may raise it, too, if the caller is at fault.
    """

    __module__ = "pyproc_worker"


class EncodeError(ValueError):
    """A result cannot be encoded, or is larger than a frame. The message names the path."""

    __module__ = "pyproc_worker"


class MethodNotFound(LookupError):
    """The client called a name under which no function is exposed."""

    __module__ = "pyproc_worker"

    def __init__(self, name: str) -> None:
        super().__init__(f"Method '{name}' not found")


class Cancelled(Exception):
    """The client cancelled the request.

    A function that stops because its `cancel_event` was set may raise it too.
    """

    __module__ = "pyproc_worker"

    def __init__(self, message: str = "the client cancelled the request") -> None:
        super().__init__(message)

    def answer(self) -> str:
        """The message for the client."""
        return str(self)


def cancelled_before_start() -> Cancelled:
    """The error for a request that was cancelled before its function started."""
    return Cancelled("the client cancelled the request before it started")


WORKERS_OWN = (InvalidRequest, EncodeError, MethodNotFound, Cancelled)


class BrokenFrame(Exception):
    """The client violated the protocol: it gets the reason, then its connection is closed."""


def error_document(request_id: int, error: BaseException, details: bool) -> dict[str, Any]:
    """The error response to a request; with `details` also the exception's type and traceback.

    All texts are valid Unicode of limited length, whatever the exception's methods do.
    """
    document: dict[str, Any] = {"id": request_id, "ok": False, "error": message_of(error)}
    if details:
        kind, _, trace = error_parts(error)
        document["headers"] = {"pyproc-error-traceback": trace, "pyproc-error-type": kind}
    return document


def error_parts(error: BaseException) -> tuple[str, str, str]:
    """The exception's type, message and traceback, valid and limited as in `error_document`."""
    return _type_name(error), message_of(error), _formatted_traceback(error)


def message_of(error: BaseException) -> str:
    """`str(error)`, or a replacement if that raises, and the exception's notes."""
    try:
        text = error.answer() if isinstance(error, Cancelled) else str(error)
    except Exception:
        text = f"a {_type_name(error)} whose message cannot be read: its __str__ failed"
    return _valid("\n".join([text, *_notes(error)])[:MESSAGE_LIMIT])


def _notes(error: BaseException) -> list[str]:
    """The notes that `add_note` has added."""
    try:
        notes: Any = error.__notes__  # from Python 3.11 on
        return [note for note in notes if isinstance(note, str)]
    except Exception:  # most errors have none
        return []


def _type_name(error: BaseException) -> str:
    kind = type(error)
    name = kind.__qualname__
    if kind.__module__ != "builtins":
        name = f"{kind.__module__}.{name}"
    return _valid(name[:TYPE_NAME_LIMIT])


def _formatted_traceback(error: BaseException) -> str:
    import traceback  # only here, as it is large

    try:
        lines = traceback.format_exception(type(error), error, _users_part(error.__traceback__))
        text = "".join(lines)
    except Exception as failure:
        text = f"the traceback cannot be formatted: {type(failure).__name__}\n"
    return text.encode("utf-8", "replace")[-TRACEBACK_LIMIT:].decode("utf-8", "ignore")


def _users_part(trace: TracebackType | None) -> TracebackType | None:
    """Skips the leading frames that belong to this package."""
    while trace is not None and _is_ours(trace.tb_frame.f_globals.get("__name__")):
        trace = trace.tb_next
    return trace


def _is_ours(module: object) -> bool:
    return isinstance(module, str) and module.partition(".")[0] == "pyproc_worker"


def _valid(text: str) -> str:
    """Replaces lone surrogates, which UTF-8 cannot encode."""
    return text.encode("utf-8", "replace").decode("utf-8")

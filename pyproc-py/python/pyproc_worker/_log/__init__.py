"""The worker's own log lines, and a default handler for the script's. `levels` has the levels.

The worker's lines go through `logging` if the script has loaded it. If not, they are written to
stderr in the format of `logging.basicConfig`.

What must stay true: this package never loads `logging` itself, which takes 2 MiB, and this room
knows none of the others.
"""

from __future__ import annotations

import contextlib
import sys

from pyproc_worker._log import levels

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

NAME = "pyproc_worker"
LEVELS = {
    "CRITICAL": 50,
    "FATAL": 50,
    "ERROR": 40,
    "WARN": 30,
    "WARNING": 30,
    "INFO": 20,
    "DEBUG": 10,
    "NOTSET": 0,
    # names of the Rust side, which reads the same variable
    "TRACE": 5,
    "OFF": 100,
}

_TARGET = "PYPROC::PYTHON"


class _SetUp:
    level = LEVELS["INFO"]
    root_level: int | None = None
    """The level that the environment sets."""
    of_logging = False
    """`logging` has a handler, set by the script or here."""
    forward: Callable[[int, str, str], bool] | None = None
    """Sends level, text and traceback to the client; returns whether they were sent."""


def set_up(directives: str | None) -> None:
    """Sets the level by `directives`, if any, and adds a handler, unless the script has done so.

    Raises `ValueError` for an unknown level.
    """
    logging = _loaded()
    if directives:
        _SetUp.root_level = _SetUp.level = _least_level(directives, logging)
    if logging is not None:
        set_up_logging(logging)


def set_up_logging(logging: Any) -> None:
    """Adds a handler to the root logger, if it has none."""
    _SetUp.of_logging = True
    prepare(logging)
    if not logging.getLogger().handlers:
        logging.basicConfig(stream=sys.stderr)


def prepare(logging: Any) -> None:
    """Sets the levels of `logging`, and the format and level of its last resort: records that the
    script logs while it is loaded are not lost. The script may still configure `logging`."""
    levels.begin(logging)
    if _SetUp.root_level is not None:
        levels.set_default(logging, _SetUp.root_level)
    last = logging.lastResort
    if last is not None and last is getattr(logging, "_defaultLastResort", None):
        to_stderr: Any = type(last)
        logging.lastResort = to_stderr(LEVELS["NOTSET"])
        logging.lastResort.setFormatter(logging.Formatter(logging.BASIC_FORMAT))


def prepare_early(directives: str | None) -> None:
    """Prepares `logging` right after its import, before the worker starts."""
    with contextlib.suppress(ValueError):  # raised again at the start
        if directives:
            _SetUp.root_level = _least_level(directives, None)
    prepare(sys.modules["logging"])


def forward_to(forward: Callable[[int, str, str], bool] | None) -> None:
    """Sets the receiver of log lines while `logging` is not loaded.

    Lines that it does not send, and all lines if it is None, are written to stderr.
    """
    _SetUp.forward = forward


def _least_level(directives: str, logging: Any) -> int:
    """The level in ``PYPROC_LOG_LEVEL``, in upper case: ``LEVEL,TARGET=LEVEL,...``.

    The targets are the Rust side's. Only the target of Python's records is used here.
    """
    general = own = ""
    for directive in directives.split(","):
        target, equals, name = directive.strip().rpartition("=")
        if not equals:
            general = name or general
        elif target.strip() == _TARGET:
            own = name
    return _level(own or general or "INFO", directives, logging)


def _level(name: str, directives: str, logging: Any) -> int:
    level = LEVELS.get(name.strip())
    if level is None and logging is not None:
        level = logging.getLevelName(name.strip())  # one of the script's own
    if not isinstance(level, int):
        raise ValueError(f"PYPROC_LOG_LEVEL is {directives!r}, which is not a level of logging")
    return level


def debug(text: str) -> None:
    """A detail that helps to find an error in the worker or its client."""
    _write("DEBUG", text)


def info(text: str) -> None:
    """An ordinary event."""
    _write("INFO", text)


def warning(text: str) -> None:
    """Something that may need attention."""
    _write("WARNING", text)


def error(text: str, cause: BaseException | None = None) -> None:
    """Something that needs attention; with the traceback of `cause`."""
    _write("ERROR", text, cause)


def _write(level_name: str, text: str, cause: BaseException | None = None) -> None:
    logging, level = _loaded(), LEVELS[level_name]
    if logging is not None:
        if not _SetUp.of_logging:  # it was loaded after `set_up`
            set_up_logging(logging)
        logging.getLogger(NAME).log(level, "%s", text, exc_info=cause)
    elif level >= _SetUp.level:
        _write_without_logging(level_name, text, _traceback(cause))


def _write_without_logging(level_name: str, text: str, traceback: str) -> None:
    if _SetUp.forward is not None and _SetUp.forward(LEVELS[level_name], text, traceback):
        return
    if sys.stderr is not None:
        lines = f"{text}\n{traceback}" if traceback else text
        print(f"{level_name}:{NAME}:{lines}", file=sys.stderr, flush=True)


def _traceback(cause: BaseException | None) -> str:
    if cause is None:
        return ""
    import traceback  # only here, as it is large

    lines = traceback.format_exception(type(cause), cause, cause.__traceback__)
    return "".join(lines).rstrip("\n")


def _loaded() -> Any:
    logging = sys.modules.get("logging")
    # Another thread may be loading it: it defines `captureWarnings` last.
    return logging if hasattr(logging, "captureWarnings") else None

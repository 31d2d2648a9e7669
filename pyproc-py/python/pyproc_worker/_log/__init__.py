"""The worker's own log lines, and the way out of the script's.

The worker's go through `logging` if the script has loaded it. If not, they're written to stderr as
`logging.basicConfig` would, and `logging` is not loaded: it takes 2 MiB.
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
    # as the Rust side calls them, which reads the same variable
    "TRACE": 5,
    "OFF": 100,
}

_TARGET = "PYPROC::PYTHON"


class _SetUp:
    level = LEVELS["INFO"]
    root_level: int | None = None
    """What the environment sets."""
    of_logging = False
    """`logging` has been given a way out, by the script or here."""
    forward: Callable[[int, str, str], bool] | None = None
    """Takes level, text and traceback to the client; says whether they left."""


def set_up(directives: str | None) -> None:
    """Gives the log a way out and, if there are `directives`, a least level, unless the script has
    set up `logging`.

    Raises `ValueError` for a level that doesn't exist.
    """
    logging = _loaded()
    if directives:
        _SetUp.root_level = _SetUp.level = _least_level(directives, logging)
    if logging is not None:
        set_up_logging(logging)


def set_up_logging(logging: Any) -> None:
    """Gives `logging` a way out, if it has none."""
    _SetUp.of_logging = True
    prepare(logging)
    if not logging.getLogger().handlers:
        logging.basicConfig(stream=sys.stderr)


def prepare(logging: Any) -> None:
    """Gives `logging` levels, and until it is set up a way out that a client can read: what is
    logged while the script is loaded is not lost. The script may still set it up itself."""
    levels.begin(logging)
    if _SetUp.root_level is not None:
        levels.set_default(logging, _SetUp.root_level)
    last = logging.lastResort
    if last is not None and last is getattr(logging, "_defaultLastResort", None):
        to_stderr: Any = type(last)
        logging.lastResort = to_stderr(LEVELS["NOTSET"])
        logging.lastResort.setFormatter(logging.Formatter(logging.BASIC_FORMAT))


def prepare_early(directives: str | None) -> None:
    """Prepares `logging`, which has just been loaded, before the worker starts."""
    with contextlib.suppress(ValueError):  # which the start raises
        if directives:
            _SetUp.root_level = _least_level(directives, None)
    prepare(sys.modules["logging"])


def forward_to(forward: Callable[[int, str, str], bool] | None) -> None:
    """Where the log goes while `logging` isn't loaded; what does not leave there, and with None
    all, is written to stderr."""
    _SetUp.forward = forward


def _least_level(directives: str, logging: Any) -> int:
    """The level of ``PYPROC_LOG_LEVEL``, in upper case: ``LEVEL,TARGET=LEVEL,...``.

    Of the targets, which are the Rust side's, only that of Python's records counts.
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
        raise ValueError(f"PYPROC_LOG_LEVEL is {directives!r}, which is no level of logging")
    return level


def debug(text: str) -> None:
    """For those who look for an error in the worker or its client."""
    _write("DEBUG", text)


def info(text: str) -> None:
    """What everybody may know."""
    _write("INFO", text)


def warning(text: str) -> None:
    """What somebody may want to see to."""
    _write("WARNING", text)


def error(text: str, cause: BaseException | None = None) -> None:
    """What somebody should see to; with the traceback of `cause`."""
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
    import traceback  # not before there's an error: it is large

    lines = traceback.format_exception(type(cause), cause, cause.__traceback__)
    return "".join(lines).rstrip("\n")


def _loaded() -> Any:
    logging = sys.modules.get("logging")
    # A thread may be about to load it: `captureWarnings` is what it defines last.
    return logging if hasattr(logging, "captureWarnings") else None

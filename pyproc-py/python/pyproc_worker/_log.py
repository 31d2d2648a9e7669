"""The worker's own log lines.

They go through `logging` if the script has loaded it. If not, they're written to stderr as
`logging.basicConfig` would, and `logging` is not loaded: it takes 2 MiB.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

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
}


class _SetUp:
    level_name = "INFO"
    of_logging = False
    """`logging` has been given a way out, by the script or here."""


def set_up(level_name: str) -> None:
    """Gives the log a way out and a least level, unless the script has set up `logging`.

    Raises `ValueError` for a level that doesn't exist.
    """
    _SetUp.level_name = level_name
    logging = _loaded()
    if logging is not None:
        _set_up(logging)
    elif level_name not in LEVELS:
        raise _unknown(level_name)


def _set_up(logging: "Any") -> None:
    _SetUp.of_logging = True
    if not logging.getLogger().handlers:
        level = logging.getLevelName(_SetUp.level_name)
        if not isinstance(level, int):
            raise _unknown(_SetUp.level_name)
        logging.basicConfig(level=level, stream=sys.stderr)


def debug(text: str) -> None:
    """For those who look for an error in the worker or its client."""
    _write("DEBUG", text)


def info(text: str) -> None:
    """What everybody may know."""
    _write("INFO", text)


def error(text: str, cause: "Optional[BaseException]" = None) -> None:
    """What somebody should see to; with the traceback of `cause`."""
    _write("ERROR", text, cause)


def _write(level: str, text: str, cause: "Optional[BaseException]" = None) -> None:
    logging = _loaded()
    if logging is not None:
        if not _SetUp.of_logging:  # it was loaded after `set_up`
            _set_up(logging)
        logging.getLogger(NAME).log(LEVELS[level], "%s", text, exc_info=cause)
    elif LEVELS[level] >= LEVELS[_SetUp.level_name] and sys.stderr is not None:
        print(f"{level}:{NAME}:{text}{_traceback(cause)}", file=sys.stderr, flush=True)


def _traceback(cause: "Optional[BaseException]") -> str:
    if cause is None:
        return ""
    import traceback  # not before there's an error: it is large

    lines = traceback.format_exception(type(cause), cause, cause.__traceback__)
    return "\n" + "".join(lines).rstrip("\n")


def _loaded() -> "Any":
    return sys.modules.get("logging")


def _unknown(level_name: str) -> ValueError:
    return ValueError(f"PYPROC_LOG_LEVEL is {level_name!r}, which is no level of logging")

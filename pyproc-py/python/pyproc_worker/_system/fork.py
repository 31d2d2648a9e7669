"""Processes that functions fork, and how they end when they return from the function."""

from __future__ import annotations

import contextlib
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, ClassVar, NoReturn

FAILED = 1


class Forks:
    """Processes forked from this one while it serves."""

    is_child = False
    """This is such a process: only the function that forked it may run here."""

    in_child: ClassVar[list[Callable[[], None]]] = []
    """Callbacks that run in each of them, one for each serving loop."""


def leave(error: BaseException | None = None) -> NoReturn:
    """Ends this process, and leaves everything alone that it shares with its parent.

    The clients and the socket's file belong to the parent: no request is answered, no file removed,
    no thread awaited. The exit code is that of a `SystemExit`, 1 for another `error`, else 0.
    """
    code = _exit_code(error)
    with contextlib.suppress(Exception):
        if error is not None and not isinstance(error, SystemExit):
            import traceback  # only here, as it is large

            traceback.print_exception(type(error), error, error.__traceback__)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(code)


def _exit_code(error: BaseException | None) -> int:
    if not isinstance(error, SystemExit):
        return 0 if error is None else FAILED
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    with contextlib.suppress(Exception):
        print(error.code, file=sys.stderr)
    return FAILED


def _on_fork() -> None:
    Forks.is_child = bool(Forks.in_child)
    for callback in Forks.in_child:
        callback()


os.register_at_fork(after_in_child=_on_fork)  # cannot be undone, so registered once

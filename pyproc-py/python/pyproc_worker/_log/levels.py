"""The levels of `logging` if the script has set none.

The root logger keeps Python's own level, WARNING: at INFO, libraries draw progress bars and log
each request. The loggers of the script, and of the modules beside it, are at INFO.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from collections.abc import Iterable
    from typing import Any

INFO, WARNING = 20, 30

_ALWAYS = ("__main__", "__mp_main__", "pyproc_worker")


class _Root:
    has_default = False
    """The script has not set the root's level."""


def begin(logging: Any) -> None:
    """Sets these levels, until the script sets the root's level. Idempotent."""
    root = logging.getLogger()
    if hasattr(root, "_pyproc_worker"):
        return
    root._pyproc_worker = True
    _Root.has_default = root.level == WARNING and not root.handlers
    inherited = logging.Logger.getEffectiveLevel

    def effective_level(logger: logging.Logger) -> int:
        level: int = inherited(logger)
        if _Root.has_default and level > INFO and _inherits(logger) and _is_own(logger.name):
            return INFO
        return level

    def set_level(level: Any) -> None:
        _Root.has_default = False
        del root.setLevel
        root.setLevel(level)

    logging.Logger.getEffectiveLevel = effective_level
    root.setLevel = set_level
    root.manager._clear_cache()


def set_default(logging: Any, level: int) -> None:
    """Sets the root's level, unless the script has set it."""
    if _Root.has_default:
        logging.getLogger().setLevel(level)


def _inherits(logger: logging.Logger) -> bool:
    """Whether a logger inherits the root's level."""
    while logger.parent is not None:
        if logger.level:
            return False
        logger = logger.parent
    return True


def _is_own(name: str) -> bool:
    top = name.partition(".")[0]
    return top in _ALWAYS or _is_beside_the_script(top)


def _is_beside_the_script(top: str) -> bool:
    main, module = sys.modules.get("__main__"), sys.modules.get(top)
    package = getattr(main, "__package__", None)
    if package:  # python -m package.module
        return bool(top == package.partition(".")[0])
    file = getattr(main, "__file__", None)
    if module is None or file is None:
        return False
    folder = os.path.dirname(os.path.realpath(file))
    return any(os.path.dirname(os.path.realpath(path)) == folder for path in _paths(module))


def _paths(module: Any) -> Iterable[str]:
    """The folders of a package, or the file of a module."""
    paths = getattr(module, "__path__", None) or [getattr(module, "__file__", None)]
    return [path for path in paths if isinstance(path, str)]

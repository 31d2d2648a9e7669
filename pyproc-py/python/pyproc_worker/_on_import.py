"""Does something as soon as a module is loaded, without loading it."""

from __future__ import annotations

import contextlib
import sys

from pyproc_worker import _log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any, Callable


def when_loaded(name: str, act: Callable[[], None]) -> None:
    """Calls `act` now if the module is loaded, else right after it has been.

    In the second case whoever imports the module waits for `act`, and what it raises is logged.
    """
    if name in sys.modules:
        return act()
    acts = _finder.waiting.setdefault(name, [])
    if act not in acts:
        acts.append(act)
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


class _Finder:
    """Finds nothing itself, but sees what is looked for."""

    def __init__(self) -> None:
        self.waiting: dict[str, list[Callable[[], None]]] = {}

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in self.waiting:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None:
                self._act_after(spec.loader, name)
                return spec
        return None

    def _act_after(self, loader: Any, name: str) -> None:
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            del loader.exec_module
            execute(module)
            for act in self.waiting.pop(name, []):
                try:
                    act()
                except Exception as error:
                    _log.error("telemetry failed", error)

        with contextlib.suppress(AttributeError):  # a loader that cannot be changed: no act then
            loader.exec_module = exec_module


_finder = _Finder()

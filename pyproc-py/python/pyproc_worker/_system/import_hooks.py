"""Hooks that run after a module is imported, without importing it."""

from __future__ import annotations

import sys

from pyproc_worker import _log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any, Callable


def when_loaded(name: str, act: Callable[[], None]) -> None:
    """Calls `act` now if the module is loaded, else right after its import.

    In the second case the import waits for `act`, whose exceptions are logged.
    """
    if name in sys.modules:
        return act()
    acts = _finder.waiting.setdefault(name, [])
    if act not in acts:
        acts.append(act)
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


class _Finder:
    """Finds no module itself, but observes the search and wraps the loader.

    It is never removed: another thread that iterates over the finders would skip the next one.
    """

    def __init__(self) -> None:
        self.waiting: dict[str, list[Callable[[], None]]] = {}

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in self.waiting:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):  # without it, the hook is not called
                    spec.loader = _Loader(spec.loader, self)  # type: ignore[assignment]
                return spec
        return None

    def loaded(self, name: str) -> None:
        """Calls the hooks of a module that was loaded."""
        for act in self.waiting.pop(name, []):
            try:
                act()
            except Exception as error:
                _log.error("telemetry failed", error)


class _Loader:
    """Wraps a module's loader until the module is executed."""

    def __init__(self, loader: Any, finder: _Finder) -> None:
        self._loader = loader
        self._finder = finder

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__.loader = module.__loader__ = self._loader  # type: ignore[union-attr]
        self._loader.exec_module(module)
        self._finder.loaded(module.__name__)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


_finder = _Finder()

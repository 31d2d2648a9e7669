"""Describes an installation: which core serves, and if it is not the native one, why."""

import os
import platform
import sys
from collections.abc import Iterator
from importlib import import_module

from pyproc_worker._codec.choose import choose_codec
from pyproc_worker._process import no_core
from pyproc_worker._settings import Settings
from pyproc_worker._version import __version__

INSTALL_AGAIN = (
    "with cargo on PATH (https://rustup.rs), run `pip install ./pyproc-py` in a checkout again; or "
    "`pip install --force-reinstall` a wheel that was built so"
)


def examine(settings: Settings) -> Iterator[tuple[str, str]]:
    """Pairs of a name and a value, for display."""
    yield "pyproc-worker", __version__
    yield "python", f"{platform.python_implementation()} {platform.python_version()}"
    yield "interpreter", sys.executable
    yield "package", os.path.dirname(os.path.dirname(__file__))
    yield from _core(settings)


def _core(settings: Settings) -> Iterator[tuple[str, str]]:
    try:
        import_module("pyproc_worker._core")
    except ImportError as error:
        yield "core", _python(settings)
        yield "why", no_core.why(error)
        yield "to change it", INSTALL_AGAIN
        return
    if settings.core == "python":
        yield "core", _python(settings)
        yield "why", "PYPROC_WORKER_CORE is 'python'"
        yield "to change it", "unset PYPROC_WORKER_CORE"
    else:
        yield "core", "native"


def _python(settings: Settings) -> str:
    return f"python (JSON by {choose_codec(settings.codec).name}), slower than the native one"

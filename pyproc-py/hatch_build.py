"""Builds the native core into the package, if cargo is there.

A checkout of the repository has the core's source, and whoever uses the crate has cargo. Without
either, the package has the loop in Python only, and a file in it says why: `pyproc-worker doctor`
shows that. Where cargo fails, the installation fails as well: pip shows no output of an
installation that succeeds, so nobody would notice the slower core.

``PYPROC_BUILD_CORE`` says what is wanted: ``native`` (fail rather than go without it) or
``python`` (do not even try).
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import sys_tags

PACKAGE = "pyproc_worker"
WHY_NOT = "_no_core.txt"  # the file that `pyproc_worker._process.no_core` reads
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


class NativeCore(BuildHookInterface[Any]):
    _noted: Path | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        why_not = self._why_not()
        if why_not:
            content, name = self._note(why_not), WHY_NOT
        else:
            content, name = self._build(), core_name()
        if version == "editable":
            package = Path(self.root, "python", PACKAGE)
            put(content, package / name)
            if wanted() == "python":  # one that is there would be loaded all the same
                (package / core_name()).unlink(missing_ok=True)
            return
        build_data["force_include"][str(content)] = f"{PACKAGE}/{name}"
        if not why_not:
            build_data["pure_python"] = False
            build_data["tag"] = wheel_tag()

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if self._noted is not None:
            self._noted.unlink()

    def _why_not(self) -> str:
        """Why there is to be no native core; empty if there is."""
        if wanted() not in ("", "native", "python"):
            self.app.abort(f"PYPROC_BUILD_CORE is {wanted()!r}; it may be native or python")
        if wanted() == "python":
            return "PYPROC_BUILD_CORE was 'python'"
        why_not = obstacle(Path(self.root))
        if why_not and wanted() == "native":
            self.app.abort(f"PYPROC_BUILD_CORE is 'native', but {why_not}")
        return why_not

    def _note(self, why_not: str) -> Path:
        with tempfile.NamedTemporaryFile("w", delete=False, encoding="utf-8") as file:
            file.write(f"{why_not}\n")
        self._noted = Path(file.name)
        return self._noted

    def _build(self) -> Path:
        manifest = Path(self.root, "Cargo.toml")
        cargo = [
            *(find_cargo() or "cargo", "build", "--manifest-path", str(manifest)),
            *("--profile", "native", "--message-format", "json-render-diagnostics"),
        ]
        # The stable ABI needs no interpreter; the first one on PATH might want a build of its own.
        python = {"PYO3_PYTHON": sys.executable} if FREE_THREADED else {"PYO3_NO_PYTHON": "1"}
        try:
            build = subprocess.run(cargo, env={**os.environ, **python}, stdout=subprocess.PIPE)
        except OSError as error:
            self._fail(f"cannot start {cargo[0]}: {error}")
        if build.returncode != 0:
            self._fail(f"`{' '.join(cargo)}` failed, see above")
        return artifact(build.stdout.decode())

    def _fail(self, reason: str) -> None:
        self.app.abort(
            f"The native core could not be built: {reason}.\n"
            "To install the slower loop in Python without it: set PYPROC_BUILD_CORE=python."
        )


def wanted() -> str:
    return os.environ.get("PYPROC_BUILD_CORE", "")


def obstacle(root: Path) -> str:
    """Why the core is not to be built; empty if nothing is in the way."""
    if sys.implementation.name != "cpython":
        return f"the native core is for CPython, and this is {platform.python_implementation()}"
    if FREE_THREADED and sys.version_info < (3, 14):
        return "of free-threaded Python, the native core needs 3.14 or newer"
    if not (root / "Cargo.toml").is_file() or not (root.parent / "Cargo.toml").is_file():
        return (
            "the Rust sources were not there: a checkout of the repository has them, a source "
            "distribution has not (nor has the copy that pip before 21.3 builds in)"
        )
    if find_cargo() is None:
        return "cargo was found neither on PATH nor where rustup puts it"
    return ""


def find_cargo() -> str | None:
    home = os.environ.get("CARGO_HOME") or os.path.expanduser("~/.cargo")
    return (
        os.environ.get("CARGO")
        or shutil.which("cargo")
        or shutil.which("cargo", path=os.path.join(home, "bin"))
    )


def artifact(messages: str) -> Path:
    """The library that cargo says it has built."""
    for message in map(json.loads, messages.splitlines()):
        if message["reason"] == "compiler-artifact" and message["target"]["name"] == "_core":
            return Path(message["filenames"][0])
    raise ValueError("cargo has built no library _core")


def core_name() -> str:
    """The file's name in the package: free-threaded Python has no stable ABI."""
    return "_core" + (sysconfig.get_config_var("EXT_SUFFIX") if FREE_THREADED else ".abi3.so")


def wheel_tag() -> str:
    """What was built here is only known to run on systems like this one."""
    tags = sys_tags()
    local = next(tag for tag in tags if not tag.platform.startswith(("manylinux", "musllinux")))
    abi = f"{local.interpreter}-{local.abi}" if FREE_THREADED else "cp39-abi3"
    return f"{abi}-{local.platform}"


def put(content: Path, place: Path) -> None:
    """A worker that runs has the old file open: it is replaced, not written to."""
    new = place.with_name(f"{place.name}.{os.getpid()}.new")
    shutil.copyfile(content, new)
    os.replace(new, place)

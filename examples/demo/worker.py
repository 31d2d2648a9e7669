"""The Python side of the demo: a first function, and a census of source files."""

from __future__ import annotations

import ast
import os
import platform
import sysconfig
import warnings
from typing import Any, Iterator

from pyproc_worker import expose, run_worker

# Python warns about dubious sources; a census only counts them.
warnings.simplefilter("ignore", SyntaxWarning)

INSTALLED_LATER = {"site-packages", "dist-packages", "__pycache__"}


@expose
def predict(request: dict[str, Any]) -> dict[str, Any]:
    return {"result": request["value"] * 2}


@expose
def list_sources() -> dict[str, Any]:
    """Names every module of this Python's own standard library."""
    root = sysconfig.get_path("stdlib")
    return {
        "python": platform.python_version(),
        "root": root,
        "files": sorted(source_files(root)),
    }


@expose
def census(path: str) -> dict[str, Any]:
    """Counts what one source file defines. A file that is not Python raises."""
    with open(path, "rb") as file:
        source = file.read()
    definitions = list(walk_definitions(ast.parse(source).body))
    functions = [d for d in definitions if not isinstance(d, ast.ClassDef)]
    longest = max(functions, key=line_count, default=None)
    return {
        "lines": len(source.splitlines()),
        "functions": len(functions),
        "classes": len(definitions) - len(functions),
        "longest": longest and {"name": longest.name, "lines": line_count(longest)},
    }


def source_files(root: str) -> Iterator[str]:
    for directory, subdirectories, names in os.walk(root):
        subdirectories[:] = set(subdirectories) - INSTALLED_LATER
        for name in names:
            if name.endswith(".py"):
                yield os.path.join(directory, name)


def walk_definitions(statements: list[Any]) -> Iterator[Any]:
    """Functions and classes at any depth. Only statements contain them, so expressions
    are skipped, which are most of a syntax tree."""
    for statement in statements:
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield statement
        for block in ("body", "orelse", "finalbody", "handlers", "cases"):
            nested = getattr(statement, block, None)
            if isinstance(nested, list):
                yield from walk_definitions(nested)


def line_count(definition: Any) -> int:
    return definition.end_lineno - definition.lineno + 1


if __name__ == "__main__":
    run_worker()

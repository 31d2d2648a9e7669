"""Prints the modules of a package and which of them imports which, as JSON."""

import ast
import json
import sys
from pathlib import Path

root = Path(sys.argv[1])


def module_of(path):
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def inside(name):
    """The module's name without the package's; None for a module of others."""
    first, _, rest = name.partition(".")
    return rest if first == root.name else None


def base_of(node, module, path):
    """The module that `from ... import` names."""
    if not node.level:
        return inside(node.module)
    parts = module.split(".") if module else []
    above = node.level - (path.stem == "__init__")
    parts = parts[: len(parts) - above] + (node.module or "").split(".")
    return ".".join(part for part in parts if part)


def imports(module, path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (inside(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = base_of(node, module, path)
            for alias in node.names if base is not None else ():
                name = f"{base}.{alias.name}".strip(".")
                yield name if name in files else base
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            name = node.args[0] if node.args else None
            if isinstance(name, ast.Constant):
                yield inside(name.value)


files = {module_of(path): path for path in root.rglob("*.py*") if path.suffix in (".py", ".pyi")}
uses = [
    (module, used)
    for module, path in files.items()
    for used in imports(module, path)
    if used is not None
]
print(json.dumps({"files": {module: str(path) for module, path in files.items()}, "uses": uses}))

"""The reason why this installation has no native core, as its build (`hatch_build.py`) noted it."""

from pathlib import Path

_NOTE = Path(__file__).parent.with_name("_no_core.txt")


def why(error: ImportError) -> str:
    """The reason. `error` is the exception of its import."""
    if not isinstance(error, ModuleNotFoundError):
        return f"the native core of this installation cannot be loaded ({error})"
    try:
        note = _NOTE.read_text(encoding="utf-8").strip()
    except OSError:
        return "this installation has no native core"
    return f"this installation was built without the native core ({note})"

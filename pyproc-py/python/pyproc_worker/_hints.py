"""Signatures and type hints that are there, of functions whose hints may be nonsense."""

import inspect
import sys
import typing
from typing import Any, Callable, Optional


def signature_of(function: Callable[..., Any]) -> Optional[inspect.Signature]:
    """The signature, or None for a callable that has none, such as some built-in functions."""
    try:
        if sys.version_info >= (3, 14):
            from annotationlib import Format

            return inspect.signature(function, annotation_format=Format.FORWARDREF)
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


def hints_of(annotated: Any) -> dict[str, Any]:
    """The type hints of a function or class; those that cannot be evaluated are left out."""
    annotated = _unwrapped(annotated)
    if not isinstance(annotated, type) and not inspect.isroutine(annotated):
        annotated = _unwrapped(type(annotated).__call__)  # an object's own hints are its class's
    try:
        return typing.get_type_hints(annotated)
    except Exception:
        return _those_that_evaluate(annotated)


def _unwrapped(annotated: Any) -> Any:
    while not isinstance(annotated, type) and hasattr(annotated, "__wrapped__"):
        annotated = annotated.__wrapped__
    return annotated


def _those_that_evaluate(annotated: Any) -> dict[str, Any]:
    names = getattr(annotated, "__globals__", None)
    if names is None:
        names = vars(sys.modules.get(getattr(annotated, "__module__", ""), typing))
    hints = {}
    for name, hint in _annotations(annotated).items():
        try:
            hints[name] = eval(hint, names) if isinstance(hint, str) else hint
        except Exception:  # any code may stand in an annotation
            continue
    return hints


def _annotations(annotated: Any) -> dict[str, Any]:
    if sys.version_info >= (3, 14):
        from annotationlib import Format, get_annotations

        return get_annotations(annotated, format=Format.FORWARDREF)
    return getattr(annotated, "__annotations__", {})

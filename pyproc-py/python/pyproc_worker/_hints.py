"""Signatures and type hints that are there, of functions whose hints may be nonsense."""

import functools
import inspect
import sys
import types
import typing
from typing import Any, Callable, Optional


def signature_of(function: Callable[..., Any]) -> Optional[inspect.Signature]:
    """The signature that counts; None for a callable that has none, as some built-in functions."""
    function = counting(function)
    signature = _own_signature(function)
    if signature is None or not _has_hints_of_another(function):
        return signature
    bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return signature.replace(parameters=bare, return_annotation=signature.empty)


def counting(function: Callable[..., Any]) -> Callable[..., Any]:
    """The callable whose signature counts: the outermost one, unless it is ``(*args, **kwargs)``.

    Such a one hands all on to what it wraps, whose signature then counts.
    """
    if isinstance(function, functools.partial):
        return functools.partial(counting(function.func), *function.args, **function.keywords)
    if isinstance(function, types.MethodType):
        return types.MethodType(counting(function.__func__), function.__self__)
    if isinstance(function, type):
        return function
    if hasattr(function, "__wrapped__"):
        return counting(function.__wrapped__) if _hands_all_on(function) else function
    call = type(function).__call__  # of an object that can be called
    return counting(types.MethodType(call, function)) if hasattr(call, "__wrapped__") else function


def _hands_all_on(function: Callable[..., Any]) -> bool:
    signature = _own_signature(function)
    kinds = [p.kind for p in signature.parameters.values()] if signature else _ALL
    return kinds == _ALL


_ALL = [inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD]


def _own_signature(function: Callable[..., Any]) -> Optional[inspect.Signature]:
    try:
        if sys.version_info >= (3, 14):
            from annotationlib import Format

            return inspect.signature(
                function, follow_wrapped=False, annotation_format=Format.FORWARDREF
            )
        return inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):
        return None


def hints_of(annotated: Any) -> dict[str, Any]:
    """The type hints of a function or class; those that cannot be evaluated are left out."""
    annotated = _function_of(counting(annotated))
    if not isinstance(annotated, type) and not inspect.isroutine(annotated):
        annotated = type(annotated).__call__  # an object's own hints are its class's
    if _has_hints_of_another(annotated):
        return {}
    try:
        return typing.get_type_hints(annotated)
    except Exception:
        return _those_that_evaluate(annotated)


def _function_of(annotated: Any) -> Any:
    while isinstance(annotated, functools.partial):
        annotated = annotated.func
    return annotated


def _has_hints_of_another(function: Any) -> bool:
    """Whether `functools.wraps` has put what it wraps, with its hints, in the place of its own."""
    wrapped = getattr(function, "__wrapped__", None)
    if wrapped is None or isinstance(function, type):
        return False
    if sys.version_info >= (3, 14):
        return getattr(function, "__annotate__", None) is getattr(wrapped, "__annotate__", None)
    return getattr(function, "__annotations__", None) is getattr(wrapped, "__annotations__", None)


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

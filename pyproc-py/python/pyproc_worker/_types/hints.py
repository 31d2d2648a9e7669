"""Signatures of functions, their hints, and the names that hints may use."""

import functools
import inspect
import sys
import types
import typing
from collections import ChainMap
from collections.abc import Mapping
from typing import Any, Callable, Optional


def signature_of(function: Callable[..., Any]) -> Optional[inspect.Signature]:
    """The effective signature; None for a callable without one, such as some built-in functions."""
    function = effective(function)
    signature = _own_signature(function)
    if signature is None or not _has_hints_of_another(function):
        return signature
    bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return signature.replace(parameters=bare, return_annotation=signature.empty)


def effective(function: Callable[..., Any]) -> Callable[..., Any]:
    """The callable whose signature is effective: the outermost one.

    A wrapper with ``(*args, **kwargs)`` passes everything on: then the wrapped one is effective.
    """
    if isinstance(function, functools.partial):
        return functools.partial(effective(function.func), *function.args, **function.keywords)
    if isinstance(function, types.MethodType):
        return types.MethodType(effective(function.__func__), function.__self__)
    if isinstance(function, type):
        return function
    if hasattr(function, "__wrapped__"):
        return effective(function.__wrapped__) if _passes_all_on(function) else function
    call = type(function).__call__  # of an object that can be called
    return effective(types.MethodType(call, function)) if hasattr(call, "__wrapped__") else function


def _passes_all_on(function: Callable[..., Any]) -> bool:
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


class Scope:
    """The names that a hint may use."""

    def __init__(self, *names: Mapping[str, Any]) -> None:
        self._names: ChainMap[str, Any] = ChainMap(*names)  # type: ignore[arg-type]

    def evaluate(self, text: str) -> Any:
        """Evaluates a hint that is a text. Raises any exception."""
        return eval(text, {}, self._names)

    def of_class(self, cls: Any) -> "Scope":
        """The names that the hints of a class may use, if this scope names the class."""
        own = vars(sys.modules.get(cls.__module__, typing))
        is_local = "<locals>" in cls.__qualname__
        parameters = {p.__name__: p for p in getattr(cls, "__type_params__", ())}
        names = (self._names, own) if is_local else (own, self._names)
        return Scope(parameters, *names)


def hints_of(
    function: Callable[..., Any], names: Mapping[str, Any]
) -> tuple[dict[str, Any], Scope]:
    """The hints of a function, not evaluated, and their scope. `names` are those around it."""
    function = _function_of(effective(function))
    if isinstance(function, type):
        function = function.__init__  # type: ignore[misc]
    elif not inspect.isroutine(function):
        function = type(function).__call__  # an object's own hints are its class's
    parameters = {p.__name__: p for p in getattr(function, "__type_params__", ())}
    scope = Scope(parameters, names, getattr(function, "__globals__", {}))
    return ({} if _has_hints_of_another(function) else annotations_of(function)), scope


def _function_of(annotated: Any) -> Any:
    while isinstance(annotated, functools.partial):
        annotated = annotated.func
    return annotated


def _has_hints_of_another(function: Any) -> bool:
    """Whether `functools.wraps` has copied the hints of the wrapped function."""
    wrapped = getattr(function, "__wrapped__", None)
    if wrapped is None or isinstance(function, type):
        return False
    if sys.version_info >= (3, 14):
        return getattr(function, "__annotate__", None) is getattr(wrapped, "__annotate__", None)
    return getattr(function, "__annotations__", None) is getattr(wrapped, "__annotations__", None)


def annotations_of(annotated: Any) -> dict[str, Any]:
    """The annotations of a function or class itself, not evaluated if they are texts."""
    if sys.version_info >= (3, 14):
        from annotationlib import Format, get_annotations

        return get_annotations(annotated, format=Format.FORWARDREF)
    if isinstance(annotated, type):  # not those of a base
        annotations: dict[str, Any] = vars(annotated).get("__annotations__", {})
        return annotations
    return getattr(annotated, "__annotations__", {})

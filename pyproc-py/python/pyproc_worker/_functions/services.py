"""Exposed classes: their public methods are exposed, on one instance in each worker."""

from __future__ import annotations

import functools
import inspect
import types
from typing import Any, ClassVar

from pyproc_worker._functions import registry

_OF_C = (
    types.BuiltinFunctionType,
    types.ClassMethodDescriptorType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
)
"""Methods that classes inherit from types such as `dict`; these are not exposed."""


class Service:
    """A class whose instance does not exist yet."""

    def __init__(
        self,
        cls: type,
        body: registry.Body | None,
        names: dict[str, Any],
        methods: dict[str, tuple[str, Any]],
    ) -> None:
        self._cls = cls
        self._exposed_with = body, names
        self._methods = methods
        """By exposed name: the method's own name, and its placeholder until the instance exists."""

    def make(self) -> None:
        """Makes the instance. Raises what the constructor raises."""
        instance = self._cls()
        for exposed_as, (name, stand_in) in self._methods.items():
            exposed = registry.functions[exposed_as]
            if exposed.function is stand_in:  # it has not been replaced
                exposed.replace(getattr(instance, name), *self._exposed_with)


class Services:
    """The classes of this process."""

    waiting: ClassVar[list[Service]] = []
    are_made = False
    """The worker has started: a class exposed from now on gets its instance at once."""


def make_instances() -> None:
    """Makes the instances of all classes. Raises what a constructor raises."""
    Services.are_made = True
    while Services.waiting:
        Services.waiting.pop(0).make()


def expose_class(name: str, body: registry.Body | None, names: dict[str, Any], cls: type) -> None:
    """Exposes the public methods as ``name.method``.

    Raises `TypeError` if there are none, if the constructor cannot be called without arguments, and
    if a method that the class itself defines cannot be exposed.
    """
    _refuse_constructor(name, cls)
    methods = {}
    for own_name, member in _public_methods(cls).items():
        exposed_as = f"{name}.{own_name}"
        # It has the signature and hints of the instance's method.
        stand_in = member.__get__(cls, cls)
        try:
            registry.refuse_unsupported(exposed_as, stand_in)
            registry.Exposed(exposed_as, stand_in, body, names)
        except TypeError:
            if own_name in vars(cls):
                raise
            continue  # inherited, perhaps from a library
        methods[exposed_as] = own_name, stand_in
    if not methods:
        raise TypeError(
            f"cannot expose the class {name!r}: it has no public methods; give it some whose names "
            "do not begin with an underscore"
        )
    for exposed_as, (_, stand_in) in methods.items():
        registry.register(exposed_as, body, names, stand_in)
    Services.waiting.append(Service(cls, body, names, methods))
    if Services.are_made:
        make_instances()


def _refuse_constructor(name: str, cls: type) -> None:
    if inspect.isabstract(cls):
        missing = ", ".join(sorted(getattr(cls, "__abstractmethods__", ())))
        raise TypeError(f"cannot expose the class {name!r}: it is abstract, without {missing}")
    try:
        inspect.signature(cls).bind()
    except TypeError as error:
        raise TypeError(
            f"cannot expose the class {name!r}: the worker makes its instance without arguments, "
            f"but of its constructor: {error}; give the parameters defaults"
        ) from None
    except ValueError:  # no signature: a mistake shows when the instance is made
        return


def _public_methods(cls: type) -> dict[str, Any]:
    """The methods as attributes of the classes, not bound."""
    members: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        members.update(vars(base))
    return {
        name: member
        for name, member in members.items()
        if not name.startswith("_") and _is_method(member)
    }


def _is_method(member: Any) -> bool:
    if isinstance(member, (classmethod, staticmethod, functools.partialmethod)):
        return True
    if isinstance(member, (type, *_OF_C)):
        return False
    return callable(member) and hasattr(type(member), "__get__")

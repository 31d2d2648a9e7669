"""The hello: a client and this worker exchange versions, features and functions."""

from __future__ import annotations

import os
import sys

from pyproc_worker._calls.channels import FEATURES as TELEMETRY
from pyproc_worker._errors import FROZEN, InvalidRequest
from pyproc_worker._functions.registry import Exposed, functions
from pyproc_worker._functions.untyped import simply_returned
from pyproc_worker._version import AGENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

METHOD = "pyproc.hello"
VERSIONS = (1, 2)
ERROR_DETAILS = "error-details"
FEATURES = (ERROR_DETAILS, "cancel", *TELEMETRY)
MAX_FUNCTIONS = 4096


class Hello:
    """The client's side of the hello."""

    def __init__(self, features: list[str], agent: str, owner: bool, version: int) -> None:
        self.features = features
        """The negotiated features."""
        self.agent = agent
        self.owner = owner
        self.version = version
        """The highest version that both speak."""

    @property
    def has_telemetry(self) -> bool:
        """Whether the client asked for any telemetry."""
        return any(name in TELEMETRY for name in self.features)


def read_hello(body: Any) -> Hello:
    """Raises `InvalidRequest` if the body is not a hello, or both have no version in common."""
    if type(body) is not dict:
        raise InvalidRequest("the hello makes no sense: its body must be an object")
    versions = _array(body, "versions", (int, float))
    offered = _array(body, "features", (str,))
    agent = _member(body, "agent", str) or ""
    owner = _member(body, "owner", bool) or False
    if versions is None:
        raise InvalidRequest("the hello makes no sense: it must list the client's versions")
    common = [version for version in VERSIONS if version in versions]
    if not common:
        raise InvalidRequest(f"this worker speaks versions 1 and 2, not {versions!r}: {FROZEN}")
    features = [name for name in FEATURES if name in (offered or ())]
    if common[-1] == 1:
        features = [name for name in features if name not in TELEMETRY]
    return Hello(features, agent, owner, common[-1])


def _member(body: dict[str, Any], key: str, kind: type) -> Any:
    """None if it's absent."""
    value = body.get(key)
    if value is not None and type(value) is not kind:
        raise InvalidRequest(f"the hello makes no sense: its {key} is no {kind.__name__}")
    return value


def _array(body: dict[str, Any], key: str, kinds: tuple[type, ...]) -> list[Any] | None:
    """None if it's absent."""
    values: list[Any] | None = _member(body, key, list)
    if not all(type(value) in kinds for value in values or ()):
        raise InvalidRequest(f"the hello makes no sense: not all {key} are of the right type")
    return values


def introduction(features: list[str], schemas: bool = True, version: int = 1) -> dict[str, Any]:
    """The worker's answer: its version, features, process and functions at this moment.

    The functions are in the order of `table`; version 2 refers to them by their index. Without
    `schemas`, each function is described as taking and returning anything.
    """
    return {
        "version": version,
        "features": features,
        "agent": AGENT,
        "pid": os.getpid(),
        "python": sys.version.partition(" ")[0],
        "functions": [_described(exposed, schemas) for exposed in table()],
    }


def table() -> list[Exposed]:
    """The functions that a hello lists at this moment."""
    return [functions[name] for name in sorted(functions)[:MAX_FUNCTIONS]]


def _described(exposed: Exposed, schemas: bool) -> dict[str, Any]:
    parameters, returns = _schemas(exposed) if schemas else ({}, {})
    described: dict[str, Any] = {
        "name": exposed.name,
        "doc": exposed.doc,
        "parameters": parameters,
        "returns": returns,
    }
    if exposed.concurrent:
        described["concurrent"] = True
    return described


def _schemas(exposed: Exposed) -> tuple[dict[str, Any], dict[str, Any]]:
    function = exposed.function
    exposed.complete()
    returns = simply_returned(function)
    if returns is None:
        from pyproc_worker._types.schema import returns_schema  # only here, as it is large

        returns = returns_schema(function)
    return exposed.schema, returns

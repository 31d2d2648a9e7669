"""The hello: a client and this worker tell each other who they are and what they can."""

import os
import platform
from typing import Any, NamedTuple

from pyproc_worker._errors import InvalidRequest
from pyproc_worker._registry import Exposed, functions
from pyproc_worker._schema import parameters_schema, returns_schema
from pyproc_worker._version import AGENT

METHOD = "pyproc.hello"
VERSION = 1
ERROR_DETAILS = "error-details"
FEATURES = (ERROR_DETAILS, "cancel")
MAX_FUNCTIONS = 4096


class Hello(NamedTuple):
    """What a client says."""

    features: list[str]
    """Those of its features that this worker understands too."""
    agent: str
    owner: bool


def read_hello(body: Any) -> Hello:
    """Raises `InvalidRequest` if the body is no hello, or no version is common to both."""
    if type(body) is not dict or type(body.get("versions")) is not list:
        raise InvalidRequest("the hello makes no sense: it must list the client's versions")
    if VERSION not in body["versions"]:
        raise InvalidRequest(f"this worker speaks version 1, not {body['versions']!r}")
    offered = body.get("features")
    features = [name for name in FEATURES if type(offered) is list and name in offered]
    return Hello(features, str(body.get("agent", "")), body.get("owner") is True)


def introduction(features: list[str], schemas: bool = True) -> dict[str, Any]:
    """What the worker says: itself, and the functions it exposes at this moment.

    Without `schemas`, it's said of each function that it takes and returns anything.
    """
    names = sorted(functions)[:MAX_FUNCTIONS]
    return {
        "version": VERSION,
        "features": features,
        "agent": AGENT,
        "pid": os.getpid(),
        "python": platform.python_version(),
        "functions": [_described(functions[name], schemas) for name in names],
    }


def _described(exposed: Exposed, schemas: bool) -> dict[str, Any]:
    return {
        "name": exposed.name,
        "doc": exposed.doc,
        "parameters": parameters_schema(exposed.function) if schemas else {},
        "returns": returns_schema(exposed.function) if schemas else {},
    }

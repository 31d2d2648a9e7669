"""Exposes Python functions to a pyproc pool over a Unix socket.

    from pyproc_worker import expose, run_worker

    @expose
    def predict(req):
        return {"result": req["value"] * 2}

    if __name__ == "__main__":
        run_worker()

The pool sets ``PYPROC_SOCKET_PATH`` and starts the script. :func:`expose` documents how the body of
a request fills a function's parameters; "Results" in the README lists the types that a function may
return.
"""

from pyproc_worker._calls.current import Call, current_call
from pyproc_worker._errors import Cancelled, EncodeError, InvalidRequest, MethodNotFound
from pyproc_worker._functions.expose import expose
from pyproc_worker._functions.registry import health
from pyproc_worker._process import bootstrap
from pyproc_worker._process.run import run_worker
from pyproc_worker._version import __version__

bootstrap.begin()

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from typing import Any

    from pyproc_worker._compat import FramedConnection, Worker
    from pyproc_worker.cancellation import CancellationError, CancellationManager
    from pyproc_worker.codec import Codec, get_codec
    from pyproc_worker.tracing import get_tracing, trace_method

    logger: logging.Logger

_OF_THE_ORIGINAL = {
    "CancellationError": "cancellation",
    "CancellationManager": "cancellation",
    "Codec": "codec",
    "FramedConnection": "_compat",
    "Worker": "_compat",
    "get_codec": "codec",
    "get_tracing": "tracing",
    "trace_method": "tracing",
}
"""Names for scripts of the Go original, and their modules, which are loaded on demand."""


def __getattr__(name: str) -> "Any":
    if name != "logger" and name not in _OF_THE_ORIGINAL:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # only here, as it loads more

    if name == "logger":
        value: Any = import_module("pyproc_worker._compat").make_logger()
    else:
        value = getattr(import_module(f"pyproc_worker.{_OF_THE_ORIGINAL[name]}"), name)
    globals()[name] = value
    return value


__all__ = [
    "Call",
    "CancellationError",
    "CancellationManager",
    "Cancelled",
    "Codec",
    "EncodeError",
    "FramedConnection",
    "InvalidRequest",
    "MethodNotFound",
    "Worker",
    "__version__",
    "current_call",
    "expose",
    "get_codec",
    "get_tracing",
    "health",
    "logger",
    "run_worker",
    "trace_method",
]

"""Exposes Python functions to a pyproc pool over a Unix socket.

    from pyproc_worker import expose, run_worker

    @expose
    def predict(req):
        return {"result": req["value"] * 2}

    if __name__ == "__main__":
        run_worker()

The pool sets ``PYPROC_SOCKET_PATH`` and starts the script. How the body of a request reaches
a function's parameters is told at :func:`expose`, what a function may return in the README
under "Results".
"""

from pyproc_worker._call import Call, current_call
from pyproc_worker._errors import Cancelled, EncodeError, InvalidRequest, MethodNotFound
from pyproc_worker._registry import expose
from pyproc_worker._run import run_worker
from pyproc_worker._version import __version__

__all__ = [
    "Call",
    "Cancelled",
    "EncodeError",
    "InvalidRequest",
    "MethodNotFound",
    "__version__",
    "current_call",
    "expose",
    "run_worker",
]

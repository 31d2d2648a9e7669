"""Starts a worker: settings, logging, socket, core."""

from __future__ import annotations

import contextlib
import functools
import gc
import io
import os
import sys
from contextvars import copy_context
from importlib import import_module

from pyproc_worker import _log
from pyproc_worker._calls import current
from pyproc_worker._functions.registry import functions, health
from pyproc_worker._process import bootstrap, wrapped
from pyproc_worker._process.forwarding import Forwarding
from pyproc_worker._process.listener import listening
from pyproc_worker._settings import Settings, codec_of_type
from pyproc_worker._system import unpatched
from pyproc_worker._system.termination import Termination

INTERRUPTED = 130  # the exit code of a process that SIGINT ended

KEPT_MEMORY = 16 * 1024 * 1024  # bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Callable

    Serve = Callable[[socket.socket, Settings, Termination], None]
    """A core of the worker: returns when the worker is to end, or raises what ends it."""

    Core = tuple[Serve, str]
    """A core, and how the log calls it."""


class Runs:
    """Whether workers ran in this process, and whether they may: `pyproc-worker` asks and says."""

    allowed = True
    started = False
    refusal: Exception | None = None
    """Why a worker could not start: a setting or the socket's path is at fault."""


def run_worker(socket_path: str | None = None, codec_type: str = "auto") -> None:
    """Serves the exposed functions on a Unix socket until the worker is to end.

    `socket_path` is by default what the environment variable ``PYPROC_SOCKET_PATH`` says.
    `codec_type` is for scripts of the Go original: the JSON library that the core in Python is to
    prefer.

    It returns after SIGTERM, when the client that owns the worker leaves, or when its
    parent process (``PYPROC_PARENT_PID``) is gone: requests that had arrived are answered
    first. The native core serves if it's there, else the one in Python, as ``PYPROC_WORKER_CORE``
    wants. Ctrl-C ends the process with exit code 130. `sys.exit` in a function ends the
    worker with its code. Objects that exist by now are kept out of garbage collection
    (`gc.freeze`), which shortens its pauses. In a process of `multiprocessing` that loads its
    parent's main module it does nothing; as the target of such a process it serves.

    Raises `ValueError` without a path, for one that is too long, and for an environment variable
    that makes no sense; what the constructor of an exposed class raises; `ImportError` if the
    native core or the JSON library that the environment asks for is missing; `FileExistsError` if
    the path is a file that is no socket, and other kinds of `OSError` if it cannot be listened at,
    such as when another worker does. Where nobody catches them the process ends with status 1 and
    the message, without a traceback, unless `sys.excepthook` is the script's own.
    """
    Runs.started = True
    if not Runs.allowed or _is_loaded_by_a_child():
        return
    try:
        with _refusing():
            path, settings, core = _configure(socket_path, codec_type)
        _make_instances()
        with contextlib.ExitStack() as resources:
            with _refusing():
                serve = _start(path, settings, core, resources)
            serve()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


@contextlib.contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except (ImportError, OSError, ValueError) as error:
        Runs.refusal = error
        if sys.excepthook is sys.__excepthook__:  # a hook of the script's own is left alone
            sys.excepthook = _show
        raise


def _make_instances() -> None:
    """Those of classes that are exposed. Raises what their constructors raise."""
    services = sys.modules.get("pyproc_worker._functions.services")  # loaded by the first one
    if services is not None:
        services.make_instances()


def _show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What `sys.excepthook` does, but of a refusal that nobody caught it shows the message alone:
    the setting is at fault, and no code."""
    if error is Runs.refusal:
        print(f"{kind.__name__}: {error}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


def _is_loaded_by_a_child() -> bool:
    """Whether this is a new process of `multiprocessing`, or of its kin, that loads the main module
    of its parent: what it is for comes afterwards."""
    kin = ("multiprocessing.process", "multiprocess.process", "billiard.process")
    loaded = (sys.modules[name] for name in kin if name in sys.modules)
    return any(getattr(each.current_process(), "_inheriting", False) for each in loaded)


def _configure(socket_path: str | None, codec_type: str) -> tuple[str, Settings, Core]:
    """The path, the settings and the core; the output is set up."""
    path = socket_path or os.environ.get("PYPROC_SOCKET_PATH")
    if not path:
        raise ValueError(
            "no socket path: a pool sets PYPROC_SOCKET_PATH for its workers; without a pool, give "
            "run_worker() a path, or try a function with `pyproc-worker call SCRIPT FUNCTION`"
        )
    settings = Settings.from_environment()
    wanted = os.environ.get("PYPROC_CODEC_TYPE") or codec_type
    settings.preferred_codec = codec_of_type(wanted)
    core = _choose_core(settings)
    bootstrap.begin(is_worker=True)
    _set_up_output(settings.log_level)
    return path, settings, core


def _start(
    path: str, settings: Settings, core: Core, resources: contextlib.ExitStack
) -> Callable[[], None]:
    """What serves; that which it needs is closed with `resources`."""
    serve, description = core
    for exposed in list(functions.values()):
        exposed.complete()
    listener = resources.enter_context(listening(path, settings.socket_mode))
    termination = resources.enter_context(Termination())
    resources.enter_context(wrapped.watching(settings, termination))
    resources.enter_context(Forwarding(settings.forward_logs))
    patched_by = unpatched.patched_by()
    beside = f", beside the greenlets of {patched_by}" if patched_by else ""
    _log.info(f"serving on {path}, core: {description}{beside}")
    if all(each.function is health for each in functions.values()):
        _log.warning("the script exposes no function: put @expose above what is to be called")
    current.base = copy_context()
    _prepare_memory()
    return functools.partial(serve, listener, settings, termination)


def _choose_core(settings: Settings) -> Core:
    if settings.core != "python":
        try:
            core = import_module("pyproc_worker._core")
            return core.serve, f"native (JSON by {core.JSON})"
        except ImportError as error:
            if settings.core == "native":
                from pyproc_worker._process import no_core

                raise ImportError(
                    f"PYPROC_WORKER_CORE is 'native', but {no_core.why(error)}: see "
                    "`pyproc-worker doctor`, or unset it"
                ) from error
    return _python_core(settings)


def _python_core(settings: Settings) -> Core:
    # The native core does without these.
    from pyproc_worker._codec.choose import choose_codec
    from pyproc_worker._loop.loop import Loop

    codec = choose_codec(settings.codec, settings.preferred_codec)

    def serve(listener: socket.socket, settings: Settings, termination: Termination) -> None:
        Loop(listener, codec, settings, termination).serve()

    return serve, f"python (JSON by {codec.name})"


def _prepare_memory() -> None:
    """Keeps what the script built out of garbage collection, and freed memory in the process.

    glibc returns freed memory to the system at once, and each large message then pays for page
    faults, until a large block has been freed: it then keeps up to twice that much.
    """
    gc.collect()
    gc.freeze()
    bytes(KEPT_MEMORY // 2)


def _set_up_output(log_level: str) -> None:
    """A crash must not lose lines in a pipe's buffer, and logs of ours need a way out."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)
    _log.set_up(log_level)

"""`run_worker` starts a worker: settings, logging, socket, core."""

from __future__ import annotations

import contextlib
import functools
import gc
import io
import os
import sys
from contextvars import copy_context

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
    """A core: serves until the worker ends, or raises the exception that ends it."""

    Core = tuple[Serve, str]
    """A core, and its description for the log."""


class Runs:
    """Whether a worker has run in this process, and may run: for the command `pyproc-worker`."""

    allowed = True
    started = False
    refusal: Exception | None = None
    """The error in a setting or the socket's path that kept the worker from starting."""


def run_worker(socket_path: str | None = None, codec_type: str = "auto") -> None:
    """Serves the exposed functions on a Unix socket until the worker is to end.

    `socket_path` defaults to the environment variable ``PYPROC_SOCKET_PATH``. `codec_type` is for
    scripts of the Go original: the preferred JSON library of the core in Python.

    It returns after SIGTERM, after the client that owns the worker has closed its connection, or
    after the end of the parent process (``PYPROC_PARENT_PID``). Requests that have arrived are
    answered first. The native core serves if it is installed, else the core in Python;
    ``PYPROC_WORKER_CORE`` selects one. Ctrl-C ends the process with exit code 130, and `sys.exit`
    in a function with its own code. Objects that exist at the start are excluded from garbage
    collection (`gc.freeze`), which shortens its pauses. In a process of `multiprocessing` that
    loads its parent's main module it does nothing; as the target of such a process it serves.

    Raises `ValueError` without a path, for a path that is too long, and for an invalid environment
    variable; `ImportError` if the native core or the JSON library that the environment selects is
    not installed; `FileExistsError` if the path is a file but not a socket; another `OSError` if
    the socket cannot be opened, for instance because another worker uses it; and any exception of
    the constructor of an exposed class. If one of the first four is not caught, the process prints
    the message without a traceback and ends with status 1, unless the script has set
    `sys.excepthook`.
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
        if sys.excepthook is sys.__excepthook__:  # the script has not set its own
            sys.excepthook = _show
        raise


def _make_instances() -> None:
    """Makes the instances of exposed classes. Raises any exception of their constructors."""
    services = sys.modules.get("pyproc_worker._functions.services")  # loaded by the first one
    if services is not None:
        services.make_instances()


def _show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A `sys.excepthook` that shows only the message of `Runs.refusal`: a setting is wrong, not the
    code."""
    if error is Runs.refusal:
        print(f"{kind.__name__}: {error}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


def _is_loaded_by_a_child() -> bool:
    """Whether this is a new process of `multiprocessing` or a similar library that still loads the
    main module of its parent."""
    kin = ("multiprocessing.process", "multiprocess.process", "billiard.process")
    loaded = (sys.modules[name] for name in kin if name in sys.modules)
    return any(getattr(each.current_process(), "_inheriting", False) for each in loaded)


def _configure(socket_path: str | None, codec_type: str) -> tuple[str, Settings, Core]:
    """Reads the settings, chooses the core and sets up the output."""
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
    """Opens the socket and everything else, registers it with `resources`, returns what serves."""
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
            from pyproc_worker import _core

            return _core.serve, f"native (JSON by {_core.JSON})"
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
    """Excludes the script's objects from garbage collection, and makes glibc keep freed memory.

    glibc returns freed memory to the system at once, so that each large message causes page faults.
    After a large block has been freed, it keeps up to twice as much.
    """
    gc.collect()
    gc.freeze()
    bytes(KEPT_MEMORY // 2)


def _set_up_output(log_level: str) -> None:
    """Makes the output line-buffered, as a crash loses buffered lines, and sets up the log."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)
    _log.set_up(log_level)

"""The command ``pyproc-worker``: runs a worker script, or inspects it."""

import argparse
import importlib.machinery
import importlib.util
import inspect
import os
import sys
import traceback
from typing import Any, Optional

from pyproc_worker._calls.deferred import Deferred
from pyproc_worker._codec.choose import choose_codec
from pyproc_worker._errors import InvalidRequest
from pyproc_worker._functions.registry import Exposed, functions
from pyproc_worker._functions.services import make_instances
from pyproc_worker._process import bootstrap
from pyproc_worker._process.doctor import examine
from pyproc_worker._process.run import Runs, run_worker
from pyproc_worker._settings import Settings
from pyproc_worker._types.hints import signature_of
from pyproc_worker._version import __version__

COMMANDS = ("run", "list", "call", "doctor")
FAILED, MISUSED = 1, 2  # exit codes


def main(arguments: Optional[list[str]] = None) -> int:
    """Runs the command with `arguments`, by default those of the process.

    Returns the exit code.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if _is_old_form(arguments):
        arguments = ["run", *arguments]
    options = _parser().parse_args(arguments)
    if "script" in options:
        if not os.path.isfile(options.script):
            print(f"there is no script {options.script!r}", file=sys.stderr)
            return MISUSED
        sys.path.insert(0, os.path.dirname(os.path.abspath(options.script)))
    command: int = options.command(options)
    return command


def _is_old_form(arguments: list[str]) -> bool:
    """``pyproc-worker SCRIPT``, as the first release had it."""
    return bool(arguments) and arguments[0] not in (*COMMANDS, "-h", "--help", "--version")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pyproc-worker",
        description="Runs a pyproc worker script, or inspects it without a pool.",
        epilog="`pyproc-worker SCRIPT` is short for `pyproc-worker run SCRIPT`.",
    )
    parser.add_argument("--version", action="version", version=f"pyproc-worker {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser(
        "run",
        help="serve a script's functions on a socket",
        description="Runs SCRIPT as the main program. If it does not call run_worker() itself, "
        "its exposed functions are served when it has ended.",
    )
    run.add_argument("script", metavar="SCRIPT", help="the worker script")
    run.add_argument(
        "--socket-path", metavar="PATH", help="where to listen; default: PYPROC_SOCKET_PATH"
    )
    run.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        help="what to log to stderr; default: PYPROC_LOG_LEVEL, or info",
    )
    run.set_defaults(command=_run)

    list_ = commands.add_parser(
        "list",
        help="show a script's functions",
        description="Imports SCRIPT (not as the main program) and shows the functions that it "
        "exposes, with the first line of their documentation.",
    )
    list_.add_argument("script", metavar="SCRIPT", help="the worker script")
    list_.set_defaults(command=_list)

    call = commands.add_parser(
        "call",
        help="call one function here and now",
        description="Imports SCRIPT (not as the main program), calls FUNCTION with a body "
        "as a pool would, and prints the result: JSON, or the bytes that the function returned.",
        epilog="Exit codes: 0 it returned; 1 it raised, and the traceback is on stderr; "
        "2 there is no such function, or the body cannot be read.",
    )
    call.add_argument("script", metavar="SCRIPT", help="the worker script")
    call.add_argument("function", metavar="FUNCTION", help="the name of an exposed function")
    body = call.add_mutually_exclusive_group()
    body.add_argument(
        "json",
        metavar="JSON",
        nargs="?",
        default="null",
        help="the body, or @FILE with it, or - for stdin; default: null",
    )
    body.add_argument(
        "--bytes", metavar="TEXT", help="a body of bytes: those of TEXT, or @FILE, or - for stdin"
    )
    call.set_defaults(command=_call)

    doctor = commands.add_parser(
        "doctor",
        help="show what this installation runs with",
        description="Shows the interpreter, the package, and which core serves; if it is not the "
        "native one, why, and what to do.",
    )
    doctor.set_defaults(command=_doctor)
    return parser


def _run(options: argparse.Namespace) -> int:
    if options.socket_path:
        os.environ["PYPROC_SOCKET_PATH"] = options.socket_path
    if options.log_level:
        os.environ["PYPROC_LOG_LEVEL"] = options.log_level
    bootstrap.begin(is_worker=True)
    sys.argv = [options.script]
    try:
        _load(options.script, "__main__")
        if not Runs.started:
            run_worker()
    except Exception as error:
        if error is not Runs.refusal:
            raise
        print(error, file=sys.stderr)
        return MISUSED
    return 0


def _list(options: argparse.Namespace) -> int:
    _load_without_serving(options.script)
    for name, exposed in sorted(functions.items()):
        signature = signature_of(exposed.function) or "(...)"
        print(f"{name}{signature}" + (f"  {exposed.doc}" if exposed.doc else ""))
    return 0


def _call(options: argparse.Namespace) -> int:
    _load_without_serving(options.script)
    exposed = functions.get(options.function)
    if exposed is None:
        known = ", ".join(sorted(functions))
        print(f"{options.function!r} is not exposed; known are: {known}", file=sys.stderr)
        return MISUSED
    try:
        codec = choose_codec(Settings.from_environment().codec)
        if options.bytes is None:
            body = codec.decode_body(_read(options.json))
        else:
            body = _read(options.bytes)
    except (ImportError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return MISUSED
    try:
        make_instances()
        result = _result(exposed, body)
        if isinstance(result, (bytes, bytearray, memoryview)):
            sys.stdout.buffer.write(bytes(result))
        else:
            print(codec.encode(result).decode())
    except Exception as error:
        # If the body is at fault, the traceback does not help, unless a constructor raised.
        is_refused = isinstance(error, InvalidRequest) and error.__cause__ is None
        shown = traceback.format_exception_only(type(error), error) if is_refused else None
        print("".join(shown or traceback.format_exc()), end="", file=sys.stderr)
        return FAILED
    return 0


def _doctor(_options: argparse.Namespace) -> int:
    try:
        for name, value in examine(Settings.from_environment()):
            print(f"{name:<14}{value}")
    except (ImportError, ValueError) as error:
        print(error, file=sys.stderr)
        return MISUSED
    return 0


def _read(argument: str) -> bytes:
    """The body that an argument of the command line stands for."""
    if argument == "-":
        return sys.stdin.buffer.read()
    if argument.startswith("@"):
        with open(argument[1:], "rb") as file:
            return file.read()
    return os.fsencode(argument)


def _result(exposed: Exposed, body: Any) -> Any:
    """The function's result, awaited if necessary."""
    try:
        result = exposed.call(body)
    except Deferred as deferred:
        result = deferred.awaitable
    if not inspect.isawaitable(result):
        return result
    import asyncio  # only here, as it is large

    async def wait() -> Any:
        return await result

    return asyncio.run(wait())


def _load_without_serving(script: str) -> None:
    Runs.allowed = False
    _load(script, "pyproc_worker_script")


def _load(script: str, name: str) -> None:
    """Runs a script as the module `name`, which stays importable, as its classes may need that."""
    loader = importlib.machinery.SourceFileLoader(name, script)
    spec = importlib.util.spec_from_file_location(name, script, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    if name == "__main__":
        module.__spec__ = None  # like any script's: multiprocessing then loads it by its path
    sys.modules[name] = module
    loader.exec_module(module)


if __name__ == "__main__":
    sys.exit(main())

"""A worker that says how it was started, and what signals do to its children."""

import os
import signal
import subprocess

from pyproc_worker import expose, run_worker

# Those that Python itself ignores.
PYTHONS_OWN = {signal.SIGPIPE, getattr(signal, "SIGXFSZ", None)}
NUMBERS = sorted(int(number) for number in signal.valid_signals() - PYTHONS_OWN)

IGNORED = [number for number in NUMBERS if signal.getsignal(number) == signal.SIG_IGN]
BLOCKED = sorted(int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, []))


@expose
def at_start(req):
    return {"ignored": IGNORED, "blocked": BLOCKED}


@expose
def exit_code(req):
    return subprocess.run(["sh", "-c", "exit 3"]).returncode


@expose
def terminated(req):
    child = subprocess.Popen(["sleep", "60"])
    child.terminate()
    return child.wait()


@expose
def leave(req):
    """Leaves a child and is gone; the child's id is in the file."""
    child = subprocess.Popen(["sleep", "600"])
    with open(req + ".new", "w") as file:
        file.write(str(child.pid))
    os.rename(req + ".new", req)
    os._exit(9)


if __name__ == "__main__":
    run_worker()

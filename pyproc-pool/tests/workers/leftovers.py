"""A worker that leaves something behind, unless somebody sees to it."""

import multiprocessing
import os
import signal
import subprocess
import sys
from multiprocessing.shared_memory import SharedMemory

from pyproc_worker import expose, run_worker

keep = []


@expose
def names():
    """Shared memory and a semaphore, which the resource tracker knows; in the system's directory for both."""
    keep.append(SharedMemory(create=True, size=1_000_000))
    keep.append(multiprocessing.get_context("spawn").Lock())
    return [keep[0].name, "sem." + keep[1]._semlock.name.lstrip("/")]


@expose
def child(how):
    """The id of a process that ends at SIGTERM, or not before SIGKILL."""
    script = "import signal, time; "
    if how == "stubborn":
        script += "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()); "
    script += "print('here', flush=True); time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    process.stdout.readline()
    keep.append(process)
    return process.pid


@expose
def die():
    os.kill(os.getpid(), signal.SIGKILL)


@expose
def hang(path):
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    open(path, "w").close()
    while True:
        signal.pause()


if __name__ == "__main__":
    run_worker()

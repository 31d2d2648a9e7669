"""A worker that answers calls, and one that floods its output."""

import os
import sys
import time

from pyproc_worker import expose, run_worker

LINE = b"WARNING shop.cart: the same line of some eighty bytes again and again and again\n"
LINES_A_SECOND = 1_000_000
AT_ONCE = 1000


@expose
def predict(req):
    return {"result": req["value"] * 2}


@expose
def silence(seconds):
    time.sleep(seconds)
    return 0


@expose
def raw(seconds):
    """Writes to the process's stderr as C code would: the million, or as many as get through."""
    chunk = LINE * AT_ONCE
    written = 0
    start = time.monotonic()
    while (passed := time.monotonic() - start) < seconds:
        if written < passed * LINES_A_SECOND * len(LINE):
            written += os.write(2, chunk)
        else:
            time.sleep(0.0002)
    return written // len(LINE)


@expose
def printed(seconds):
    """Prints to stderr line by line, as fast as Python can."""
    text = LINE.decode().rstrip()
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end:
        print(text, file=sys.stderr)
        count += 1
    return count


if __name__ == "__main__":
    run_worker()

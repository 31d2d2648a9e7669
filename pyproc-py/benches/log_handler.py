"""What `logging.info` costs in a worker, beside the standard library's own way.

    python benches/log_handler.py [--core native|python] [--rounds 30]

A worker logs in turns of 2,000 records: over its connection, and by a `StreamHandler` with a JSON
formatter to a pipe that another process reads. The bar is the faster of two formatters: a plain one
on `json.dumps`, and python-json-logger's, if that is installed. Told are the medians in
microseconds of the thread's CPU time for each record, and the ratio to the bar, all of one run.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from reports import SAMPLED, Taker
from wire import PATIENCE, TELEMETRY, Client

RECORDS = 2000

WORKER = """
import json, logging, os, subprocess, time
from pyproc_worker import expose, run_worker

STANDARD = {*logging.makeLogRecord({}).__dict__, "message", "asctime", "taskName"}

class PlainJson(logging.Formatter):
    with_extra = False

    def format(self, record):
        line = {
            "time": self.formatTime(record), "level": record.levelname, "logger": record.name,
            "thread": record.threadName, "file": record.pathname, "line": record.lineno,
            "message": record.getMessage(),
        }
        if self.with_extra:
            line.update((k, v) for k, v in record.__dict__.items() if k not in STANDARD)
        return json.dumps(line)

FORMATTERS = {"plain": PlainJson()}
try:
    from pythonjsonlogger.json import JsonFormatter
    fields = "%(asctime)s %(levelname)s %(name)s %(threadName)s %(pathname)s %(lineno)s %(message)s"
    FORMATTERS["python-json-logger"] = JsonFormatter(fields)
except ImportError:
    pass

reader = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
handler = logging.StreamHandler(os.fdopen(reader.stdin.fileno(), "w"))
own = logging.getLogger("pipe.cart")
own.addHandler(handler)
own.propagate = False

@expose
def formatters(req):
    return list(FORMATTERS)

@expose
def measure(req):
    "Microseconds for each record."
    log = logging.getLogger("shop.cart") if req["way"] == "ours" else own
    handler.setFormatter(FORMATTERS.get(req["way"]))
    extra = {"shop": "x", "items": 3} if req["extra"] else None
    PlainJson.with_extra = req["extra"]
    started = time.thread_time()
    for number in range(req["records"]):
        log.info("item %d was put into the cart of %s", number, "somebody", extra=extra)
    return (time.thread_time() - started) / req["records"] * 1e6

run_worker()
"""


class Worker:
    """As `reports.Taker` wants it."""

    def __init__(self, folder, core):
        self._path = os.path.join(folder, "worker.sock")
        environment = {
            **os.environ,
            "PYPROC_SOCKET_PATH": self._path,
            "PYPROC_WORKER_CORE": core,
            "PYPROC_MAX_FRAME_SIZE": "10485760",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER], env=environment, stderr=subprocess.PIPE, text=True
        )
        while "serving on" not in self.process.stderr.readline():
            if self.process.poll() is not None:
                raise SystemExit("the worker did not start")
        drain = threading.Thread(target=self.process.stderr.read, daemon=True)
        drain.start()

    def connect(self, version, **in_hello):
        return Client(self._path, version, **in_hello)


class Counter(Taker):
    """Counts records, and does not read them: a slow client would be measured too."""

    arrived = 0

    def _take(self):
        body = self.client.receive_body()
        if body[0] == TELEMETRY:
            self.arrived += body.count(b"\n")
            return None
        return {"kind": body[0], "payload": body[12:]}


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--core", default="native")
    arguments.add_argument("--rounds", type=int, default=30)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="pw") as folder:
        worker = Worker(folder, options.core)
        try:
            for extra in (False, True):
                compare(Counter(worker, "logs"), extra, options.rounds)
        finally:
            worker.process.terminate()
            worker.process.wait(PATIENCE)


def compare(taker, extra, rounds):
    ways = ["ours", *taker.result("formatters")]
    taken = {way: [] for way in ways}
    for _ in range(rounds + 2):
        for way in ways:
            body = {"way": way, "extra": extra, "records": RECORDS}
            taken[way].append(taker.result("measure", body, trace=SAMPLED))
            if way == "ours" and taker.arrived != RECORDS:
                raise SystemExit(f"{RECORDS - taker.arrived} records were lost")
            taker.arrived = 0
    medians = {way: statistics.median(times[2:]) for way, times in taken.items()}
    bar = min(time for way, time in medians.items() if way != "ours")
    print(f"extra fields: {'two' if extra else 'none'}")
    for way, time in medians.items():
        print(f"  {way:20} {time:6.2f} us  {time / bar:.2f}")


if __name__ == "__main__":
    main()

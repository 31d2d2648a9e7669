"""Takes the steps of a session for a peer whose client is a Python program.

Prints the same rows as the Rust clients do, with figures taken in the same way.
"""

import ctypes
import json
import os
import sys
import threading
import time
from pathlib import Path

import msgspec

FLOATS = 1_000_000
ROWS = 1190

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder().decode


def main(start):
    """`start(function, workers)` returns a peer: `processes`, `send`, `receive` and `close`."""
    session = json.loads(sys.argv[1])
    end_in_time()
    job = Job(session)
    begin = time.perf_counter()
    peer = start(job.function, session["workers"])
    for worker in range(session["workers"]):
        peer.send(worker, job.input)
        job.check(peer.receive(worker))
    spawn_ms = (time.perf_counter() - begin) * 1e3
    pids = [process.pid for process in peer.processes]
    if session["placement"] == "apart":
        place_apart(pids)
    for step in session["steps"]:
        row = take(session, step, peer, job, pids)
        row["spawn_ms"] = spawn_ms
        print(json.dumps(row), flush=True)
    peer.close()


def end_in_time(seconds=120):
    """A session that takes so long never ends."""

    def end():
        print("the session does not end", file=sys.stderr, flush=True)
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


class Job:
    """What the calls of a session carry, and whether an answer is right."""

    def __init__(self, session):
        work = session["work"]
        self.function = {"W2": "echo", "W3": "total", "burn1ms": "burn"}.get(work, "predict")
        if work == "W2":
            self.input = document()
        elif work == "W3":
            import numpy

            self.input = numpy.arange(FLOATS, dtype="<f8")
            self._expected = FLOATS * (FLOATS - 1) / 2
        elif work == "burn1ms":
            self.input = {"rounds": session["burn_rounds"]}
            self._expected = sum(number & 7 for number in range(session["burn_rounds"]))
        else:
            self.input = {"value": 42}
            self._expected = 84

    def check(self, answer):
        if self.function == "echo":
            rows = answer["rows"]
            right = len(rows) == ROWS and rows[-1] == self.input["rows"][-1]
        else:
            right = answer["result"] == self._expected
        if not right:
            raise ValueError("a wrong answer")


def document():
    """The same as that of the Rust clients."""
    return {
        "rows": [
            {
                "active": number % 3 == 0,
                "id": number,
                "name": f"item {number:05}",
                "score": number / 8,
                "tags": ["red", "green"],
            }
            for number in range(ROWS)
        ]
    }


def take(session, step, peer, job, pids):
    in_flight = step.get("in_flight", 0)
    if step["mode"] == "closed-loop":
        closed_loop(peer, job, session["workers"], in_flight, step["seconds"] / 10)
    before = sample(pids)
    begin = time.perf_counter()
    if step["mode"] == "closed-loop":
        latencies = closed_loop(peer, job, session["workers"], in_flight, step["seconds"])
    elif step["mode"] == "fixed-rate":
        latencies = fixed_rate(peer, job, step["per_second"], step["seconds"])
    else:
        raise ValueError(f"no such step: {step}")
    elapsed = time.perf_counter() - begin
    after = sample(pids)
    latencies.sort()
    calls = len(latencies)
    return {
        **{key: session[key] for key in ("peer", "work", "runtime", "placement", "workers")},
        "mode": step["mode"],
        "in_flight": in_flight,
        "rate_per_s": step.get("per_second", 0),
        "p50_us": quantile_us(latencies, 0.5),
        "p99_us": quantile_us(latencies, 0.99),
        "p999_us": quantile_us(latencies, 0.999),
        "calls_per_s": calls / elapsed,
        "cpu_us_client": (after["client_cpu"] - before["client_cpu"]) / 1e3 / calls,
        "cpu_us_worker": (after["worker_cpu"] - before["worker_cpu"]) / 1e3 / calls,
        "heap_client_kib": after["client_heap"],
        "rss_client_kib": after["client_rss"],
        "rss_worker_kib": after["worker_rss"],
        "calls": calls,
        "repeats": 1,
    }


def closed_loop(peer, job, workers, in_flight, seconds):
    """Keeps `in_flight` calls under way; each worker answers its own in order."""
    clock = time.perf_counter_ns
    sent = [[] for _ in range(workers)]
    latencies = []
    for call in range(in_flight):
        sent[call % workers].append(clock())
        peer.send(call % workers, job.input)
    busy = [worker for worker in range(workers) if sent[worker]]
    # A ring of send times for each worker: the oldest is answered next.
    heads = [0] * workers
    end = clock() + int(seconds * 1e9)
    now = 0
    while now < end:
        for worker in busy:
            answer = peer.receive(worker)
            now = clock()
            job.check(answer)
            times, head = sent[worker], heads[worker]
            latencies.append(now - times[head])
            times[head] = clock()
            heads[worker] = (head + 1) % len(times)
            peer.send(worker, job.input)
    for worker in busy:
        for _ in sent[worker]:
            job.check(peer.receive(worker))
    return latencies


def fixed_rate(peer, job, per_second, seconds):
    """Calls one after another, each measured from when it was due."""
    wake_in_time()
    latencies = []
    start = time.perf_counter()
    for call in range(int(per_second * seconds)):
        due = start + (call + 1) / per_second
        wait = due - time.perf_counter()
        if wait > 0:
            time.sleep(wait)
        peer.send(0, job.input)
        job.check(peer.receive(0))
        latencies.append(int((time.perf_counter() - due) * 1e9))
    return latencies


def wake_in_time():
    """The system may let a sleeping thread oversleep by 50 µs, to save power."""
    set_timer_slack = 29
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(set_timer_slack, 1)


def quantile_us(ordered, quantile):
    return ordered[round((len(ordered) - 1) * quantile)] / 1e3


def sample(pids):
    own = memory(os.getpid())
    return {
        "client_cpu": cpu_ns(os.getpid()),
        "worker_cpu": sum(map(cpu_ns, pids)),
        "client_heap": own["RssAnon"],
        "client_rss": own["VmRSS"],
        "worker_rss": sum(memory(pid)["VmRSS"] for pid in pids),
    }


def memory(pid):
    fields = {"VmRSS": 0, "RssAnon": 0}
    status = Path(f"/proc/{pid}/status")
    if status.exists():
        for line in status.read_text().splitlines():
            name, _, value = line.partition(":")
            if name in fields:
                fields[name] = int(value.split()[0])
    return fields


def cpu_ns(pid):
    threads = Path(f"/proc/{pid}/task")
    if not threads.exists():
        return 0
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads.iterdir())


def place_apart(pids):
    if not hasattr(os, "sched_setaffinity"):
        return
    for core, processes in ((0, [os.getpid()]), (1, pids)):
        for pid in processes:
            for thread in Path(f"/proc/{pid}/task").iterdir():
                os.sched_setaffinity(int(thread.name), {core})

"""Waits for sockets: asleep, or spinning for a limited time first."""

import os
import select
import time
from typing import Optional

from pyproc_worker._limits import SPIN_MISSES, SPIN_REST

Events = list[tuple[int, int]]

_give_way = getattr(os, "sched_yield", lambda: time.sleep(0))


class Spin:
    """Polls for up to `duration_us` microseconds before it sleeps.

    Waking a sleeping process takes longer than most functions run, but spinning occupies a
    processor. A spin without events is a miss. After `SPIN_MISSES` misses in a row it sleeps at
    once, until `SPIN_REST` messages have arrived. An idle worker never spins.
    """

    def __init__(self, poll: "select.poll", duration_us: int) -> None:
        self._poll = poll
        self._duration = duration_us / 1_000_000
        self._misses = 0
        self._rest = 0

    def wait(self, timeout: Optional[float], may_spin: bool) -> Events:
        """The events of the descriptors; after `timeout` milliseconds, none."""
        if not self._duration or timeout == 0 or not may_spin:
            return self._poll.poll(timeout)
        if self._rest:
            events = self._poll.poll(timeout)
            self._rest -= bool(events)
            return events
        return self._look() or self._poll.poll(timeout)

    def _look(self) -> Events:
        end = time.perf_counter() + self._duration
        while time.perf_counter() < end:
            events = self._poll.poll(0)
            if events:
                self._misses = 0
                return events
            _give_way()
        self._misses += 1
        if self._misses >= SPIN_MISSES:
            self._misses, self._rest = 0, SPIN_REST
        return []

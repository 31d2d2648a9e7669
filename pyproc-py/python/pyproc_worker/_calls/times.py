"""Start and duration of functions, for requests of version 2 that ask for them."""

from __future__ import annotations

import struct
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import Any, Callable

_pack = struct.Struct(">QQ").pack


class Stopwatch:
    """Runs one function and measures its start and duration."""

    __slots__ = ("_began", "_duration", "_start")

    def __init__(self) -> None:
        self._start = 0

    def run(self, call: Callable[[Any], Any], body: Any) -> Any:
        """Runs `call(body)`."""
        self._begin()
        try:
            return call(body)
        finally:
            self._end()

    async def run_async(self, call: Callable[[Any], Awaitable[Any]], body: Any) -> Any:
        """Runs `await call(body)`."""
        self._begin()
        try:
            return await call(body)
        finally:
            self._end()

    def packed(self) -> bytes:
        """Start and duration in nanoseconds, encoded; empty if the function did not run."""
        return _pack(self._start, self._duration) if self._start else b""

    def _begin(self) -> None:
        self._start = time.time_ns()
        self._began = time.perf_counter_ns()

    def _end(self) -> None:
        self._duration = time.perf_counter_ns() - self._began

"""Sends printed lines to the client, with the call that prints them.

While a client takes logs, `sys.stdout` and `sys.stderr` are `ForwardedStream`s. Lines of one write
are one record, so that the client keeps them together. Lines that the client does not take, or that
exceed the rate limit, are written to the original stream.
"""

from __future__ import annotations

import contextlib
import io
import sys
import threading
import time

from pyproc_worker._calls.current import current_call
from pyproc_worker._telemetry.log_records import here, send_line
from pyproc_worker._telemetry.records import RECORD_LIMIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyproc_worker._calls.current import Call

INFO = 20

MOST_LINES = 10_000
"""The rate limit: records per second. Further lines take the pipe, which costs the client less.

A line counts once, and once more for each 1024 characters.
"""

_LONGEST = RECORD_LIMIT // 4  # characters of a record


class ForwardedStream(io.TextIOBase):
    """Replaces a text stream. All operations except writing use the original."""

    def __init__(self, original: io.TextIOBase, name: str) -> None:
        self._original = original
        self._stream = name
        self._member = f',"stream":"{name}"'
        self._partial: dict[int, _PartialLine] = {}
        """Incomplete lines, by the id of the thread."""

    def write(self, text: str) -> int:
        """Sends complete lines, and keeps the rest for the thread's next write."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        thread, call = threading.get_ident(), current_call()
        partial = self._partial.pop(thread, None)
        if partial is None or partial.call is not call:
            if partial is not None:
                self._finish(partial)  # of another call
            partial = _PartialLine(call, here(call))
        lines, end, partial.text = (partial.text + text).rpartition("\n")
        if end:
            self._send_lines(lines, partial)
        if "\r" in partial.text:
            partial.text = _refreshed(partial.text)
        if len(partial.text) > _LONGEST or (partial.is_in_original and partial.text):
            self._finish(partial)
        if partial.text or partial.is_in_original:
            self._partial[thread] = partial
        return len(text)

    def flush(self) -> None:
        """Also sends the thread's incomplete line, unless it is overwritten like a progress bar."""
        thread = threading.get_ident()
        partial = self._partial.get(thread)
        if partial is None or "\r" not in partial.text:
            self._finish_of(thread)
        self._original.flush()

    def finish(self) -> None:
        """Sends the incomplete lines of all threads."""
        for thread in list(self._partial):
            self._finish_of(thread)
        self._original.flush()

    def _finish_of(self, thread: int) -> None:
        partial = self._partial.pop(thread, None)  # the thread itself may take it at the same time
        if partial is not None:
            self._finish(partial)
            if partial.is_in_original:
                self._partial[thread] = partial

    def _finish(self, partial: _PartialLine) -> None:
        line, partial.text = partial.text, ""
        if line:
            self._send(line, "", partial)

    def _send_lines(self, lines: str, partial: _PartialLine) -> None:
        if "\n" in lines and (partial.is_in_original or len(lines) > _LONGEST):
            for line in lines.split("\n"):
                self._send(line, "\n", partial)
        else:
            self._send(lines, "\n", partial)

    def _send(self, text: str, end: str, partial: _PartialLine) -> None:
        if "\r" in text:
            text = "\n".join(map(_last_state, text.split("\n")))
        if not partial.is_in_original and len(text) <= _LONGEST and _rate.allows(text):
            more = self._member + partial.place
            if send_line(text, self._stream, INFO, more, partial.call):
                return
        self._original.write(text + end)
        partial.is_in_original = not end

    # Delegation to the original. `TextIOBase` defines the first ones itself.

    @property
    def encoding(self) -> Any:  # type: ignore[override]
        return self._original.encoding

    @property
    def errors(self) -> Any:  # type: ignore[override]
        return self._original.errors

    @property
    def newlines(self) -> Any:  # type: ignore[override]
        return self._original.newlines

    def fileno(self) -> int:
        return self._original.fileno()

    def isatty(self) -> bool:
        return self._original.isatty()

    def writable(self) -> bool:
        return self._original.writable()

    def detach(self) -> Any:
        self.flush()
        return self._original.detach()

    def close(self) -> None:
        """Does nothing: the process's streams stay open."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


class _PartialLine:
    """An incomplete line of a thread, and its call."""

    __slots__ = ("call", "is_in_original", "place", "text")

    def __init__(self, call: Call | None, place: str) -> None:
        self.text = ""
        self.call = call
        self.place = place
        self.is_in_original = False
        """Its beginning was written to the original, and so is the rest."""


def _last_state(line: str) -> str:
    """The visible part of a line that was overwritten, like a progress bar."""
    return line.rstrip("\r").rpartition("\r")[2]


def _refreshed(line: str) -> str:
    """The visible part of a line that may be overwritten again."""
    begin_anew = "\r" if line[-1] == "\r" else ""
    return f"\r{_last_state(line)}{begin_anew}"


class _Rate:
    """Counts lines per second. Concurrent threads may exceed the limit by one."""

    def __init__(self) -> None:
        self._since = 0.0
        self._count = 0

    def allows(self, text: str) -> bool:
        now = time.monotonic()
        if now - self._since >= 1.0:
            self._since, self._count = now, 0
        self._count += 1 + text.count("\n") + len(text) // 1024
        return self._count <= MOST_LINES


_rate = _Rate()


def install() -> None:
    """From now on lines are sent as records, unless the script has replaced the streams."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and stream is getattr(sys, f"__{name}__"):
            forwarded = ForwardedStream(stream, name)
            setattr(sys, name, forwarded)
            _give_to_loguru(stream, forwarded)


def _give_to_loguru(original: Any, forwarded: ForwardedStream) -> None:
    """Replaces the stream in loguru's sinks, which keep a reference to the original. loguru has no
    interface for that, so its attributes are checked first."""
    logger = getattr(sys.modules.get("loguru"), "logger", None)
    handlers = getattr(getattr(logger, "_core", None), "handlers", None)
    for handler in dict(handlers).values() if isinstance(handlers, dict) else ():
        sink: Any = getattr(handler, "_sink", None)
        if getattr(sink, "_stream", None) is original:
            sink._stream = forwarded


def finish() -> None:
    """Sends incomplete lines."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, ForwardedStream):
            with contextlib.suppress(OSError, ValueError):
                stream.finish()


def remove() -> None:
    """Restores the streams."""
    finish()
    for name in ("stdout", "stderr"):
        if isinstance(getattr(sys, name), ForwardedStream):
            setattr(sys, name, getattr(sys, f"__{name}__"))

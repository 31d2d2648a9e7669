"""What functions print, with the call that it belongs to.

While a client takes logs, `sys.stdout` and `sys.stderr` are `ForwardedStream`s. Lines that are
written at once leave as one record: the client sees what belongs together. What the client does not
take, or is of a flood, is written where it would have been.
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
"""Lines a second that leave as records. Those beyond cost the client less by the pipe.

One of 1024 characters or more counts as one for each 1024 more.
"""

_LONGEST = RECORD_LIMIT // 4  # characters that leave as a record


class ForwardedStream(io.TextIOBase):
    """Stands in for a stream of text: all but what is written goes to the original."""

    def __init__(self, original: io.TextIOBase, name: str) -> None:
        self._original = original
        self._stream = name
        self._member = f',"stream":"{name}"'
        self._begun: dict[int, _Begun] = {}
        """The lines that threads have begun, by the threads' ids."""

    def write(self, text: str) -> int:
        """Sends the lines that are complete, and keeps the rest for the thread's next write."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        thread, call = threading.get_ident(), current_call()
        begun = self._begun.pop(thread, None)
        if begun is None or begun.call is not call:
            if begun is not None:
                self._finish(begun)  # another call has left it behind
            begun = _Begun(call, here(call))
        lines, end, begun.text = (begun.text + text).rpartition("\n")
        if end:
            self._send_lines(lines, begun)
        if "\r" in begun.text:
            begun.text = _refreshed(begun.text)
        if len(begun.text) > _LONGEST or (begun.is_elsewhere and begun.text):
            self._finish(begun)
        if begun.text or begun.is_elsewhere:
            self._begun[thread] = begun
        return len(text)

    def flush(self) -> None:
        """Sends the thread's line as it is, too, unless it is refreshed as a progress bar's."""
        thread = threading.get_ident()
        begun = self._begun.get(thread)
        if begun is None or "\r" not in begun.text:
            self._finish_of(thread)
        self._original.flush()

    def finish(self) -> None:
        """Sends the lines of all threads as they are."""
        for thread in list(self._begun):
            self._finish_of(thread)
        self._original.flush()

    def _finish_of(self, thread: int) -> None:
        begun = self._begun.pop(thread, None)  # which the thread itself may be about to take
        if begun is not None:
            self._finish(begun)
            if begun.is_elsewhere:
                self._begun[thread] = begun

    def _finish(self, begun: _Begun) -> None:
        line, begun.text = begun.text, ""
        if line:
            self._send(line, "", begun)

    def _send_lines(self, lines: str, begun: _Begun) -> None:
        if "\n" in lines and (begun.is_elsewhere or len(lines) > _LONGEST):
            for line in lines.split("\n"):
                self._send(line, "\n", begun)
        else:
            self._send(lines, "\n", begun)

    def _send(self, text: str, end: str, begun: _Begun) -> None:
        if "\r" in text:
            text = "\n".join(map(_last_state, text.split("\n")))
        if not begun.is_elsewhere and len(text) <= _LONGEST and _rate.allows(text):
            more = self._member + begun.place
            if send_line(text, self._stream, INFO, more, begun.call):
                return
        self._original.write(text + end)
        begun.is_elsewhere = not end

    # Of the original. The first ones `TextIOBase` would answer itself.

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
        """The streams of a process stay open until its end."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


class _Begun:
    """A line that a thread has begun, and where it did."""

    __slots__ = ("call", "is_elsewhere", "place", "text")

    def __init__(self, call: Call | None, place: str) -> None:
        self.text = ""
        self.call = call
        self.place = place
        self.is_elsewhere = False
        """Its beginning went to the original, and so does the rest."""


def _last_state(line: str) -> str:
    """What is left of a line that was written over, as progress bars do."""
    return line.rstrip("\r").rpartition("\r")[2]


def _refreshed(line: str) -> str:
    """The same of a line that may be written over again."""
    begin_anew = "\r" if line[-1] == "\r" else ""
    return f"\r{_last_state(line)}{begin_anew}"


class _Rate:
    """Counts lines by the second. Threads that count at the same time may let one more through."""

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
    """Lines leave as records from now on, unless the script has put other streams there."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and stream is getattr(sys, f"__{name}__"):
            forwarded = ForwardedStream(stream, name)
            setattr(sys, name, forwarded)
            _give_to_loguru(stream, forwarded)


def _give_to_loguru(original: Any, forwarded: ForwardedStream) -> None:
    """Its sinks keep the stream that they were given, before there was a client. Nothing else
    changes them, so they are looked for where they are, if they still are there."""
    logger = getattr(sys.modules.get("loguru"), "logger", None)
    handlers = getattr(getattr(logger, "_core", None), "handlers", None)
    for handler in dict(handlers).values() if isinstance(handlers, dict) else ():
        sink: Any = getattr(handler, "_sink", None)
        if getattr(sink, "_stream", None) is original:
            sink._stream = forwarded


def finish() -> None:
    """Sends the lines that threads have begun."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, ForwardedStream):
            with contextlib.suppress(OSError, ValueError):
                stream.finish()


def remove() -> None:
    """Lines go the process's own way again."""
    finish()
    for name in ("stdout", "stderr"):
        if isinstance(getattr(sys, name), ForwardedStream):
            setattr(sys, name, getattr(sys, f"__{name}__"))

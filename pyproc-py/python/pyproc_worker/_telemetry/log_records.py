"""Encodes log records: of `logging`, of printed lines, and of the worker itself."""

from __future__ import annotations

import threading
import time

from pyproc_worker import _log
from pyproc_worker._calls.current import current_call
from pyproc_worker._telemetry.json_text import encoded, members, quote
from pyproc_worker._telemetry.records import LOGS, RECORD_LIMIT, channel_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from pyproc_worker._calls.current import Call

    Ids = tuple[str, str, int]
    """Trace id and span id, both in hexadecimal digits, and flags."""

current_span: Callable[[], Ids | None] | None = None
"""Returns the ids of OpenTelemetry's current span, if any. Set when OpenTelemetry is loaded."""


def send_line(text: str, logger: str, level: int, more: str, call: Call | None) -> bool:
    """Sends a text of a call as a log record with the current time.

    `more` are further members as JSON. Returns whether it was sent.
    """
    channel = channel_for(LOGS, call)
    if channel is None:
        return False
    record = encoded(
        f'{{"type":"log","time":{time.time_ns()},"level":{level},"logger":{quote(logger)},'
        f'"message":{quote(text)}{more}}}\n'
    )
    return len(record) <= RECORD_LIMIT and channel.send(record)


def send_of_worker(level: int, text: str, traceback: str) -> bool:
    """Sends a log line of the worker itself. Returns whether it was sent."""
    call = current_call()
    more = f',"exception":{quote(traceback)}' if traceback else ""
    return send_line(text, _log.NAME, level, more + here(call), call)


def here(call: Call | None) -> str:
    """The current thread, call and span, as members of a JSON object."""
    return f',"thread":{quote(threading.current_thread().name)}{place(call)}'


def place(call: Call | None) -> str:
    """The call and the current span, as members of a JSON object."""
    ids = None if current_span is None else current_span()
    if call is None:
        return "" if ids is None else _ids(*ids)
    if ids is None and call.trace is not None:
        trace_id, span_id, flags = call.trace
        ids = trace_id.hex(), span_id.hex(), flags
    baggage = f',"baggage":{members(call.baggage)}' if "baggage" in call.headers else ""
    span = "" if ids is None else _ids(*ids)
    return f',"function":{quote(call.function)}{span}{baggage}'


def _ids(trace_id: str, span_id: str, flags: int) -> str:
    return f',"trace_id":"{trace_id}","span_id":"{span_id}","trace_flags":"{flags & 255:02x}"'

"""Takes the records of `logging` to the client, at once and in their parts.

It is loaded when `logging` is, and only if a client asked for logs.
"""

from __future__ import annotations

import functools
import logging
import sys
import threading
import traceback
from typing import Any
from weakref import ref

from pyproc_worker import _log
from pyproc_worker._calls.current import Call, current_call
from pyproc_worker._system import unpatched
from pyproc_worker._telemetry.json_text import (
    bounded,
    encoded,
    quote,
    shortened,
    shortened_amid,
    text_of,
)
from pyproc_worker._telemetry.log_records import place
from pyproc_worker._telemetry.records import LOGS, RECORD_LIMIT, channel_for, lost
from pyproc_worker._telemetry.stdio import ForwardedStream

MESSAGE, EXCEPTION, STACK, FIELDS = 16 * 1024, 20 * 1024, 4 * 1024, 12 * 1024
"""Characters of a record's parts."""

_WORST_CASE = 8  # bytes that a character takes in JSON, and a bit more

_PLAIN = logging.makeLogRecord({}).__dict__
_STANDARD = frozenset([*_PLAIN, "message", "asctime", "taskName"])


class ForwardingHandler(logging.Handler):
    """Sends each record while the function that logs waits: what was logged survives a crash."""

    def createLock(self) -> None:
        self.lock = None  # a record is made from nothing that threads share

    def handle(self, record: logging.LogRecord) -> bool:
        kept: Any = record
        if self.filters:
            kept = self.filter(record)
            if not kept:
                return False
            kept = record if kept is True else kept
        try:
            if not _sends(record, kept):
                _count_lost(record)
        except Exception:
            self.handleError(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        self.handle(record)


def _sends(record: logging.LogRecord, kept: logging.LogRecord) -> bool:
    """Whether the record leaves for a client, or has left; `kept` is what a filter made of it."""
    sent = getattr(_here, "sent", None)
    if sent is not None and sent() is record:
        return True
    call = current_call()
    channel = channel_for(LOGS, call)
    if channel is None:
        return False
    line = _line(kept, call)
    if len(line) > RECORD_LIMIT:
        line = _line(kept, call, _WORST_CASE)
    if not lost.send(channel, line):
        return False
    _here.sent = ref(record)  # as the handlers to come get it
    return True


def _count_lost(record: logging.LogRecord) -> None:
    """Unless one of the root's handlers writes it, to the process's own output."""
    channel = channel_for(LOGS, current_call())
    writers = filter(_writes_to_output, _root.handlers)
    if channel is not None and not any(record.levelno >= writer.level for writer in writers):
        lost.add(channel, LOGS)


def _filter(handler: logging.StreamHandler[Any], record: logging.LogRecord) -> Any:
    """Stands in for `StreamHandler.filter`: those that write to the process's own output pass over
    what leaves for a client, also of loggers that hand on nothing to the root."""
    kept: Any = logging.Filterer.filter(handler, record)
    if not kept or not _writes_to_output(handler):
        return kept
    try:
        leaves = _sends(record, record if kept is True else kept)
    except Exception:
        handler.handleError(record)
        leaves = False
    return False if leaves else kept


class _Installed:
    """What stands in the root logger now."""

    handler: ForwardingHandler | None = None


def install() -> None:
    """From now on records go to the client; doing it twice does nothing."""
    with _lock:
        if _Installed.handler is None:
            _log.set_up_logging(logging)
            _Installed.handler = ForwardingHandler()
            _root.handlers.insert(0, _Installed.handler)  # before those that would write
            logging.StreamHandler.filter = _filter  # type: ignore[assignment]


def remove() -> None:
    """Leaves the root logger as it was."""
    with _lock:
        if _Installed.handler is not None:
            del logging.StreamHandler.filter
            _root.removeHandler(_Installed.handler)
            _Installed.handler.close()
            _Installed.handler = None
    _log.set_up_logging(logging)  # if nothing else is left


def _writes_to_output(handler: logging.Handler) -> bool:
    if not isinstance(handler, logging.StreamHandler):
        return False
    stream = handler.stream
    outputs = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    return isinstance(stream, ForwardedStream) or any(stream is output for output in outputs)


def _line(record: logging.LogRecord, call: Call | None, scale: int = 1) -> bytes:
    """The record; its parts are cut to their limits divided by `scale`."""
    message, fields = _message_and_fields(record)
    more = ""
    if record.exc_info or record.exc_text:
        more = f',"exception":{quote(shortened_amid(_exception(record), EXCEPTION // scale))}'
    if record.stack_info:
        more += f',"stack":{quote(shortened_amid(text_of(record.stack_info), STACK // scale))}'
    if fields:
        more += f',"fields":{bounded(fields.items(), FIELDS // scale)}'
    level = max(0, int(record.levelno or 0))
    line = (
        f'{{"type":"log","time":{int(record.created * 1e9)},"level":{level},'
        f'"logger":{_name(record.name)},"message":{quote(shortened(message, MESSAGE // scale))},'
        f'"thread":{_name(record.threadName)},"file":{_name(record.pathname)},'
        f'"line":{int(record.lineno or 0)}{place(call)}{more}}}\n'
    )
    return encoded(line)


@functools.lru_cache(maxsize=1024)
def _name(name: Any) -> str:
    return quote(shortened(name if isinstance(name, str) else text_of(name), 512))


def _message_and_fields(record: logging.LogRecord) -> tuple[str, dict[Any, Any]]:
    fields = record.__dict__
    # Most records have nothing beyond what all have, and the number of attributes tells that.
    if len(fields) > len(_PLAIN):
        fields = {k: v for k, v in fields.items() if k not in _STANDARD and str(k)[:1] != "_"}
    else:
        fields = {}
    if type(record.msg) is dict and not record.args:  # structlog, with its formatter to come
        fields.update(record.msg)
        return _event(fields), fields
    try:
        message = record.getMessage()
        if message[:1] == "{":
            fields = {**(_parsed(message) or {}), **fields}
            message = _event(fields) or message
        return message, fields
    except Exception as error:
        message = f"{text_of(record.msg)} (cannot be formatted: {type(error).__name__})"
        return message, {**fields, "args": record.args}


def _parsed(message: str) -> dict[Any, Any] | None:
    """The parts of a message that is an event as JSON, as structlog may render it."""
    json: Any = sys.modules.get("json")  # without it nobody can have rendered any
    if json is None:
        return None
    try:
        parts = json.loads(message)
    except ValueError:
        return None
    return parts if "event" in parts else None


def _event(fields: dict[Any, Any]) -> str:
    """Takes the message out of what structlog calls an event."""
    for name in ("event", "message", "msg"):
        if name in fields:
            return text_of(fields.pop(name))
    return ""


def _exception(record: logging.LogRecord) -> str:
    if record.exc_text:
        return record.exc_text
    try:
        lines = traceback.format_exception(*record.exc_info)  # type: ignore[misc]
        return "".join(lines).rstrip("\n")
    except Exception as error:  # of an exception that cannot tell what it is
        return f"an exception whose traceback cannot be written: {type(error).__name__}"


_lock = unpatched.RLock()
_here = threading.local()
"""The last record of this thread that was sent, which may be gone."""
_root = logging.getLogger()

"""Sends the records of `logging` to the client, at once and as structured fields.

It is loaded after `logging`, and only if a client asked for logs.
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
"""The largest sizes of a record's parts in characters."""

_WORST_CASE = 8  # bytes of a character in JSON, with a margin

_PLAIN = logging.makeLogRecord({}).__dict__
_STANDARD = frozenset([*_PLAIN, "message", "asctime", "taskName"])


class ForwardingHandler(logging.Handler):
    """Sends each record before the logging call returns, so that records survive a crash."""

    def createLock(self) -> None:
        self.lock = None  # threads share no state here

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
    """Sends the record unless it was sent already. Returns whether it is sent.

    `kept` is the record after the filters.
    """
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
    _here.sent = ref(record)  # as later handlers get it, too
    return True


def _count_lost(record: logging.LogRecord) -> None:
    """Counts the record as lost, unless a handler of the root writes it to stdout or stderr."""
    channel = channel_for(LOGS, current_call())
    writers = filter(_writes_to_output, _root.handlers)
    if channel is not None and not any(record.levelno >= writer.level for writer in writers):
        lost.add(channel, LOGS)


def _filter(handler: logging.StreamHandler[Any], record: logging.LogRecord) -> Any:
    """Replaces `StreamHandler.filter`: handlers of stdout and stderr skip records sent to a
    client. So does the handler of a logger that does not propagate to the root."""
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
    """The handler in the root logger."""

    handler: ForwardingHandler | None = None


def install() -> None:
    """From now on records go to the client. Idempotent."""
    with _lock:
        if _Installed.handler is None:
            _log.set_up_logging(logging)
            _Installed.handler = ForwardingHandler()
            _root.handlers.insert(0, _Installed.handler)  # before the handlers that write
            logging.StreamHandler.filter = _filter  # type: ignore[assignment]


def remove() -> None:
    """Restores the root logger."""
    with _lock:
        if _Installed.handler is not None:
            del logging.StreamHandler.filter
            _root.removeHandler(_Installed.handler)
            _Installed.handler.close()
            _Installed.handler = None
    _log.set_up_logging(logging)  # adds a handler if none is left


def _writes_to_output(handler: logging.Handler) -> bool:
    if not isinstance(handler, logging.StreamHandler):
        return False
    stream = handler.stream
    outputs = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    return isinstance(stream, ForwardedStream) or any(stream is output for output in outputs)


def _line(record: logging.LogRecord, call: Call | None, scale: int = 1) -> bytes:
    """The encoded record; its parts are cut to their limits divided by `scale`."""
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
    # Most records have no other attributes than all have, and so the same number.
    if len(fields) > len(_PLAIN):
        fields = {k: v for k, v in fields.items() if k not in _STANDARD and str(k)[:1] != "_"}
    else:
        fields = {}
    if type(record.msg) is dict and not record.args:  # structlog, before its formatter
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
    """The fields of a message that is an event of structlog in JSON; None for other messages."""
    json: Any = sys.modules.get("json")  # without it, the message is not JSON
    if json is None:
        return None
    try:
        parts = json.loads(message)
    except ValueError:
        return None
    return parts if "event" in parts else None


def _event(fields: dict[Any, Any]) -> str:
    """Removes the message from the fields of an event of structlog, and returns it."""
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
    except Exception as error:  # raised by the exception's own methods
        return f"an exception whose traceback cannot be written: {type(error).__name__}"


_lock = unpatched.RLock()
_here = threading.local()
"""A weak reference to the last record that this thread has sent."""
_root = logging.getLogger()

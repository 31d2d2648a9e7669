"""Takes the records of `logging` to the client, at once and in their parts.

It is loaded when `logging` is, and only if a client asked for logs.
"""

from __future__ import annotations

import functools
import logging
import sys
import threading
import traceback
from typing import Any, ClassVar
from weakref import ref

from pyproc_worker import _log, _unpatched
from pyproc_worker._call import Call, current_call
from pyproc_worker._json_text import (
    bounded,
    encoded,
    quote,
    shortened,
    shortened_amid,
    text_of,
)
from pyproc_worker._log_records import place
from pyproc_worker._records import LOGS, RECORD_LIMIT, channel_for, lost
from pyproc_worker._stdio import ForwardedStream

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
        if len(_root.handlers) != _Installed.known:
            _silence()
        kept: Any = record
        if self.filters:
            kept = self.filter(record)
            if not kept:
                return False
            kept = record if kept is True else kept
        _here.sent = None
        try:
            if self._send(kept):
                _here.sent = ref(record)  # as the handlers to come get it
        except Exception:
            self.handleError(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        self.handle(record)

    def _send(self, record: logging.LogRecord) -> bool:
        call = current_call()
        channel = channel_for(LOGS, call)
        if channel is None:
            return False
        line = _line(record, call)
        if len(line) > RECORD_LIMIT:
            line = _line(record, call, _WORST_CASE)
        if lost.send(channel, line):
            return True
        if not any(record.levelno >= handler.level for handler in _Installed.silenced):
            lost.add(channel, LOGS)  # otherwise one of these writes it
        return False


class _Unsent:
    """Lets those records through that did not leave otherwise."""

    def filter(self, record: logging.LogRecord) -> bool:
        sent = getattr(_here, "sent", None)
        return _Installed.handler is None or sent is None or sent() is not record


class _Installed:
    """What stands in the root logger now."""

    handler: ForwardingHandler | None = None
    silenced: ClassVar[list[logging.Handler]] = []
    known = 0
    """How many handlers the root had when it was last looked at."""


def install() -> None:
    """From now on records go to the client; doing it twice does nothing."""
    with _lock:
        if _Installed.handler is None:
            _log.set_up_logging(logging)
            _Installed.handler = ForwardingHandler()
            _root.handlers.insert(0, _Installed.handler)  # before those that it silences
    _silence()


def remove() -> None:
    """Leaves the root logger as it was."""
    with _lock:
        if _Installed.handler is not None:
            _root.removeHandler(_Installed.handler)
            _Installed.handler.close()
            _Installed.handler = None
        for handler in _Installed.silenced:
            handler.removeFilter(_unsent)
        _Installed.silenced = []
        _Installed.known = 0
    _log.set_up_logging(logging)  # if nothing else is left


def _silence() -> None:
    """The root's handlers that write to the process's own output pass over what was sent."""
    with _lock:
        if _Installed.handler is None:
            return
        handlers = list(_root.handlers)
        _Installed.silenced = [handler for handler in handlers if _writes_to_output(handler)]
        for handler in _Installed.silenced:
            handler.addFilter(_unsent)
        _Installed.known = len(handlers)


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


_lock = _unpatched.RLock()
_here = threading.local()
"""The last record of this thread that was sent, which may be gone."""
_unsent = _Unsent()
_root = logging.getLogger()

"""A tracer provider for scripts that have set none: its spans go to the pool.

It needs only OpenTelemetry's API. A span is recorded if its parent is sampled. Spans without a
parent are not recorded, as the pool decides which traces exist.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry import trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from pyproc_worker._otel.spans import LONGEST_TEXT, send_span
from pyproc_worker._system import unpatched
from pyproc_worker._telemetry.json_text import text_of

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.util import types

try:  # it also decorates coroutines, but is private
    from opentelemetry.util._decorator import _agnosticcontextmanager as contextmanager
except ImportError:
    from contextlib import contextmanager  # type: ignore[assignment]

LIMIT = 128
"""Largest numbers of attributes, events and links of a span; the SDK's defaults."""


class Scope(NamedTuple):
    """The instrumentation scope of spans."""

    name: str
    version: str | None
    schema_url: str | None
    attributes: Any


class Event(NamedTuple):
    """An event of a span."""

    name: str
    timestamp: int
    attributes: BoundedAttributes


class Provider(trace.TracerProvider):
    """See `opentelemetry.trace.TracerProvider`."""

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: types.Attributes = None,
    ) -> trace.Tracer:
        name, version = instrumenting_module_name, instrumenting_library_version
        return Tracer(Scope(name or "", version, schema_url, attributes))


class Tracer(trace.Tracer):
    """See `opentelemetry.trace.Tracer`."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: types.Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> trace.Span:
        parent = trace.get_current_span(context).get_span_context()
        if not (parent.is_valid and parent.trace_flags.sampled):
            return trace.NonRecordingSpan(parent) if parent.is_valid else trace.INVALID_SPAN
        span = Span(name, parent, kind, self._scope, start_time)
        span.on_exception = record_exception, set_status_on_exception
        span.set_attributes(attributes or {})
        for link in links or ():
            span.add_link(link.context, link.attributes)
        return span

    @contextmanager
    def start_as_current_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: types.Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> Iterator[trace.Span]:
        span = self.start_span(name, context, kind, attributes, links, start_time)
        with trace.use_span(span, end_on_exit, record_exception, set_status_on_exception):
            yield span


class Span(trace.Span):
    """See `opentelemetry.trace.Span`. It has the attributes of the SDK's `ReadableSpan`."""

    resource = None
    on_exception = (True, True)
    """Whether an exception that leaves the `with` statement is recorded, and sets the status."""

    def __init__(
        self,
        name: str,
        parent: SpanContext,
        kind: SpanKind,
        scope: Scope,
        start_time: int | None,
    ) -> None:
        self.name = name
        self.parent = parent
        self.kind = kind
        self.instrumentation_scope = scope
        self.start_time = time.time_ns() if start_time is None else start_time
        self.end_time: int | None = None
        self.attributes = _no_attributes()
        self.events: list[Event] = []
        self.links: list[Link] = []
        self.status = Status()
        self.dropped_events = 0
        self.dropped_links = 0
        self._lock = unpatched.Lock()
        self._context = SpanContext(
            parent.trace_id, _new_id(), False, TraceFlags(parent.trace_flags), parent.trace_state
        )

    @property
    def dropped_attributes(self) -> int:
        return self.attributes.dropped

    def get_span_context(self) -> SpanContext:
        return self._context

    def is_recording(self) -> bool:
        return self.end_time is None

    def end(self, end_time: int | None = None) -> None:
        with self._lock:
            if self.end_time is not None:
                return
            self.end_time = time.time_ns() if end_time is None else end_time
        send_span(self)

    def update_name(self, name: str) -> None:
        if self.is_recording():
            self.name = name

    def set_attributes(self, attributes: Any) -> None:
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def set_attribute(self, key: str, value: Any) -> None:
        if self.is_recording():
            self.attributes[key] = value

    def add_event(
        self, name: str, attributes: types.Attributes = None, timestamp: int | None = None
    ) -> None:
        at = time.time_ns() if timestamp is None else timestamp
        # Before the lock is taken: this may log, and a handler may add events.
        event = Event(name, at, _no_attributes(attributes))
        with self._lock:
            if not self.is_recording():
                return
            if len(self.events) == LIMIT:
                del self.events[0]  # like the SDK, it keeps the latest
                self.dropped_events += 1
            self.events.append(event)

    def add_link(self, context: SpanContext, attributes: types.Attributes = None) -> None:
        if context is None or not context.is_valid:
            return
        link = Link(context, _no_attributes(attributes))
        with self._lock:
            if not self.is_recording():
                return
            if len(self.links) == LIMIT:
                del self.links[0]
                self.dropped_links += 1
            self.links.append(link)

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """By the specification, OK is final, and UNSET is ignored."""
        new = status if isinstance(status, Status) else Status(status, description)
        final = self.status.status_code is StatusCode.OK or new.status_code is StatusCode.UNSET
        if self.is_recording() and not final:
            self.status = new

    def record_exception(
        self,
        exception: BaseException,
        attributes: types.Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        kind = type(exception)
        module = "" if kind.__module__ in (None, "builtins") else kind.__module__ + "."
        lines = traceback.format_exception(kind, exception, exception.__traceback__)
        recorded: dict[str, Any] = {
            "exception.type": module + kind.__qualname__,
            "exception.message": text_of(exception),
            "exception.stacktrace": "".join(lines),
            "exception.escaped": str(escaped),
            **(attributes or {}),
        }
        self.add_event("exception", recorded, timestamp)

    def __exit__(self, kind: Any, error: BaseException | None, trace_back: Any) -> None:
        """Ends the span at the end of the `with` statement."""
        if isinstance(error, Exception) and self.is_recording():
            record, is_status = self.on_exception
            if record:
                self.record_exception(error)
            if is_status:
                self.set_status(StatusCode.ERROR, f"{type(error).__name__}: {text_of(error)}")
        self.end()


def _no_attributes(attributes: types.Attributes = None) -> BoundedAttributes:
    """Attributes, of which at most `LIMIT` are kept."""
    return BoundedAttributes(LIMIT, attributes, False, LONGEST_TEXT)


def _new_id() -> int:
    while True:
        number = int.from_bytes(os.urandom(8), "big")
        if number:
            return number

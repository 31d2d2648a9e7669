"""Makes the call's span OpenTelemetry's current span, if the script uses OpenTelemetry.

Loaded after OpenTelemetry's API, never before.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import (
    NonRecordingSpan,
    ProxyTracerProvider,
    SpanContext,
    TraceFlags,
    TraceState,
    get_current_span,
    set_span_in_context,
)

from pyproc_worker import _log
from pyproc_worker._calls import current
from pyproc_worker._calls.current import Call
from pyproc_worker._system import unpatched
from pyproc_worker._telemetry import log_records
from pyproc_worker._telemetry.records import SPANS, channel_for

if TYPE_CHECKING:
    from contextvars import Token

    from pyproc_worker._calls.current import Placeholder
    from pyproc_worker._telemetry.log_records import Ids

SAMPLED = 0x01


def begin() -> None:
    """From now on the trace context of each call is OpenTelemetry's current context."""
    current.hook(_enter, _leave)
    log_records.current_span = _current_ids


class CallSpan(NonRecordingSpan):
    """The span of a call, which the pool records: here it only has a context.

    The context is decoded on demand, as most calls never use it.
    """

    def __init__(self, call: Call | Placeholder) -> None:
        self._call = call
        self._read: SpanContext | None = None

    def get_span_context(self) -> SpanContext:
        if self._read is None:
            call = self._call if isinstance(self._call, Call) else self._call.own()
            if call is None:
                return trace.INVALID_SPAN_CONTEXT
            self._read = _span_context(call)
        return self._read

    def __repr__(self) -> str:
        return f"CallSpan({self.get_span_context()!r})"


def _span_context(call: Call) -> SpanContext:
    if call.trace is None:
        return trace.INVALID_SPAN_CONTEXT
    trace_id, span_id, flags = call.trace
    state = call.headers.get("tracestate")
    return SpanContext(
        int.from_bytes(trace_id, "big"),
        int.from_bytes(span_id, "big"),
        True,
        TraceFlags(flags),
        TraceState.from_header([state]) if state else None,
    )


def _enter(call: Call) -> Token[Context] | None:
    """Never raises."""
    try:
        place = call.trace
        if place is None and "baggage" not in call.headers:
            return None
        if place is not None and place[2] & SAMPLED and not _Provider.is_set:
            _set_provider(call)
        context = Context({_SPAN_KEY: CallSpan(call)}) if place is not None else Context()
        if "baggage" in call.headers:
            context = _with_baggage(call, context)
        return attach(context)
    except Exception as error:
        _log.error("the trace context of a call cannot be used", error)
        return None


def _enter_placeholder(call: Placeholder) -> Token[Context] | None:
    """Never raises."""
    try:
        return attach(Context({_SPAN_KEY: CallSpan(call)}))
    except Exception as error:
        _log.error("the trace context of a call cannot be used", error)
        return None


def _leave(token: Token[Context] | None) -> None:
    if token is not None:
        detach(token)


def _with_baggage(call: Call, context: Context) -> Context:
    from opentelemetry import baggage

    for name, value in call.baggage.items():
        context = baggage.set_baggage(name, value, context)
    return context


def _current_ids() -> Ids | None:
    context = get_current_span().get_span_context()
    if not context.is_valid:
        return None
    trace_id, span_id = format(context.trace_id, "032x"), format(context.span_id, "016x")
    return trace_id, span_id, context.trace_flags


class _Provider:
    is_set = False
    """The receiver of the functions' spans has been set."""
    lock = unpatched.Lock()


def _set_provider(call: Call) -> None:
    """Sends spans to the pool, unless the script exports them itself.

    Done at the first sampled call, as a provider can be set only once, and the script's own has
    priority.
    """
    if channel_for(SPANS, call) is None:
        return
    with _Provider.lock:
        if _Provider.is_set:
            return
        _Provider.is_set = True
        _send_spans_of(trace.get_tracer_provider())
    current.hook_placeholders(_enter_placeholder)


def _send_spans_of(provider: Any) -> None:
    if isinstance(provider, ProxyTracerProvider):
        from pyproc_worker._otel.provider import Provider

        trace.set_tracer_provider(Provider())
    elif _is_without_processors(provider):
        from pyproc_worker._otel.processor import SpanSender

        provider.add_span_processor(SpanSender())


def _is_without_processors(provider: Any) -> bool:
    """Whether it is the SDK's provider without any processor: the export is left to the pool."""
    sdk = sys.modules.get("opentelemetry.sdk.trace")
    if sdk is None or not isinstance(provider, sdk.TracerProvider):
        return False
    return (
        getattr(getattr(provider, "_active_span_processor", None), "_span_processors", None) == ()
    )


_SPAN_KEY: str = next(iter(set_span_in_context(trace.INVALID_SPAN, Context())))
"""The key of the current span in a context."""

"""Encodes and sends a finished span of OpenTelemetry: of our provider, or of the SDK's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pyproc_worker import _log
from pyproc_worker._calls.current import current_call
from pyproc_worker._telemetry.json_text import encoded, quote, shortened, text_of
from pyproc_worker._telemetry.records import SPANS, channel_for, send

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

    Finished = Any
    """A span with the attributes of the SDK's `ReadableSpan`."""

LONGEST_TEXT = 16 * 1024  # characters of an attribute

_INTEGERS = range(-(2**63), 2**63)


def send_span(span: Finished) -> None:
    """Sends a span that has ended, if it is sampled and has a parent.

    Where a trace begins decides whether it is recorded, and that is not in a worker.
    """
    context: SpanContext = span.get_span_context()
    if not context.trace_flags.sampled or span.parent is None:
        return
    channel = channel_for(SPANS, current_call())
    if channel is None:
        return
    try:
        record = encoded(_written(span, context))
    except Exception as error:  # the span does not follow OpenTelemetry's interface
        return _log.error(f"the span {text_of(span.name)} cannot be sent", error)
    send(SPANS, record, channel)


def _written(span: Finished, context: SpanContext) -> str:
    record = (
        f'{{"type":"span",{_place(context)},"parent_span_id":"{span.parent.span_id:016x}",'
        f'"name":{_text(span.name)},"kind":{span.kind.value},'
        f'"start":{int(span.start_time)},"end":{max(int(span.end_time), int(span.start_time))}'
    )
    for name, value in (
        ("attributes", _attributes(span.attributes)),
        ("events", ",".join([_event(event) for event in span.events])),
        ("links", ",".join([_link(link) for link in span.links])),
    ):
        if value:
            record += f',"{name}":{value if name == "attributes" else f"[{value}]"}'
    return f"{record}{_status(span.status)}{_scope(span)}{_resource(span)}{_dropped(span)}}}\n"


def _place(context: SpanContext) -> str:
    state = context.trace_state.to_header() if context.trace_state else ""
    return (
        f'"trace_id":"{context.trace_id:032x}","span_id":"{context.span_id:016x}",'
        f'"trace_flags":{int(context.trace_flags) & 255}'
        + (f',"trace_state":{quote(state)}' if state else "")
    )


def _event(event: Any) -> str:
    attributes = _attributes(event.attributes)
    more = f',"attributes":{attributes}' if attributes else ""
    return f'{{"name":{_text(event.name)},"time":{int(event.timestamp)}{more}}}'


def _link(link: Any) -> str:
    attributes = _attributes(link.attributes)
    more = f',"attributes":{attributes}' if attributes else ""
    return f"{{{_place(link.context)}{more}}}"


def _status(status: Any) -> str:
    if not status.status_code.value:
        return ""
    description = f',"description":{_text(status.description)}' if status.description else ""
    return f',"status":{{"code":{status.status_code.value}{description}}}'


def _scope(span: Finished) -> str:
    scope = span.instrumentation_scope
    if scope is None:
        return ""
    written = f'"name":{_text(scope.name)}'
    for name, value in (("version", scope.version), ("schema_url", scope.schema_url)):
        if value:
            written += f',"{name}":{_text(value)}'
    attributes = _attributes(getattr(scope, "attributes", None))
    if attributes:
        written += f',"attributes":{attributes}'
    return f',"scope":{{{written}}}'


def _resource(span: Finished) -> str:
    attributes = None if span.resource is None else _attributes(span.resource.attributes)
    return f',"resource":{attributes}' if attributes else ""


def _dropped(span: Finished) -> str:
    counts = {
        "attributes": span.dropped_attributes,
        "events": span.dropped_events,
        "links": span.dropped_links,
    }
    dropped = [f'"{name}":{count}' for name, count in counts.items() if count]
    return f',"dropped":{{{",".join(dropped)}}}' if dropped else ""


def _attributes(attributes: Any) -> str:
    if not isinstance(attributes, Mapping) or not attributes:
        return ""
    pairs = [f"{_text(key)}:{_value(value)}" for key, value in attributes.items()]
    return f"{{{','.join(pairs)}}}"


def _value(value: Any) -> str:
    """By OpenTelemetry's rules: a plain value or an array of one type; other values as strings."""
    plain = _plain(value)
    if plain is not None:
        return plain
    if isinstance(value, (list, tuple)) and _alike(value):
        elements = [_plain(element) for element in value]
        if None not in elements:
            return f"[{','.join(elements)}]"  # type: ignore[arg-type]
    return _text(value)


def _plain(value: Any) -> str | None:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value in _INTEGERS:
        return int.__repr__(value)
    if isinstance(value, float) and math.isfinite(value):
        return float.__repr__(value)
    return None


def _alike(values: Any) -> bool:
    kinds = {type(value) for value in values}
    return len(kinds) <= 1 or kinds == {int, float}


def _text(value: Any) -> str:
    return quote(shortened(value if isinstance(value, str) else text_of(value), LONGEST_TEXT))

"""A span processor for scripts that use OpenTelemetry's SDK and leave the export to the pool."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from pyproc_worker._otel.spans import send_span

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import Span


class SpanSender(SpanProcessor):
    """Sends each span when it ends."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Does nothing."""

    def on_end(self, span: ReadableSpan) -> None:
        send_span(span)

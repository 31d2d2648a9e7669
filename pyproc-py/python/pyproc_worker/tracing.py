"""The Go original's module for tracing, for scripts that were written for it.

The pool records the spans of calls, and a function's own spans become their children: see
"Tracing" in the README. As in the original, this module makes spans if ``PYPROC_TRACING_ENABLED``
is ``true`` and OpenTelemetry is installed (its API is enough). It sets no provider and exports
nothing: the pool's exporter does.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
from typing import TYPE_CHECKING, Any, Callable

try:
    from opentelemetry import propagate, trace

    HAS_OTEL = True
except ImportError:
    HAS_OTEL = False

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

__all__ = ["HAS_OTEL", "TracingManager", "WorkerTracing", "get_tracing", "trace_method"]


class TracingManager:
    """Makes spans, if it is enabled and OpenTelemetry is installed.

    The `service_name` is stored only: the pool's exporter sets the service of spans.
    """

    def __init__(self, enabled: bool = True, service_name: str = "pyproc-worker") -> None:
        self.enabled = enabled and HAS_OTEL
        self.service_name = service_name
        self.tracer = trace.get_tracer(__name__) if self.enabled else None

    @contextlib.contextmanager
    def span(
        self,
        name: str,
        attributes: dict[str, Any] | None = None,
        context: dict[str, Any] | None = None,
    ) -> Iterator[Any]:
        """A span while this is entered; None if tracing is disabled.

        Its parent is the span in the headers `context`, else the current span: the call's.
        """
        if self.tracer is None:
            yield None
            return
        parent = propagate.extract(context) if context and "traceparent" in context else None
        with self.tracer.start_as_current_span(name, parent, attributes=attributes) as span:
            yield span

    def inject_context(self, carrier: dict[str, Any]) -> None:
        """Injects the current span into headers."""
        if self.enabled:
            propagate.inject(carrier)

    def extract_context(self, carrier: dict[str, Any]) -> Any:
        """Extracts a context from headers; None if tracing is disabled."""
        return propagate.extract(carrier) if self.enabled else None


class WorkerTracing:
    """Spans of requests."""

    def __init__(self, worker_id: str | None = None) -> None:
        self.worker_id = worker_id or f"worker-{os.getpid()}"
        self.manager = TracingManager(
            os.environ.get("PYPROC_TRACING_ENABLED", "false").lower() == "true",
            os.environ.get("PYPROC_SERVICE_NAME", "pyproc-worker"),
        )

    def trace_request(self, request: dict[str, Any]) -> AbstractContextManager[Any]:
        """A span for a request: a dict with `method`, `id` and `headers`."""
        method = request.get("method", "unknown")
        attributes = {
            "rpc.method": method,
            "rpc.request_id": request.get("id", 0),
            "worker.id": self.worker_id,
        }
        return self.manager.span(f"pyproc.{method}", attributes, request.get("headers"))

    def add_response_headers(self, response: dict[str, Any]) -> None:
        """Injects the current span into the headers of a response."""
        if self.manager.enabled:
            self.manager.inject_context(response.setdefault("headers", {}))


@functools.cache
def get_tracing() -> WorkerTracing:
    """The one `WorkerTracing` of this process, created on the first call."""
    return WorkerTracing()


def trace_method(func: Callable[..., Any]) -> Callable[..., Any]:
    """`func`, plain or async, with a span around each of its calls."""

    def span() -> AbstractContextManager[Any]:
        return get_tracing().trace_request({"method": func.__name__})

    if inspect.iscoroutinefunction(func):

        @functools.wraps(func)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            with span():
                return await func(*args, **kwargs)

    else:

        @functools.wraps(func)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with span():
                return func(*args, **kwargs)

    return wrapper

"""`cancel_event`: set when the call of a running function is cancelled."""

from __future__ import annotations

import contextlib
import functools
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Callable

    Call = Callable[[Any], Any]
    """Runs a function with the body of a request."""

CANCEL_EVENT = "cancel_event"


def call_with_event(call: Call, body: Any, event: threading.Event) -> Any:
    """Calls a function whose parameter `cancel_event` gets `event`."""
    with _offered(event):
        return call(body)


def giving_event(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, whose parameter `cancel_event` is filled by `call_with_event`."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        event = getattr(_here, "event", None) or threading.Event()
        return function(*args, **kwargs, cancel_event=event)

    return call


_here = threading.local()
"""The event for the call that begins on this thread."""


@contextlib.contextmanager
def _offered(event: threading.Event) -> Iterator[None]:
    _here.event = event
    try:
        yield
    finally:
        _here.event = None

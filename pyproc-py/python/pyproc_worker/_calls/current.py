"""The current call: what its function, and telemetry of it, can know.

A `Call` exists only if its request has headers or a trace context, or its connection takes
telemetry. Both cores then run it through `run` or `run_async`. For a plain function whose telemetry
is not likely to be recorded, they only store the parts of the call, and `find_plain_call` builds it
on demand.
"""

from __future__ import annotations

from contextvars import ContextVar, copy_context

TYPE_CHECKING = False
if TYPE_CHECKING:
    import contextvars
    from collections.abc import Awaitable, Mapping
    from typing import Any, Callable, Optional, Protocol

    from pyproc_worker._calls.channels import Channel

    Context = tuple[Optional[dict[str, str]], Optional[bytes], Optional[Channel]]
    """The parts of a call: its headers, its encoded trace context, its channel."""

    Trace = tuple[bytes, bytes, int]
    """A trace context: trace id of 16 bytes, span id of 8 bytes, flags."""

    class Placeholder(Protocol):
        """Stands for one call in the native core, possibly before it begins."""

        def own(self) -> Call | None:
            """The call, also after its end; None before it begins."""


TRACE_SIZE = 25
"""Bytes of a trace context in a frame of version 2: trace id, span id, flags."""

BAGGAGE_LIMIT = 8192  # characters, and
BAGGAGE_MEMBERS = 180  # members, as W3C has it

enter: Callable[[Call], Any] | None = None
"""Called in the context of each call before its function runs."""


def _nothing(token: Any) -> None:
    """Does nothing: no hook is set."""


leave: Callable[[Any], None] = _nothing
"""Called in the same context after the function, with the result of `enter`."""

enter_placeholder: Callable[[Placeholder], Any] | None = None
"""Called instead of `enter`, in advance, for a call that has not begun. `leave` undoes it, too."""

on_hooks_changed: Callable[[], None] | None = None
"""Set by the native core: called when the hooks have changed."""


def hook(begin: Callable[[Call], Any], end: Callable[[Any], None]) -> None:
    """Sets `enter` and `leave`, which are called around each call. There is one pair only."""
    global enter, leave
    leave = end  # first, as it is used only together with `enter`
    enter = begin
    if on_hooks_changed is not None:
        on_hooks_changed()


def hook_placeholders(begin: Callable[[Placeholder], Any]) -> None:
    """Sets `enter_placeholder`.

    Only after `hook`, and if `enter` does nothing more for a call without headers.
    """
    global enter_placeholder
    enter_placeholder = begin
    if on_hooks_changed is not None:
        on_hooks_changed()


class Call:
    """A call of an exposed function. It stays valid after the function has returned."""

    __slots__ = ("_baggage", "_trace", "channel", "function", "headers")

    function: str
    """The name under which the function is exposed."""

    headers: Mapping[str, str]
    """The request's headers, such as `baggage`."""

    channel: Channel | None
    """Sends telemetry to the client, if it asked for any."""

    def __init__(
        self,
        function: str,
        headers: dict[str, str] | None,
        trace: bytes | None,
        channel: Channel | None,
    ) -> None:
        self.function = function
        self.headers = {} if headers is None else headers
        self.channel = channel
        # Encoded until `trace` is read; then a tuple, empty without a trace.
        self._trace: Any = trace
        self._baggage: dict[str, str] | None = None

    @property
    def trace(self) -> Trace | None:
        """The span of the call: trace id, span id (both bytes), flags. None without a trace."""
        if type(self._trace) is not tuple:
            packed = self._trace or _packed(self.headers.get("traceparent", ""))
            self._trace = _unpacked(packed)
        return self._trace or None

    @property
    def trace_id(self) -> str:
        """The trace's id in hexadecimal digits; empty without a trace."""
        trace = self.trace
        return "" if trace is None else trace[0].hex()

    @property
    def span_id(self) -> str:
        """The span's id in hexadecimal digits; empty without a trace."""
        trace = self.trace
        return "" if trace is None else trace[1].hex()

    @property
    def traceparent(self) -> str:
        """W3C's header of this name, for the function's own requests; empty without a trace."""
        trace = self.trace
        return "" if trace is None else f"00-{trace[0].hex()}-{trace[1].hex()}-{trace[2]:02x}"

    @property
    def baggage(self) -> dict[str, str]:
        """The client's W3C baggage. Members beyond W3C's limits are dropped."""
        if self._baggage is None:
            self._baggage = _read_baggage(self.headers.get("baggage", ""))
        return self._baggage


CURRENT: ContextVar[Call | Callable[[], Call | None] | None] = ContextVar(
    "pyproc_worker.call", default=None
)
"""For `current_call`: the call, or the native core's function that builds it on demand."""

set_current = CURRENT.set

base: contextvars.Context = copy_context()
"""The context variables when the worker started: calls of `async def` functions begin with them.

Calls of plain functions begin with the context of the serving thread.
"""

find_plain_call: Callable[[], Call | None] | None = None
"""Set by a core: builds the call of the plain function that runs on this thread.

It stores the call in `CURRENT`, in the call's own context. So a call that no code asks for costs
nothing.
"""


def current_call() -> Call | None:
    """The call in which this code runs, of a plain or an `async def` function.

    None outside of calls, and if nothing is known of the call: its request has neither headers nor
    a trace context, and its client takes no telemetry.

    Tasks that the function starts see the call, too, and so does `asyncio.to_thread`. A thread sees
    it if it runs in a copy of the context: all threads do so in a free-threaded interpreter, others
    by ``Thread(target=contextvars.copy_context().run, args=(f,))``. A plain function must call
    `current_call` before it makes the copy, unless the request has headers or a sampled trace.
    """
    call = CURRENT.get()
    if call is None:
        return None if find_plain_call is None else find_plain_call()
    return call if isinstance(call, Call) else call()


def run(
    start: Callable[[Any], Any],
    body: Any,
    function: str,
    headers: dict[str, str] | None,
    trace: bytes | None,
    channel: Channel | None,
) -> Any:
    """Runs `start(body)` within a call, which consists of the other arguments.

    The current context must be the call's own.
    """
    call, begin = Call(function, headers, trace, channel), enter
    set_current(call)
    if begin is None:
        return start(body)
    token = begin(call)
    try:
        return start(body)
    finally:
        leave(token)


async def run_async(call: Call, start: Callable[[Any], Awaitable[Any]], body: Any) -> Any:
    """Runs `await start(body)` within `call`, in a task of its own."""
    begin = enter
    set_current(call)  # for this task only
    if begin is None:
        return await start(body)
    token = begin(call)
    try:
        return await start(body)
    finally:
        leave(token)


def _packed(traceparent: str) -> bytes:
    """The trace context of W3C's header, encoded; empty if the header is invalid."""
    version, *parts = traceparent.strip().split("-")
    sizes = [len(part) for part in parts[:3]]
    is_known = len(version) == 2 and version != "ff" and (version != "00" or len(parts) == 3)
    if not is_known or sizes != [32, 16, 2] or traceparent != traceparent.lower():
        return b""
    try:
        bytes.fromhex(version)
        packed = bytes.fromhex("".join(parts[:3]))
    except ValueError:
        return b""
    return packed if len(packed) == TRACE_SIZE else b""


def _unpacked(packed: bytes) -> tuple[()] | Trace:
    trace_id, span_id = packed[:16], packed[16:24]
    if not (any(trace_id) and any(span_id)):
        return ()
    return trace_id, span_id, packed[24]


def _read_baggage(header: str) -> dict[str, str]:
    if len(header) > BAGGAGE_LIMIT:
        header = header[:BAGGAGE_LIMIT].rpartition(",")[0]
    found: dict[str, str] = {}
    for member in header.split(",", BAGGAGE_MEMBERS)[:BAGGAGE_MEMBERS]:
        name, equals, value = member.partition(";")[0].partition("=")
        if equals and name.strip():
            found[name.strip()] = _unquoted(value.strip())
    return found


def _unquoted(value: str) -> str:
    if "%" not in value:
        return value
    from urllib.parse import unquote  # only here, as it is large

    return unquote(value)

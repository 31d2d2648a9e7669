"""The call that runs: what its function, and who records what happens in it, can know of it.

Somebody may want to know of a call if its request has headers or a trace context, or its connection
takes telemetry. Both cores run it through `run` or `run_async` then; but of a plain function whose
call is not likely to be recorded, they only note that it runs, and find it by `look` when asked.
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
    """What is known of a call: its headers, its trace context as a frame has it, its channel."""

    Trace = tuple[bytes, bytes, int]
    """A span's place: trace id, span id, flags."""

    class CallToBe(Protocol):
        """Stands for one call, in the native core."""

        def own(self) -> Call | None:
            """The call, also when it is over; None before it begins."""


TRACE_SIZE = 25
"""Bytes of a trace context in a frame of version 2: trace id, span id, flags."""

BAGGAGE_LIMIT = 8192  # characters, and
BAGGAGE_MEMBERS = 180  # members, as W3C has it

enter: Callable[[Call], Any] | None = None
"""Called in the context of each call before its function runs."""


def _nothing(token: Any) -> None:
    """Nobody entered."""


leave: Callable[[Any], None] = _nothing
"""Called in the same context when the function is over, with what `enter` returned."""

stand: Callable[[CallToBe], Any] | None = None
"""Does beforehand what `enter` does, for a call that is yet to come; `leave` undoes it too."""

hooked: Callable[[], None] | None = None
"""The native core's: the hooks are no longer what they were."""


def hook(begin: Callable[[Call], Any], end: Callable[[Any], None]) -> None:
    """Has these called around each call from now on, as `enter` and `leave`. For one party."""
    global enter, leave
    leave = end  # first, as it is not looked for without the other
    enter = begin
    if hooked is not None:
        hooked()


def hook_beforehand(begin: Callable[[CallToBe], Any]) -> None:
    """Has this called as `stand`.

    For whoever called `hook`, once nothing but that is to be done for a call without headers.
    """
    global stand
    stand = begin
    if hooked is not None:
        hooked()


class Call:
    """A call of an exposed function. It may be kept when the function is over."""

    __slots__ = ("_baggage", "_trace", "channel", "function", "headers")

    function: str
    """The name that the function is exposed under."""

    headers: Mapping[str, str]
    """What the client sent beside the body, such as `baggage`."""

    channel: Channel | None
    """Takes telemetry to the client, if it asked for any."""

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
        # A tuple, empty if there's no trace, once it was asked for; before, as the frame has it.
        self._trace: Any = trace
        self._baggage: dict[str, str] | None = None

    @property
    def trace(self) -> Trace | None:
        """The span that the call belongs to: trace id, span id, flags. None without one."""
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
        """W3C's header of this name, for requests of the function's own; empty without a trace."""
        trace = self.trace
        return "" if trace is None else f"00-{trace[0].hex()}-{trace[1].hex()}-{trace[2]:02x}"

    @property
    def baggage(self) -> dict[str, str]:
        """W3C's baggage that the client sent. What is beyond W3C's limits is left out."""
        if self._baggage is None:
            self._baggage = _read_baggage(self.headers.get("baggage", ""))
        return self._baggage


CURRENT: ContextVar[Call | Callable[[], Call | None] | None] = ContextVar(
    "pyproc_worker.call", default=None
)
"""For `current_call`: the call, or what builds it when it's needed, as the native core has it."""

set_current = CURRENT.set

base: contextvars.Context = copy_context()
"""What the script had set when the worker started: calls of `async def` functions begin with it.

Plain ones begin with the context of the thread that serves.
"""

look: Callable[[], Call | None] | None = None
"""A core's: finds the call of the plain function that runs on this thread.

It puts it into `CURRENT`, in the call's own context. So a call that nobody is likely to ask for
costs nothing.
"""


def current_call() -> Call | None:
    """The call in which this code runs: of a plain or an `async def` function.

    None outside of a call, and in one of which nothing is known: its request has neither headers
    nor a trace context, and its client takes no telemetry.

    Tasks that the function starts see it too, and so does `asyncio.to_thread`. A thread sees it if
    it runs in a copy of the context, as all do in a free-threaded interpreter, and otherwise by
    ``Thread(target=contextvars.copy_context().run, args=(f,))``;
    if the request has no headers and its trace, if any, is not sampled, a plain function must
    have asked for its call before it makes the copy.
    """
    call = CURRENT.get()
    if call is None:
        return None if look is None else look()
    return call if isinstance(call, Call) else call()


def run(
    start: Callable[[Any], Any],
    body: Any,
    function: str,
    headers: dict[str, str] | None,
    trace: bytes | None,
    channel: Channel | None,
) -> Any:
    """`start(body)`, within a call that consists of the other arguments.

    The current context is the call's own.
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
    """`await start(body)`, within `call`, in a task of its own."""
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
    """The trace context in W3C's header, as a frame has it; empty if the header is none."""
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
    from urllib.parse import unquote  # not before it's needed: it is large

    return unquote(value)

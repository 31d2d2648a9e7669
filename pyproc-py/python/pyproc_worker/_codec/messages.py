"""The messages of version 1 that a worker receives."""

from typing import Any, Optional, Protocol, Union

from pyproc_worker._errors import BrokenFrame

MAX_ID = 2**53 - 1
MAX_HEADERS = 128
MAX_HEADER_BYTES = 64 * 1024


class RequestLike(Protocol):
    """A call: the request's id, the function's name, the argument."""

    @property
    def id(self) -> int: ...
    @property
    def method(self) -> str: ...
    @property
    def body(self) -> Any: ...
    @property
    def headers(self) -> Optional[dict[str, str]]: ...


class Request:
    """A call, decoded by the standard library."""

    __slots__ = ("body", "headers", "id", "method")

    def __init__(
        self, id: int, method: str, body: Any, headers: Optional[dict[str, str]] = None
    ) -> None:
        self.id = id
        self.method = method
        self.body = body
        self.headers = headers


class Cancellation:
    """The client no longer waits for the answer to request `id`."""

    method = ""  # no function has this name

    def __init__(self, id: int) -> None:
        self.id = id


class Unreadable:
    """A request whose body cannot be decoded. It gets an error; the connection stays open."""

    method = ""  # no function has this name

    def __init__(self, id: int, called: str, reason: str) -> None:
        self.id = id
        self.called = called
        """The name of the method."""
        self.reason = reason


class Ignored:
    """A message of an unknown type."""

    method = ""  # no function has this name


Message = Union[RequestLike, Cancellation, Unreadable, Ignored]


def message_of(document: Any) -> Message:
    """The message in a decoded frame.

    Raises `BrokenFrame` if a client may not send it.
    """
    kind = _mapping(document).get("type")
    if kind is None:
        return request_of(document)
    payload = document.get("payload")
    kind = kind_of(kind)
    if kind == "request":
        return request_of({} if payload is None else payload)
    if kind == "cancellation":
        return Cancellation(_id_of(_mapping({} if payload is None else payload)))
    return Ignored()


def kind_of(kind: Any) -> str:
    """The type of a wrapped message. Raises `BrokenFrame` if clients do not send it."""
    if not isinstance(kind, str):
        raise BrokenFrame("the message's type must be a string")
    if kind == "response":
        raise BrokenFrame("expected a request, got a response")
    return kind


def check_headers(headers: dict[str, str]) -> None:
    """Raises `BrokenFrame` if `headers` exceed a limit of the protocol."""
    if len(headers) > MAX_HEADERS:
        raise BrokenFrame(f"{len(headers)} headers, more than the maximum of {MAX_HEADERS}")
    size = sum(len(name.encode()) + len(value.encode()) for name, value in headers.items())
    if size > MAX_HEADER_BYTES:
        raise BrokenFrame(f"headers of {size} bytes, more than the maximum of {MAX_HEADER_BYTES}")


def request_of(document: Any) -> Request:
    """The request in a decoded object. Raises `BrokenFrame` if it is not a request."""
    request_id = _id_of(_mapping(document))
    method = document.get("method")
    if not isinstance(method, str):
        raise BrokenFrame("a request needs a method, which is a string")
    headers = document.get("headers")
    if headers is not None:
        check_headers(_strings(headers))
    return Request(request_id, method, document.get("body"), headers)


def _id_of(document: dict[str, Any]) -> int:
    """The message's id; 0 without one."""
    value = document.get("id")
    if value is None:
        return 0
    if type(value) is float and value.is_integer():  # some libraries write 1.0
        value = int(value)
    if type(value) is not int or not 0 <= value <= MAX_ID:
        raise BrokenFrame("the id of a message is an integer from 0 to 2^53 - 1")
    return value


def _mapping(value: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise BrokenFrame("a message must be a JSON object")
    return value


def _strings(headers: Any) -> dict[str, str]:
    if not all(isinstance(value, str) for value in _mapping(headers).values()):
        raise BrokenFrame("headers must be strings")
    return headers  # type: ignore[no-any-return]

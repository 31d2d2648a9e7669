"""What a frame of version 1 says: the messages that a worker receives."""

import re
from typing import Any, Optional, Protocol, Union

from pyproc_worker._errors import BrokenFrame
from pyproc_worker._frames import Bytes

MAX_ID = 2**53 - 1
MAX_HEADERS = 128
MAX_HEADER_BYTES = 64 * 1024

_LEADING_ID = re.compile(rb'\{"id":([1-9][0-9]{0,15}),')


class RequestLike(Protocol):
    """A call: which request it is, which function, and its argument."""

    @property
    def id(self) -> int: ...
    @property
    def method(self) -> str: ...
    @property
    def body(self) -> Any: ...
    @property
    def headers(self) -> Optional[dict[str, str]]: ...


class Request:
    """A call, as the codecs build it that have no faster way."""

    __slots__ = ("body", "headers", "id", "method")

    def __init__(
        self, id: int, method: str, body: Any, headers: Optional[dict[str, str]] = None
    ) -> None:
        self.id = id
        self.method = method
        self.body = body
        self.headers = headers


class Cancellation:
    """Nobody waits for the answer to request `id` any more."""

    method = ""  # no function has this name

    def __init__(self, id: int) -> None:
        self.id = id


class Unreadable:
    """A request whose body cannot be read. It gets an error; the connection goes on."""

    method = ""  # no function has this name

    def __init__(self, id: int, reason: str) -> None:
        self.id = id
        self.reason = reason


class Ignored:
    """A message of a type that this version doesn't know."""

    method = ""  # no function has this name


Message = Union[RequestLike, Cancellation, Unreadable, Ignored]


def message_of(document: Any) -> Message:
    """The message in a decoded frame.

    Raises `BrokenFrame` if it is none that a client may send.
    """
    kind = _mapping(document).get("type")
    if kind is None:
        return _request_of(document)
    if not isinstance(kind, str):
        raise BrokenFrame("the message's type must be a string")
    if kind == "request":
        return _request_of(document.get("payload"))
    if kind == "cancellation":
        return Cancellation(_id_of(_mapping(document.get("payload"))))
    if kind == "response":
        raise BrokenFrame("expected a request, got a response")
    return Ignored()


def unreadable(frame: Bytes, reason: str) -> Unreadable:
    """The request in a frame of which only the beginning could be read.

    Raises `BrokenFrame` if its id cannot be told.
    """
    found = _LEADING_ID.match(frame)
    if not found or int(found[1]) > MAX_ID:
        raise BrokenFrame(reason)
    return Unreadable(int(found[1]), reason)


def check_headers(headers: dict[str, str]) -> None:
    """Raises `BrokenFrame` if `headers` break a limit of the protocol."""
    if len(headers) > MAX_HEADERS:
        raise BrokenFrame(f"{len(headers)} headers, more than the maximum of {MAX_HEADERS}")
    size = sum(len(name.encode()) + len(value.encode()) for name, value in headers.items())
    if size > MAX_HEADER_BYTES:
        raise BrokenFrame(f"headers of {size} bytes, more than the maximum of {MAX_HEADER_BYTES}")


def _request_of(document: Any) -> Request:
    request_id = _id_of(_mapping(document))
    method = document.get("method")
    if not isinstance(method, str):
        raise BrokenFrame("a request needs a method, which is a string")
    headers = document.get("headers")
    if headers is not None:
        check_headers(_strings(headers))
    return Request(request_id, method, document.get("body"), headers)


def _id_of(document: dict[str, Any]) -> int:
    value = document.get("id")
    if type(value) is not int or not 1 <= value <= MAX_ID:
        raise BrokenFrame("a message needs an id, which is an integer from 1 to 2^53 - 1")
    return value


def _mapping(value: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise BrokenFrame("a message must be a JSON object")
    return value


def _strings(headers: Any) -> dict[str, str]:
    if not all(isinstance(value, str) for value in _mapping(headers).values()):
        raise BrokenFrame("headers must be strings")
    return headers  # type: ignore[no-any-return]

"""The client's side of the wire, by hand, so that nothing of the package tests itself."""

import json
import socket
import struct

PATIENCE = 20.0  # seconds after which a test fails

REQUEST, RESPONSE, ERROR, CANCEL, PING, PONG, DRAIN = 0x01, 0x02, 0x03, 0x04, 0x08, 0x09, 0x0A
TELEMETRY = 0x10
JSON, MESSAGEPACK, RAW = 0, 1, 2


def frame(body):
    """A frame with `body`, which is bytes or else becomes JSON."""
    if not isinstance(body, bytes):
        body = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
    return struct.pack(">I", len(body)) + body


class Frame(bytes):
    """A frame of version 1 that knows how version 2 says the same."""


def request(id, method, body=None, **extra):
    made = Frame(frame({"id": id, "method": method, "body": body, **extra}))
    made.in_version_2 = lambda table: request2(
        id, table.get(method, method), json.dumps(body, ensure_ascii=False).encode()
    )
    return made


def cancellation(id):
    made = Frame(frame({"type": "cancellation", "payload": {"id": id, "reason": "test"}}))
    made.in_version_2 = lambda table: frame2(CANCEL, id, b"test")
    return made


def frame2(kind, id, rest=b"", flags=0, codec=0):
    """A frame of version 2."""
    return frame(struct.pack(">BBBxQ", kind, flags, codec, id) + rest)


def request2(id, method, payload=b"null", codec=JSON, times=False, trace=b"", headers=None):
    """A request of version 2; the method is an index or a name, the trace has 25 bytes."""
    flags = 0x10 * times | 0x02 * bool(trace) | 0x08 * bool(headers)
    if isinstance(method, int):
        target = struct.pack(">H", method)
    else:
        flags, target = flags | 0x01, _short(method)
    texts = [_short(text) for header in (headers or {}).items() for text in header]
    count = struct.pack(">H", len(headers)) if headers else b""
    return frame2(REQUEST, id, target + trace + count + b"".join(texts) + payload, flags, codec)


def _short(text):
    text = text.encode()
    return struct.pack(">H", len(text)) + text


def hello(id=1, features=("error-details", "cancel"), **extra):
    return request(
        id, "pyproc.hello", {"versions": [1], "features": list(features), "agent": "test", **extra}
    )


def answer(id, body):
    return {"id": id, "ok": True, "body": body}


class Client:
    """A connection to a worker. Each wait ends after `PATIENCE` seconds.

    One of version 2 says hello at once, and sends and gets in version 2 what `request` and
    `cancellation` make.
    """

    def __init__(self, path, version=1, **in_hello):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(path)
        self.version = version
        self.table = {}
        if version == 2:
            try:
                known = self.say_hello(versions=[1, 2], **in_hello)["body"]
            except BaseException:
                self.close()
                raise
            assert known["version"] == 2
            self.table = {f["name"]: index for index, f in enumerate(known["functions"])}

    def send(self, *frames):
        if self.version == 2:
            frames = [f.in_version_2(self.table) if isinstance(f, Frame) else f for f in frames]
        self.socket.sendall(b"".join(frames))

    def call(self, method, body=None, id=1):
        self.send(request(id, method, body))
        return self.receive()

    def say_hello(self, **extra):
        self.send(bytes(hello(**extra)))
        return self.receive()

    def receive(self):
        """The next answer, in the shape of version 1 whatever its version is."""
        body = self.receive_body()
        while body[0] in (DRAIN, TELEMETRY):
            body = self.receive_body()
        return json.loads(body) if body[:1] == b"{" else in_shape_of_version_1(read2(body))

    def receive2(self):
        """The next message of version 2."""
        return read2(self.receive_body())

    def records(self):
        """The records of the next frame, which is one of telemetry."""
        message = self.receive2()
        assert message["kind"] == TELEMETRY, message
        return [json.loads(line) for line in message["payload"].splitlines()]

    def receive_all(self, count):
        """`count` responses by their ids."""
        responses = [self.receive() for _ in range(count)]
        return {response["id"]: response for response in responses}

    def receive_body(self):
        (length,) = struct.unpack(">I", self._exactly(4))
        return self._exactly(length)

    def is_at_end(self):
        """Waits for the next byte or the end, and says whether it was the end.

        A worker that drains says so before.
        """
        try:
            byte = self.socket.recv(1)
            if byte and self.version == 2:
                assert byte + self._exactly(15) == frame2(DRAIN, 0)
                byte = self.socket.recv(1)
            return byte == b""
        except ConnectionResetError:
            return True

    def close(self):
        self.socket.close()

    def _exactly(self, count):
        data = bytearray()
        while len(data) < count:
            piece = self.socket.recv(count - len(data))
            if not piece:
                raise EOFError(f"the worker closed the connection after {bytes(data)!r}")
            data += piece
        return bytes(data)


def read2(body):
    """What a frame of version 2 says, by its parts."""
    kind, flags, codec, id = struct.unpack_from(">BBBxQ", body)
    message, rest = {"kind": kind, "id": id, "codec": codec}, body[12:]
    if kind in (RESPONSE, ERROR) and flags & 0x01:
        message["times"], rest = struct.unpack_from(">QQ", rest), rest[16:]
    if kind != ERROR:
        return {**message, "payload": rest}
    size, rest = int.from_bytes(rest[:2], "big"), rest[2:]
    message["type"], rest = rest[:size].decode(), rest[size:]
    size, rest = int.from_bytes(rest[:4], "big"), rest[4:]
    message["message"], message["traceback"] = rest[:size].decode(), rest[size:].decode()
    return message


def in_shape_of_version_1(message):
    if message["kind"] == RESPONSE:
        assert message["codec"] == JSON
        return {"id": message["id"], "ok": True, "body": json.loads(message["payload"])}
    assert message["kind"] == ERROR, message
    details = {
        "pyproc-error-traceback": message["traceback"],
        "pyproc-error-type": message["type"],
    }
    return {"id": message["id"], "ok": False, "error": message["message"], "headers": details}
